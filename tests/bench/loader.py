"""Speed of the training data alone: `python -m tests.bench.loader --corpus ../shared/corpus`.

Beside each row stands its floor in the same run: shards read one after the other with tarfile and every clip of the same roles
decoded whole with soundfile; files read whole with soundfile and resampled. Rows take turns, and a ratio is the median over the
turns of a row against its floor in that turn, because the machine may not be alone.
"""

import contextlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
import tyro

from infra import s3_server, tracking
from infra.dataset import open_dataset
from infra.storage import Store, open_store
from pipelines import corpus as corpora
from training.data.config import DataConfig, DomainWeights
from training.data.crops import Clip
from training.data.sources import open_sources
from training.data.stream import Batching, Stream

WARM_STEPS = 2
SPEECH = DomainWeights(1, 0, 0)


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    corpus: str = "../shared/corpus"
    data: str = ""
    """A dataset of sr, simulated if not given."""
    count: int = 1024
    """Examples to simulate."""
    batch_size: int = 32
    repeats: int = 5
    train_steps: int = 60
    """Of a real training from the shards, that tells how long its steps waited."""
    s3: bool = True
    """Also over a local S3 server."""


class Timer:
    """Wall clock and CPU time of all threads, per clip."""

    def __init__(self) -> None:
        self.started_s, self.cpu_started_s = time.perf_counter(), time.process_time()

    def per_clip(self, count: int) -> np.ndarray:
        """Milliseconds a clip: wall clock, CPU."""
        return np.array([time.perf_counter() - self.started_s, time.process_time() - self.cpu_started_s]) / count * 1e3


@dataclass(frozen=True)
class Row:
    """One way to read, and what a clip takes."""

    name: str
    read: Callable[[], np.ndarray]
    """Reads once; milliseconds a clip as Timer gives them."""
    floor: str = ""
    """The row that it is compared with."""


def bench(config: Bench) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dataset = open_store(config.data or simulated(config, folder))
        places = {"folder": dataset}
        if config.s3:
            places["S3"] = stack.enter_context(on_s3(dataset, folder))
        if config.repeats:
            rows = [row for place, store in places.items() for row in shard_rows(place, store, config)]
            report(rows + corpus_rows(config), config.repeats)
        for place, store in places.items():
            print(waits(place, store, config.train_steps, folder / f"run-{place}"))


def simulated(config: Bench, folder: Path) -> str:
    """A new dataset of sr, 64 examples a shard."""
    words = ["sr", "--corpus", config.corpus, "--out", str(folder), "--count", str(config.count), "--rerender", "0"]
    subprocess.run([sys.executable, "-m", "pipelines.simulate", *words], check=True, stdout=subprocess.DEVNULL)
    return str(next(folder.glob("sr-*")))


@contextlib.contextmanager
def on_s3(dataset: Store, folder: Path) -> Iterator[Store]:
    """A copy of the dataset on an S3 server of this machine."""
    s3_server.install()
    server = s3_server.Server(folder / "s3", port=0)
    server.start()
    try:
        os.environ.update(server.environment())
        s3_server.make_bucket(server, "bench")
        copy = open_store("s3://bench/sr")
        for name in dataset.list():
            copy.put(name, dataset.get(name))
        yield copy
    finally:
        server.stop()


def shard_rows(place: str, dataset: Store, config: Bench) -> list[Row]:
    floor = f"{place}: tar + FLAC decode"
    rows = [Row(floor, lambda: read_tars(dataset))]
    for crop_s in (5.0, 1.0):
        for threads in (1, 2):
            data = DataConfig(shards=(dataset.url,), crop_s=crop_s, threads=threads)
            name = f"{place}: stream, {crop_s:g} s crops, {threads} thread{'s' * (threads > 1)}"
            rows.append(Row(name, stream_reader(data, config.batch_size), floor))
    return rows


