"""Hear one example: `python -m pipelines.replay --out data --key lass-s0-00000007` writes its audio and labels."""

import difflib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import tyro

from infra.command_line import run
from infra.dataset import RUN, find_datasets, open_dataset, read_shard
from infra.shards import Sample
from infra.storage import Store, open_store
from pipelines import corpus as corpora
from pipelines.rendering import clips_of, loader, scene_from
from simulation.registry import task

EXIT_DIFFERENT = 6


@dataclass(frozen=True)
class Replay:
    """Which example, and where to put what it holds."""

    key: str
    """Its key, as in the manifest."""
    out: str = "data"
    """A dataset, or a folder of datasets."""
    to: str = "data/replay"
    """Local folder; a folder named by the key is made in it."""
    corpus: str = ""
    """Where the sources are now, if not where the run's run.json says."""


def find(url: str, key: str) -> tuple[Store, Sample]:
    """The dataset that has the key, and the stored sample. ValueError with the nearest key if none has."""
    near: list[str] = []
    found: list[tuple[Store, Sample]] = []
    for store in find_datasets(open_store(url)):
        dataset = open_dataset(store)
        keys = dataset.manifest["key"].to_pylist()
        if key in keys:
            shards = dataset.shards().set_index("shard")
            shard = dataset.manifest["shard"][keys.index(key)].as_py()
            row = shards.loc[shard]
            samples = read_shard(store, shard, row["shard_sha256"], row["num_examples"])
            found.append((store, next(sample for sample in samples if sample.key == key)))
        near += difflib.get_close_matches(key, keys[:1000], n=1, cutoff=0.5)
    if len(found) > 1:
        raise ValueError(f"{url}: several datasets have {key}: give OUT= one of {', '.join(store.url for store, _ in found)}")
    if found:
        return found[0]
    raise ValueError(f"{url}: no dataset here has the key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def replay(config: Replay) -> int:
    """Render the example from its scene, write it, say how it compares with what is stored."""
    store, sample = find(config.out, config.key)
    record = sample.members["json"]
    scene = scene_from(record)
    corpus = corpora.resolve(config.corpus or json.loads(store.get(RUN))["config"]["corpus"])
    example = task(record["task"]).render(scene, loader(corpus.root, record["sample_rate_hz"]))
    audio = example.signals | example.stems
    folder = Path(config.to) / config.key
    folder.mkdir(parents=True, exist_ok=True)
    for role, signal in audio.items():
        soundfile.write(folder / f"{role}.flac", signal.T, record["sample_rate_hz"], subtype="PCM_16")
    (folder / "scene.json").write_text(json.dumps(record, indent=2, sort_keys=True))
    stored = {name.removesuffix(".flac"): value[0] for name, value in sample.members.items() if name.endswith(".flac")}
    different = [role for role, signal in stored.items() if not np.array_equal(signal, audio.get(role))]
    _print(record, [f"{clip.role} {clip.id} ({clip.licence})" for clip in clips_of(scene)], folder)
    if different:
        print(
            f"error: {', '.join(different)} differ from what {store.url} stores: other sources or other versions?",
            file=sys.stderr,
        )
    else:
        print(f"the same samples as in {store.url}")
    return EXIT_DIFFERENT if different else 0


def _print(record: dict, sources: list[str], folder: Path) -> None:
    for name, text in record["texts"].items():
        print(f"{name:>20}  {text}")
    for label, value in sorted(record["measured"].items()):
        asked = record["requested"].get(label)
        print(f"{label:>20}  {value}" + (f"  (requested {asked})" if asked is not None else ""))
    print(f"{'from':>20}  " + f"\n{'':>22}".join(sources))
    print(f"{'written to':>20}  {folder}: " + ", ".join(sorted(file.name for file in folder.iterdir())))


def main(argv: list[str]) -> int:
    return replay(tyro.cli(Replay, args=argv, prog="pipelines.replay"))


if __name__ == "__main__":
    run(main)
