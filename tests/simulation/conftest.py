"""Two corpora for the tasks' tests: a synthesised one that takes a second to make, and the real one where it is at hand."""

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile

from simulation.bank import Bank
from simulation.clips import read

REAL = Path(__file__).parents[2] / "../shared/corpus"
ROLES = {"speech": "speech", "events": "event", "music": "music", "noise": "noise", "rirs": "rir"}
COLUMNS = ["id", "path", "role", "speaker", "group", "label", "text", "caption", "labels", "sample_rate_hz", "num_frames"]
COLUMNS += ["licence", "sha256", "split"]
RATE_HZ = 16000

# label: (category above it, captions, pitch in Hz; 0 is a noise)
EVENTS = {
    "dog": ("animals", ("A dog is barking.", "A dog barks twice in a yard."), 420),
    "rooster": ("animals", ("A rooster crows.",), 760),
    "church bells": ("exterior/urban", ("Church bells ring far away.",), 610),
    "car horn": ("exterior/urban", ("A car honks its horn.",), 350),
    "rain": ("natural soundscapes", ("Rain falls on a roof.",), 0),
}
MUSIC = {"piano": ("Slow piano music.", 262), "drums": ("A loop of drums.", 0)}


def tone(rng: np.random.Generator, pitch_hz: float, num_samples: int) -> np.ndarray:
    """Harmonics that fall by 1/k below 4 kHz with random phases and a slow vibrato; white noise for pitch 0."""
    if not pitch_hz:
        return 0.5 * rng.normal(size=num_samples)
    at = np.arange(num_samples) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * at + 2 * np.sin(2 * np.pi * 3 * at)
    return sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, int(4000 / pitch_hz) + 1))


def voice(rng: np.random.Generator, pitch_hz: float, seconds: float) -> np.ndarray:
    """Syllables of 80-250 ms with gaps, pauses of up to 0.4 s between words, quiet ends: what levels and extents see."""
    envelope = np.zeros(round(seconds * RATE_HZ))
    at = round(rng.uniform(0.05, 0.25) * RATE_HZ)
    while at < len(envelope) - round(0.3 * RATE_HZ):
        length = round(rng.uniform(0.08, 0.25) * RATE_HZ)
        envelope[at : at + length] = np.hanning(length)[: len(envelope) - at] * rng.uniform(0.3, 1)
        at += length + round(rng.choice([0.02, 0.03, 0.4], p=[0.5, 0.4, 0.1]) * RATE_HZ)
    return 0.1 * envelope * tone(rng, pitch_hz, len(envelope)) + 1e-4 * rng.normal(size=len(envelope))


