"""The starter corpus: synthetic speech, events, noises and music, made on this machine in seconds, nothing downloaded.

It lets every task run on a fresh machine, and is what it says it is: synthetic. Real corpora are the point; `make corpus`
takes them. Speech is by eSpeak NG with transcripts and word times, sounds are synthesised with captions.

    <out>/{speech,event,noise,music}/<class or speaker>/<id>.flac     int16, mono; 22.05 kHz speech, 48 kHz the rest
    <out>/corpus.json, <out>/manifest.parquet                         put last: without it the corpus is not there
"""

import dataclasses
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import tyro
from tqdm import tqdm

from infra import command_line, corpus_manifest
from infra.shards import encode_flac
from simulation.seeds import Rng, uniform
from simulation.signals.levels import active_power, amplitude, joint_gain, to_int16
from simulation.starter import music, noises, sounds, texts, voices, waves

Role = Literal["speech", "event", "noise", "music"]
RECIPE = 1  # of the audio; raise it when what is made from the same options changes
ESPEAK = "synthetic speech, eSpeak NG (GPL-3.0 program; output unencumbered)"
CC0 = "CC0-1.0"
UNFINISHED = ".unfinished"  # in a folder that is being made, locked while somebody makes it
FULL_HOURS = 0.9  # what one corpus of these counts holds
UTTERANCES, EVENT_TAKES, NOISE_TAKES, MUSIC_TAKES = 20, 3, 1, 1
SPLITS_OF = {  # split of each individual of a class: recordings are never split
    "event": ("train", "train", "train", "valid", "test"),
    "noise": ("train", "train", "valid", "test"),
    "music": ("train",) * 10 + ("valid",) * 5 + ("test",) * 5,  # of pieces: every instrument in each
}


@dataclass(frozen=True)
class Options:
    """Make the starter corpus."""

    out: Path = Path("data/corpora/starter")
    seed: int = 0
    hours: float = FULL_HOURS
    """About this much audio: more or fewer takes of the same speakers, objects and pieces."""
    roles: tuple[Role, ...] = ("speech", "event", "noise", "music")
    workers: int = 2

    def made_from(self) -> dict[str, Any]:
        """What decides the bytes."""
        return {"recipe": RECIPE, "seed": self.seed, "hours": self.hours, "roles": sorted(self.roles)}


@dataclass(frozen=True)
class Item:
    """One file to make: take number `take` of individual (speaker, object, recording, piece) number `individual` of a kind."""

    role: Role
    kind: str
    individual: int
    take: int
    split: str
    text: str = ""

    @property
    def group(self) -> str:
        name = self.kind.replace(" ", "-")
        return name if self.role == "speech" else f"starter-{self.role}-{name}-{self.individual:02d}"

    @property
    def id(self) -> str:
        return f"{self.group}-{self.take:03d}"

    @property
    def path(self) -> str:
        return f"{self.role}/{self.kind.replace(' ', '-')}/{self.id}.flac"


@dataclass(frozen=True)
class Made:
    """Audio, float32 `(1, samples)`, and the columns that say what it is."""

    audio: np.ndarray
    sample_rate_hz: int
    labels: dict[str, Any]
    caption: str
    licence: str = CC0
    words: str = ""


def plan(options: Options) -> list[Item]:
    """Every file of the corpus, in the order of the manifest: what takes long comes first, so that workers end together."""
    scale = options.hours / FULL_HOURS
    takes = {"music": MUSIC_TAKES, "noise": NOISE_TAKES, "event": EVENT_TAKES}
    kinds = {"music": list(music.INSTRUMENTS), "noise": list(texts.NOISES), "event": list(texts.EVENTS)}
    items = []
    for role, names in kinds.items():
        if role not in options.roles:
            continue
        for number, split in enumerate(SPLITS_OF[role]):
            individuals = [names[number % len(names)]] if role == "music" else names
            for kind in individuals:
                items += [Item(role, kind, number, take, split) for take in range(max(1, round(takes[role] * scale)))]
    if "speech" in options.roles:
        items += _plan_speech(options.seed, max(2, round(UTTERANCES * scale)))
    return items


