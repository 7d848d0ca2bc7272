"""A world small enough to retrain in: corpora, a codec, a frozen test set, a first champion; and drivers that start at once."""

import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from infra import corpus_manifest
from infra.dataset import RUN, commit_shard, dataset_id, finish, gather, shard_name, shards_of
from infra.registry import BOOTSTRAP, Entry, Registry
from infra.shards import encode_json
from infra.storage import Store, open_store
from lm.config import LMConfig
from pipelines import corpus as corpora
from pipelines.rendering import loader, make_shard, render
from pipelines.simulate import Simulate, bank_of, described_by
from simulation.registry import task
from tests.pipelines.conftest import write_corpus
from tests.pipelines.model_bundles import DECODER, make_bundle

DURATION_S = 0.6
STEPS, CHECKPOINT_STEPS = 4, 2
# A driver is forked from a process that has imported all of it: it starts in a moment.
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    ["tests.pipelines.retraining", "pipelines.retrain", "pipelines.evaluate", "training.lm_step", "training.loop", "deepspeed"]
)


@dataclass(frozen=True)
class World:
    """What all retrainings of a test module share; not to be changed."""

    folder: Path
    frozen: dict[str, str]

    def config(self, place: Path | str, **changes) -> dict:
        """A configuration with a registry and data of its own; `changes` by section: gate={...}."""
        decoder = {name: getattr(DECODER, name) for name in ("width", "num_layers", "num_heads", "feed_forward_width")}
        config = {
            "preset": "tiny",
            "registry": f"{place}/registry",
            "codec": str(self.folder / "codec"),
            "work": str(self.folder / "work" / Path(str(place)).name),
            "data": {
                "corpora": [str(self.folder / "corpora")],
                "out": f"{place}/data",
                "tasks": ["sr"],
                "count": 8,
                "examples_per_shard": 4,
                "rerender": 1,
                "ranges": {"sr": {"duration_s": DURATION_S}},
                "workers": 1,
            },
            "judging": {"datasets": [self.frozen], "metrics": ["si_sdr"], "heard": 0, "clips_per_part": 2},
            "gate": {
                "better": [{"metric": "si_sdr", "gain": -100.0}],  # a random model may get in, so that all steps are run
                "limits": [{"metric": "si_sdr", "margin": 200.0}],
                "min_clips": 2,
                "min_clusters": 2,
                "num_resamples": 400,
                "max_slowdown": 1000.0,
                "min_code_share": 0.0,
                "min_perplexity_share": 0.0,
            },
            "lease": {"ttl_s": 1.0},
            "lm": {
                "model": {"decoder": decoder},
                "examples": {"logical_workers": 2, "bucket_steps": 2},
                "recipe": {"training": {"batch_size": 4, "micro_batch_size": 4, "schedule": {"warmup_steps": 1}}},
                "loop": {"steps": STEPS, "checkpoint_steps": CHECKPOINT_STEPS, "validation_steps": 0},
            },
        }
        for section, values in changes.items():
            config[section] = config[section] | values if isinstance(values, dict) else values
        return config

    def registry(self, place: Path | str) -> Registry:
        """A registry with the first champion, which has seen nothing."""
        registry = Registry(f"{place}/registry")
        model = registry.models.add(open_store(str(self.folder / "bundle")), {"inputs": []})
        registry.change(Entry(BOOTSTRAP, model, "", "first"), None)
        return registry


def make_world(folder: Path) -> World:
    write_corpus(folder / "corpora" / "first")
    test_corpus = write_corpus(folder / "test-corpus")
    table = corpus_manifest.read(str(test_corpus)).table
    split = table.set_column(table.column_names.index("split"), "split", pa.array(["test"] * table.num_rows))
    corpus_manifest.write(split, str(test_corpus))
    test = simulated(folder / "test", test_corpus, "test")
    make_bundle(folder, **champion_shape())
    return World(folder, {"place": test.url, **pins(test)})


def champion_shape() -> dict:
    from pipelines.train_lm import presets

    model: LMConfig = presets()["tiny"].model
    return {"conditions": model.conditions, "clock": model.clock, "tasks": model.tasks}


def pins(store: Store) -> dict[str, str]:
    about = json.loads(store.get("dataset.json"))
    return {"id": about["id"], "manifest_sha256": about["manifest_sha256"]}


def simulated(folder: Path, corpus: Path, split: str) -> Store:
    """Eight examples of sr in two shards, made in this process."""
    config = Simulate(
        task("sr").Config(duration_s=DURATION_S), count=8, seed=9, examples_per_shard=4, split=split, gate="redraw"
    )
    recipe, source = config.recipe("sr"), corpora.resolve(str(corpus))
    bank, load, store = bank_of(source, recipe), loader(source.root, recipe.sample_rate_hz), open_store(str(folder))
    shards = [shard_name(number) for number in range(recipe.num_shards())]
    for number, shard in enumerate(shards):
        data, rows = make_shard(recipe, number, lambda index, attempt: render(recipe, bank, load, index, attempt))
        commit_shard(store, shard, data, rows)
    totals = gather(store, shards)
    store.put(RUN, encode_json({"task": "sr", "config": {"corpus": str(corpus)}}))
    described = described_by(recipe, source) | {"totals": {"examples": totals.table.num_rows}}
    finish(store, totals, {"id": dataset_id(shards_of(totals.table)), **described})
    return store


class Driver:
    """A retraining in a process of its own. What it says goes to a file."""

    def __init__(self, config: dict, folder: Path, **environment: str):
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.monotonic_ns()}"
        path, self.said = folder / f"{name}.json", folder / f"{name}.log"
        path.write_text(json.dumps(config))
        environment = {
            name: value for name, value in os.environ.items() if name.startswith(("AWS_", "QUARKLINE_"))
        } | environment
        self.process = FORK.Process(target=_drive, args=(["--config", str(path)], str(self.said), environment))
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def kill_when(self, is_time: Callable[[], bool], timeout_s: float = 120) -> bool:
        """Kill as soon as it is time; False if the driver has ended before."""
        end_s = time.monotonic() + timeout_s
        while self.process.exitcode is None:
            assert time.monotonic() < end_s, self.output()
            if is_time():
                self.kill()
                return True
            time.sleep(0.002)
        return False

    def finished(self, timeout_s: float = 240) -> tuple[int, str]:
        self.process.join(timeout_s)
        return self.process.exitcode, self.output()

    def output(self) -> str:
        return self.said.read_text() if self.said.exists() else ""


def _drive(argv: list[str], said: str, environment: dict[str, str]) -> None:
    from infra.command_line import run
    from pipelines import retrain

    os.setsid()
    log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
    os.environ.update(environment)
    sys.argv = ["retrain", *argv]
    run(retrain.main)


def files(folder: Path) -> set[str]:
    """Names below a folder, as they are now."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for path, _, names in os.walk(folder):
            found |= {os.path.relpath(os.path.join(path, name), folder) for name in names if not name.startswith(".")}
    return found