def read_tars(dataset: Store) -> np.ndarray:
    """Every clip of the default roles, decoded whole, in the order of the shards."""
    timer, count = Timer(), 0
    endings = tuple(f".{role}.flac" for role in DataConfig().roles)
    for shard in open_dataset(dataset).shards()["shard"]:
        with tarfile.open(fileobj=io.BytesIO(dataset.get(shard)), mode="r:") as tar:
            for member in tar:
                if member.name.endswith(endings):
                    soundfile.read(io.BytesIO(tar.extractfile(member).read()), dtype="float32")
                    count += 1
    return timer.per_clip(count)


def stream_reader(data: DataConfig, batch_size: int) -> Callable[[], np.ndarray]:
    """Reads one epoch's worth of steps, after the first few have filled what is read ahead."""
    sources = open_sources(data, open_store("."))
    num_steps = sum(source.num_clips for source in sources) // batch_size

    def read() -> np.ndarray:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            Stream(sources, data, Batching(0, 16000, batch_size, batch_size)) as stream,
        ):
            for _ in range(WARM_STEPS):
                next(stream)
            timer = Timer()
            for _ in range(num_steps):
                next(stream)
            return timer.per_clip(num_steps * batch_size)

    return read


def corpus_rows(config: Bench) -> list[Row]:
    place = corpora.resolve(config.corpus).location
    rows = []
    for domain in ("speech", "event"):
        weights = DomainWeights(**{name: float(name == domain) for name in ("speech", "music", "event")})
        floor = f"files of {domain}: soundfile + soxr, whole"
        data = DataConfig(corpora=(place,), weights=weights, crop_s=1.0)
        rows.append(Row(floor, file_reader(data)))
        for threads in (1, 2):
            name = f"files of {domain}: stream, 1 s crops, {threads} thread{'s' * (threads > 1)}"
            rows.append(Row(name, stream_reader(replace(data, threads=threads), config.batch_size), floor))
    return rows


def file_reader(data: DataConfig) -> Callable[[], np.ndarray]:
    """Reads every file whole, resampled to 16 kHz."""
    (source,) = open_sources(data, open_store("."))
    clips = [clip for clip in source.fetch(np.arange(source.num_clips)).values() if isinstance(clip, Clip)]

    def read() -> np.ndarray:
        timer = Timer()
        for clip in clips:
            soxr.resample(soundfile.read(clip.file, dtype="float32")[0], clip.sample_rate_hz, 16000, quality="HQ")
        return timer.per_clip(len(clips))

    return read


def waits(place: str, dataset: Store, num_steps: int, out: Path) -> str:
    """How long the steps of a real training of `tiny` (8 clips of 1 s) waited for their clips, past the first few."""
    words = [
        "tiny",
        "--data",
        dataset.url,
        "--out",
        str(out),
        "--steps",
        str(num_steps),
        "--validation-steps",
        "0",
        "--no-report",
    ]
    subprocess.run([sys.executable, "-m", "pipelines.train_codec", *words], check=True, stdout=subprocess.DEVNULL)
    times = [line["time"] for line in tracking.read(out) if line["step"] > WARM_STEPS]
    waited, taken = (np.array([time[name] for time in times]) for name in ("wait_s", "step_s"))
    share, longest = waited.sum() / taken.sum(), 1e3 * waited.max()
    return (
        f"{place}: {len(times)} steps of {1e3 * np.median(taken):.0f} ms: {share:.2%} of it waiting, {longest:.1f} ms at most"
    )


def report(rows: list[Row], repeats: int) -> None:
    """Measure in turns and print the table."""
    taken: dict[str, list[np.ndarray]] = {row.name: [] for row in rows}
    for _ in range(repeats):
        for row in rows:
            taken[row.name].append(row.read())
    print("| read | ms a clip | CPU ms a clip | clips/s, best turn | speed of the floor | CPU time of the floor |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        mine, floor = np.array(taken[row.name]), np.array(taken[row.floor or row.name])
        wall_ms, cpu_ms = np.median(mine, axis=0)
        speed, cpu = np.median(floor[:, 0] / mine[:, 0]), np.median(mine[:, 1] / floor[:, 1])
        print(f"| {row.name} | {wall_ms:.2f} | {cpu_ms:.2f} | {1e3 / mine[:, 0].min():.0f} | {speed:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    bench(tyro.cli(Bench, prog="tests.bench.loader"))