def _plan_speech(seed: int, num_utterances: int) -> list[Item]:
    """Each speaker says the parallel sentences, at most half of what it says, and then sentences of its own."""
    items = []
    parallel = texts.PARALLEL[: num_utterances // 2]
    for split, speakers in voices.SPEAKERS.items():
        for number, speaker in enumerate(speakers):
            own = texts.sentences(Rng(seed, "starter", 0)("sentences", speaker.name), num_utterances - len(parallel))
            spoken = enumerate([*parallel, *own])
            items += [Item("speech", speaker.name, number, take, split, text) for take, text in spoken]
    return items


def make(out: Path, seed: int, item: Item) -> dict[str, Any]:
    """Make one file under `out`; its row of the manifest."""
    made = MAKERS[item.role](Rng(seed, "starter", 0), item)
    stored = to_int16(made.audio)
    data = encode_flac(stored, made.sample_rate_hz)
    path = out / item.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}; free space or choose another --out") from error
    return {
        "id": item.id,
        "path": item.path,
        "role": item.role,
        "speaker": item.kind if item.role == "speech" else "",
        "group": item.group,
        "label": "speech" if item.role == "speech" else item.kind,
        "text": item.text,
        "caption": made.caption,
        "labels": json.dumps(made.labels | {"synthetic": True}),
        "words": made.words,
        "sample_rate_hz": made.sample_rate_hz,
        "num_frames": stored.shape[1],
        "num_channels": stored.shape[0],
        "licence": made.licence,
        "sha256": hashlib.sha256(data).hexdigest(),
        "split": item.split,
    }


def _speech(rng: Rng, item: Item) -> Made:
    speaker = voices.SPEAKERS[item.split][item.individual]
    said = voices.say(speaker, item.text)
    draw = rng("speech", speaker.name, item.take)
    level = amplitude(uniform(draw, (-27.0, -21.0))) / active_power(said.audio, voices.SAMPLE_RATE_HZ) ** 0.5
    audio = said.audio * np.float32(level)
    above, wordings = texts.SPEECH[speaker.gender]
    about = {"gender": speaker.gender, "lang": "en", "accent": speaker.accent, "voice": f"{speaker.language}+{speaker.variant}"}
    labels = _labels((*above, f"{speaker.gender} speech")) | about | {"label": "speech"}
    audio = audio * np.float32(joint_gain([audio]))
    return Made(audio, voices.SAMPLE_RATE_HZ, labels, texts.captioned(wordings, draw), ESPEAK, json.dumps(said.words))


def _event(rng: Rng, item: Item) -> Made:
    above, wordings = texts.EVENTS[item.kind]
    audio = sounds.event(item.kind, rng, item.individual, item.take)
    caption = texts.captioned(wordings, rng(item.kind, "caption", item.individual, item.take))
    return Made(audio, waves.SAMPLE_RATE_HZ, _labels((*above, item.kind)), caption)


def _noise(rng: Rng, item: Item) -> Made:
    above, wordings = texts.NOISES[item.kind]
    audio = noises.noise(item.kind, rng, item.individual, item.take)
    caption = texts.captioned(wordings, rng(item.kind, "caption", item.individual, item.take))
    return Made(audio, waves.SAMPLE_RATE_HZ, _labels((*above, item.kind)), caption, ESPEAK if "speech" in above else CC0)


def _music(rng: Rng, item: Item) -> Made:
    work = music.piece(rng, item.individual)
    audio = music.perform(work, rng, item.individual, item.take)
    caption = texts.captioned(work.captions(), rng("music", "caption", item.individual, item.take))
    labels = _labels(("music", work.instrument)) | {"mode": work.mode, "tempo": work.tempo, "drums": work.drums}
    return Made(audio, waves.SAMPLE_RATE_HZ, labels, caption)


