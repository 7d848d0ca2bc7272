"""The whole chain at debug size: `python -m pipelines.smoke`, about two minutes of CPU time.

Each step is the command that a user gives, in a process of its own: starter corpus (or --corpus), simulate, train-codec,
encode, train-lm, bundle, infer, evaluate. What comes out is not a model, but proof that the steps fit together here.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from infra.command_line import ShardsFailed, run
from infra.dataset import find_datasets, open_dataset
from infra.storage import open_store

ROOT = Path(__file__).resolve().parents[1]
CODEC = (
    *("--model.seanet.width", "8"),
    *("--steps", "3", "--checkpoint-steps", "3", "--validation-steps", "0", "--adversarial-start", "2", "--no-report"),
    *(
        "--clips.logical-workers",
        "2",
        "--clips.crop-s",
        "0.4",
        "--training.batch-size",
        "4",
        "--training.micro-batch-size",
        "4",
    ),
)
LM = (
    *("--model.decoder.width", "32", "--model.decoder.num-layers", "2", "--model.decoder.num-heads", "2"),
    *("--model.decoder.feed-forward-width", "48", "--steps", "4", "--checkpoint-steps", "4", "--validation-steps", "0"),
    *("--examples.logical-workers", "2", "--examples.bucket-steps", "2", "--training.batch-size", "4"),
    *("--training.micro-batch-size", "4", "--judged-examples", "4"),
)


@dataclass(frozen=True)
class Smoke:
    """Run everything once, small."""

    out: str = "data/smoke"
    """Folder, or s3:// prefix, of data, tokens, bundle and evaluation. What is there is used again."""
    work: str = ""
    """Local folder for the training runs; OUT if that is a folder."""
    corpus: str = ""
    """Speech and noise of the splits train and test; a small starter corpus is made if not given."""
    task: str = "sr"
    """Of the examples; another one needs what its simulation needs."""
    seed: int = 0

    def __post_init__(self) -> None:
        if "://" in self.out and not self.work:
            raise ValueError(
                f"--out {self.out} is a store: give --work, a local folder that all nodes see, for the training runs"
            )
        if "://" in self.work:
            raise ValueError(f"--work {self.work}: give a local folder")

    @property
    def folder(self) -> Path:
        return Path(self.work or self.out).absolute()


@dataclass(frozen=True)
class Step:
    """One command; its words are known when the steps before are done."""

    name: str
    words: Callable[[], list[str]]


def steps(config: Smoke) -> Iterator[Step]:
    """In their order."""
    out, work = config.out.rstrip("/"), config.folder
    if "://" not in out:
        out = str(Path(out).absolute())
    corpus = config.corpus or str(work / "corpus")
    if not config.corpus:
        words = ["pipelines.starter", "--out", corpus, "--hours", "0.05", "--roles", "speech", "noise"]
        yield Step("starter", lambda: words)
    for split, count in (("train", 8), ("test", 4)):
        made = ["--corpus", corpus, "--out", f"{out}/{split}", "--split", split, "--count", str(count), "--rerender", "1"]
        more = ["--examples-per-shard", "4", "--task.duration-s", "2.0", "--seed", str(config.seed)]
        yield Step(f"simulate ({split})", lambda made=made, more=more: ["pipelines.simulate", config.task, *made, *more])
    yield Step(
        "train-codec",
        lambda: ["pipelines.train_codec", "tiny", "--corpus", corpus, "--out", str(work / "codec"), *CODEC],
    )
    codec = str(work / "codec" / "model")
    for split in ("train", "test"):
        places = ["--data", f"{out}/{split}", "--codec", codec, "--out", f"{out}/tokens-{split}"]
        yield Step(f"encode ({split})", lambda places=places: ["pipelines.encode", *places])
    data = ["--data", f"{out}/tokens-train", "--held-out", f"{out}/tokens-test", "--codec", codec]
    yield Step("train-lm", lambda: ["pipelines.train_lm", "tiny", *data, "--out", str(work / "lm"), *LM])
    parts = ["--codec", codec, "--lm", str(work / "lm" / "model"), "--out", f"{out}/bundle", "--data", f"{out}/tokens-train"]
    yield Step("bundle", lambda: ["pipelines.bundle", *parts])
    noisy = work / "noisy.flac"

    def infer() -> list[str]:
        noisy.write_bytes(first_input(f"{out}/test"))
        used = ["--model", f"{out}/bundle", "--input", str(noisy), "--out", str(work / "clean.flac")]
        return ["pipelines.infer", config.task, *used]

    yield Step("infer", infer)
    judged = ["--model", f"{out}/bundle", "--data", f"{out}/test", "--out", f"{out}/evaluations"]
    yield Step("evaluate", lambda: ["pipelines.evaluate", *judged, "--heard", "2", "--clips-per-part", "2"])


def first_input(place: str) -> bytes:
    """The FLAC of the first example's input."""
    from infra.shards import read_raw

    dataset = open_dataset(find_datasets(open_store(place))[0])
    shard = dataset.manifest["shard"][0].as_py()
    _, members = next(iter(read_raw(dataset.store.get(shard), shard)))
    return members["input.flac"]


def smoke(config: Smoke) -> list[tuple[str, float, float]]:
    """Name, seconds and CPU seconds of each step. ShardsFailed with the output of the one that fails."""
    config.folder.mkdir(parents=True, exist_ok=True)
    took = []
    for step in steps(config):
        started, cpu_s = time.monotonic(), _cpu_s()
        words = [sys.executable, "-m", *step.words()]
        log = config.folder / f"{step.name.partition(' ')[0]}.log"
        done = subprocess.run(words, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        log.write_text(done.stdout)
        if done.returncode:
            raise ShardsFailed(f"{step.name} ended with {done.returncode}: {' '.join(words)}\n{done.stdout[-4000:]}")
        took.append((step.name, time.monotonic() - started, _cpu_s() - cpu_s))
        print(f"{step.name:18s} {took[-1][1]:6.1f} s  {took[-1][2]:6.1f} s of CPU", flush=True)
    return took


def _cpu_s() -> float:
    """Of all commands that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: list[str]) -> int:
    config = tyro.cli(Smoke, args=argv, prog="pipelines.smoke")
    took = smoke(config)
    total_s, cpu_s = sum(seconds for _, seconds, _ in took), sum(seconds for _, _, seconds in took)
    print(f"all of it works: {total_s:.0f} s, {cpu_s:.0f} s of CPU; see {config.out}")
    return 0


if __name__ == "__main__":
    run(main)
