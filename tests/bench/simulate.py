"""Speed of the simulator: `make bench CORPUS=...`. CPU time of one pinned core per example, beside the floor under it.

The floor is what no arrangement of this work avoids: decode the sources that are used, encode the signals that are
stored, hash the shard, and the FFTs of the convolutions. What is above it is ours.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import ray
import scipy.fft
import tyro

from infra import cluster
from infra.command_line import run
from infra.dataset import commit_shard
from infra.shards import encode_flac
from infra.storage import open_store
from pipelines import corpus as corpora
from pipelines.rendering import Recipe, clips_of, loader, make_shard, render, scene_of
from pipelines.shard_job import Job, make_shards
from pipelines.simulate import Simulate, bank_of
from simulation.clips import read
from simulation.example import SourceError
from simulation.registry import configurations, task


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    corpus: str = "../shared/corpus"
    count: int = 256
    """Examples of each row."""
    tasks: tuple[str, ...] = ("sr-published", "sr", "tse", "rtse", "ss", "lass", "aec", "event_edit", "tta", "vc")
    sample_rates_hz: tuple[int, ...] = (16000, 48000)
    stems: tuple[bool, ...] = (False, True)
    ray: bool = True
    """Ray's own cost, two workers against one, and the cost of the ten-thousandth example."""


def cpu_ms(work: Callable[[], object], times: int = 1) -> float:
    """CPU milliseconds of this process for one call."""
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times * 1e3


def bench_task(name: str, config: Bench, sample_rate_hz: int, stems: bool) -> dict[str, float]:
    """One row: milliseconds an example, whole and by part, and times real time."""
    kind, ranges = configurations()[name]
    recipe = Simulate(ranges, count=config.count, sample_rate_hz=sample_rate_hz, stems=stems, gate="redraw").recipe(kind)
    corpus = corpora.resolve(config.corpus)
    bank, load = bank_of(corpus, recipe), loader(corpus.root, sample_rate_hz)
    attempt = partial(render, recipe, bank, load)
    make_shard(replace(recipe, count=32, examples_per_shard=32), 0, attempt)
    recipe = replace(recipe, first=1000, examples_per_shard=config.count)
    attempt = partial(render, recipe, bank, load)
    made = []
    whole = cpu_ms(lambda: made.append(make_shard(recipe, 0, attempt)[1].examples)) / config.count
    parts = floor_parts(recipe, bank, corpus.root, config.count)
    seconds = sum(row["num_samples"] for row in made[0]) / sample_rate_hz / config.count
    return {"whole_ms": whole, **parts, "times_real_time": seconds / whole * 1e3, "floor_x": seconds / parts["floor_ms"] * 1e3}


def floor_parts(recipe: Recipe, bank, corpus_root: str, count: int) -> dict[str, float]:
    """Milliseconds an example of the parts that cannot be avoided, each measured alone on the same examples."""
    module = task(recipe.task)
    load = loader(corpus_root, recipe.sample_rate_hz)
    indices = range(recipe.first, recipe.first + min(count, 64))
    scenes = [scene_of(recipe, bank, index, 0) for index in indices]
    examples = []
    for scene in list(scenes):
        try:
            examples.append(module.render(scene, load))
        except SourceError:  # drawn again in a run
            scenes.remove(scene)
    clips = [clip for scene in scenes for clip in clips_of(scene) if clip.role != "rir"]
    signals = [audio for example in examples for audio in (example.signals | (example.stems if recipe.stems else {})).values()]
    path = open_store(corpus_root).local_path
    draw = cpu_ms(lambda: [scene_of(recipe, bank, index, 0) for index in indices]) / len(scenes)
    decode = cpu_ms(lambda: [read(clip, path, clip.sample_rate_hz) for clip in clips]) / len(scenes)
    encode = cpu_ms(lambda: [encode_flac(audio, recipe.sample_rate_hz) for audio in signals]) / len(scenes)
    hashes = cpu_ms(lambda: [hashlib.sha256(audio.tobytes()).digest() for audio in signals]) / len(scenes)
    reverberant = np.mean([len(rooms_of(scene)) for scene in scenes])
    fft = reverberant * convolution_ms(recipe.sample_rate_hz, signals[0].shape[1])
    floor = decode + encode + hashes + fft
    return {"draw_ms": draw, "decode_ms": decode, "encode_ms": encode, "hash_ms": hashes, "fft_ms": fft, "floor_ms": floor}