MAKERS = {"speech": _speech, "event": _event, "noise": _noise, "music": _music}


def _labels(hierarchy: tuple[str, ...]) -> dict[str, Any]:
    return {"category": hierarchy[0], "label": hierarchy[-1], "hierarchy": list(hierarchy)}


def build(options: Options) -> corpus_manifest.Corpus:
    """The corpus in `options.out`: made, or as it is if a former call has made it. ValueError where the folder holds
    something else; OSError if it cannot be written."""
    options.out.mkdir(parents=True, exist_ok=True)
    if _complete(options):
        return corpus_manifest.read(str(options.out))
    with _only_one(options.out):
        if not _complete(options):  # nobody else has made it meanwhile
            for folder in MAKERS:
                shutil.rmtree(options.out / folder, ignore_errors=True)  # of a run that was killed
            rows = _make_all(options, plan(options))
            os.sync()  # the manifest must not outlive the files in a power cut
            about = {"format": "starter", "synthetic": True, "made_from": options.made_from()}
            corpus_manifest.write(pa.Table.from_pylist(rows), str(options.out), name="starter", about=about)
        (options.out / UNFINISHED).unlink()
    return corpus_manifest.read(str(options.out))


def _complete(options: Options) -> bool:
    """True if the folder holds this very corpus. ValueError if it holds anything but a part of it."""
    out, remedy = options.out, "choose another --out, or delete the folder"
    if not (out / corpus_manifest.MANIFEST).exists():
        strange = [path.name for path in out.iterdir()]
        if strange and not (out / UNFINISHED).exists():
            raise ValueError(f"{out}: holds {sorted(strange)[0]!r} and no starter corpus; {remedy}")
        return False
    about = json.loads((out / corpus_manifest.DESCRIPTION).read_text())
    if about.get("made_from") != options.made_from():
        raise ValueError(f"{out}: holds another corpus ({about.get('made_from', about.get('name'))}); {remedy}")
    missing = [path for path in corpus_manifest.read(str(out)).table["path"].to_pylist() if not (out / path).exists()]
    if missing:
        raise ValueError(f"{out}: {len(missing)} files of its manifest are gone ({missing[0]} ...); {remedy}")
    return True


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Holds the folder's lock; a second run waits here until the first is done."""
    with open(out / UNFINISHED, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (out / UNFINISHED).touch()  # the first has removed it
        yield


def _make_all(options: Options, items: list[Item]) -> list[dict[str, Any]]:
    """The rows of all items, in their order."""
    make_one = partial(make, options.out, options.seed)
    progress = partial(tqdm, total=len(items), desc="starter corpus", unit="file", mininterval=0.5)
    if options.workers == 1:
        return list(progress(map(make_one, items)))
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    try:
        with ProcessPoolExecutor(options.workers, mp_context=spawn, initializer=_end_with_parent) as pool:
            return list(progress(pool.map(make_one, items, chunksize=4)))
    except BrokenProcessPool as error:
        raise OSError(f"a worker was killed, out of memory perhaps: run again, with --workers 1 ({error})") from error


def _end_with_parent() -> None:
    """Workers wait for work for ever, even after their parent was killed: end with it."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def main(argv: list[str]) -> int:
    started = time.monotonic()
    options = tyro.cli(Options, args=argv, prog="python -m pipelines.starter")
    if not options.hours > 0 or options.workers < 1 or not options.roles:
        raise ValueError(f"hours {options.hours}, workers {options.workers}, roles {options.roles}: all must be more than none")
    corpus = build(dataclasses.replace(options, roles=tuple(dict.fromkeys(options.roles))))
    for role, found in corpus_manifest.totals(corpus.table)["roles"].items():
        print(f"{role:7s} {60 * found['hours']:6.1f} min  {found['files']:4d} files  {found['groups']:4d} groups")
    print(f"{options.out}: synthetic corpus, {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    command_line.run(main)