def write_tiny_corpus(root: Path) -> pa.Table:
    """Five voices of three clips with transcripts, five classes of events, two of music, four noises and a room response."""
    rng, rows = np.random.default_rng(7), []

    def add(role: str, name: str, audio: np.ndarray, **columns: str) -> None:
        path = root / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(audio, -0.99, 0.99), RATE_HZ, subtype="PCM_16")
        row = dict.fromkeys(COLUMNS, "") | {"id": name.replace("/", "__"), "path": f"{name}.flac", "role": role}
        row |= {"sample_rate_hz": RATE_HZ, "num_frames": len(audio), "licence": "CC0 1.0", "split": "train", "labels": "{}"}
        rows.append(row | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} | columns)

    for speaker, pitch_hz in enumerate((95, 120, 150, 190, 230)):
        name, about = f"s{speaker}", json.dumps({"gender": "m" if pitch_hz < 140 else "f", "lang": "en"})
        for clip, seconds in enumerate((2.4, 4.1, 6.3)):
            text = f"Sentence {clip} of speaker {speaker}."
            audio = voice(rng, pitch_hz, seconds)
            add("speech", f"speech/{name}/{clip}", audio, speaker=name, group=name, text=text, labels=about)
    for label, (category, captions, pitch_hz) in EVENTS.items():
        for take in range(3):
            audio, caption = voice(rng, pitch_hz, 1.5 + take), captions[take % len(captions)]
            about = json.dumps({"category": category, "label": label})
            name = f"event/{label.replace(' ', '_')}_{take}"
            add("event", name, audio, label=label, caption=caption, labels=about, group=name)
    for label, (caption, pitch_hz) in MUSIC.items():
        audio, about = 0.1 * tone(rng, pitch_hz, 8 * RATE_HZ), json.dumps({"category": "music", "label": label})
        add("music", f"music/{label}", audio, label=label, caption=caption, labels=about, group=label)
    for number in range(4):
        audio = 0.05 * np.convolve(rng.normal(size=3 * RATE_HZ), np.ones(number + 1), "same")
        add("noise", f"noise/{number}", audio, label="hiss", group=f"n{number}", labels='{"label": "hiss"}')
    decay = rng.normal(size=RATE_HZ // 2) * 10 ** (-3 * np.arange(RATE_HZ // 2) / (0.3 * RATE_HZ))
    add("rir", "rir/room", np.concatenate([np.zeros(80), [0.9], 0.1 * decay]), group="room", labels='{"room": "tiny"}')
    return pa.Table.from_pylist(rows)


def read_real_corpus(root: Path) -> pa.Table:
    """The five manifests of the real corpus as one table of the bank's columns."""
    tables = []
    for folder, role in ROLES.items():
        table = pd.read_csv(root / folder / "manifest.csv", keep_default_na=False)
        table["label"] = [json.loads(labels or "{}").get("label", "") for labels in table["labels"]]
        table = table.rename(columns={"sample_rate": "sample_rate_hz", "license": "licence"}).assign(role=role, num_frames=0)
        tables.append(table[COLUMNS])
    table = pd.concat(tables, ignore_index=True)
    # the durations are rounded to 0.1 ms, too coarse to count frames from
    table["num_frames"] = [soundfile.info(root / path).frames for path in table["path"]]
    return pa.Table.from_pandas(table, preserve_index=False)


def opened(root: Path, table: pa.Table, sample_rate_hz: int, min_source_rate_hz: int = 0):
    """(bank, load) of a corpus at one rate."""
    load = partial(read, open_file=lambda path: str(root / path), sample_rate_hz=sample_rate_hz)
    return Bank(table, sample_rate_hz, min_source_rate_hz), load


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory) -> tuple[Path, pa.Table]:
    """Root and manifest of the synthesised corpus; not to be changed."""
    root = tmp_path_factory.mktemp("tiny")
    return root, write_tiny_corpus(root)


@pytest.fixture(scope="session")
def tiny_bank(tiny_corpus):
    """(bank, load) of the synthesised corpus at 16 kHz."""
    return opened(*tiny_corpus, RATE_HZ)


@pytest.fixture(scope="session")
def real_corpus() -> tuple[Path, pa.Table]:
    """Root and manifest of the real corpus; the test is skipped where it is not at hand."""
    if not (REAL / "speech" / "manifest.csv").is_file():
        pytest.skip("the real corpus ../shared/corpus is not at hand")
    return REAL, read_real_corpus(REAL)


@pytest.fixture(scope="session")
def real_bank(real_corpus):
    """(bank, load) of the real corpus at 16 kHz, all splits."""
    return opened(*real_corpus, RATE_HZ)


@pytest.fixture(scope="session")
def wide_bank(real_corpus):
    """(bank, load) of the real corpus at 48 kHz, sources at or above 43.2 kHz only."""
    return opened(*real_corpus, 48000, 43200)


@pytest.fixture(scope="session")
def some_bank(request):
    """The real corpus at 16 kHz where it is at hand, the synthesised one otherwise."""
    there = (REAL / "speech" / "manifest.csv").is_file()
    return request.getfixturevalue("real_bank" if there else "tiny_bank")