def rooms_of(scene) -> list:
    """One entry for each signal that is convolved."""
    room = getattr(getattr(scene, "mix", scene), "room", None)
    return [] if room is None else list(getattr(room, "sources_m", None) or room.clips)


def convolution_ms(sample_rate_hz: int, num_samples: int) -> float:
    """Full and early part of one signal: a forward transform, two responses, two back."""
    size = scipy.fft.next_fast_len(num_samples + sample_rate_hz // 2, real=True)
    audio = np.random.default_rng(0).normal(size=num_samples).astype(np.float32)

    def convolve():
        spectrum, response = scipy.fft.rfft(audio, size), scipy.fft.rfft(audio[: sample_rate_hz // 2], size)
        scipy.fft.rfft(audio[: sample_rate_hz // 20], size)
        return [scipy.fft.irfft(spectrum * response, size) for _ in range(2)]

    return cpu_ms(convolve, 20)


def bench_ray(config: Bench, out: str) -> dict[str, float]:
    """Wall seconds of the same shards in this process, on one Ray worker and on two; and early against late examples."""
    kind, ranges = configurations()["sr-published"]
    recipe = Simulate(ranges, count=24 * 64, stems=False, gate="redraw").recipe(kind)
    corpus = corpora.resolve(config.corpus)
    bank, load = bank_of(corpus, recipe), loader(corpus.root, recipe.sample_rate_hz)
    shards = list(range(recipe.num_shards()))
    plain, wall = time.process_time(), time.perf_counter()
    for shard in shards:  # with the commit, which is not Ray's
        data, rows = make_shard(recipe, shard, partial(render, recipe, bank, load))
        commit_shard(open_store(f"{out}/0"), rows.shard, data, rows)
    plain, wall = time.process_time() - plain, time.perf_counter() - wall
    found = {"in_process_s": wall}
    for workers in (1, 2):
        cluster.start(workers)
        for attempt in range(2):  # the first starts the workers and imports in them
            started = time.perf_counter()
            make_shards(Job(recipe, bank, corpus.root, f"{out}/{workers}-{attempt}"), shards, 1.0)
            found[f"ray_{workers}_workers_s"] = time.perf_counter() - started
        ray.shutdown()
    late = replace(recipe, first=10_000, count=64)
    early = replace(recipe, count=64)
    for name, part in (("first_64_ms", early), ("after_10000_ms", late)):
        found[name] = min(
            cpu_ms(lambda part=part: make_shard(part, 0, partial(render, part, bank, load))) / 64 for _ in range(3)
        )
    return found


def main(argv: list[str]) -> None:
    config = tyro.cli(Bench, args=argv, prog="tests.bench.simulate")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    names = ("whole", "draw", "decode", "encode", "hash", "fft", "floor")
    print(f"ms CPU an example, {config.count} examples a row, one pinned core\n")
    print("| task | rate | stems | " + " | ".join(names) + " | x real time | floor x |\n|" + "---|" * (len(names) + 5))
    for sample_rate_hz in config.sample_rates_hz:
        for name in config.tasks:
            for stems in config.stems:
                try:
                    row = bench_task(name, config, sample_rate_hz, stems)
                except ValueError as error:
                    print(f"| {name} | {sample_rate_hz} | not run: {error} |", flush=True)
                    continue
                cells = " | ".join(f"{row[f'{part}_ms']:.2f}" for part in names)
                yes = "yes" if stems else "no"
                print(
                    f"| {name} | {sample_rate_hz} | {yes} | {cells} | {row['times_real_time']:.0f} | {row['floor_x']:.0f} |",
                    flush=True,
                )
    os.sched_setaffinity(0, cores)
    if config.ray:
        import tempfile

        with tempfile.TemporaryDirectory() as out:
            for name, value in bench_ray(config, out).items():
                print(f"{name:>20}  {value:.2f}")


if __name__ == "__main__":
    run(main)
