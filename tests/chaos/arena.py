"""Where faults are made: a Ray cluster of this machine, an S3 server, a corpus, and what undisturbed runs make of it."""

import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from ray.cluster_utils import Cluster

from codec.model import Codec
from infra import s3_server
from infra.config import fingerprint
from infra.dataset import DESCRIPTION, RUN, commit_shard, find_datasets, open_dataset, read_shard, shard_name
from infra.model_folder import model_id
from infra.shards import encode_json
from infra.storage import Store, open_store
from pipelines import corpus as corpora
from pipelines import encode, simulate
from pipelines.encoding import Networks, Recipe, encode_shard
from pipelines.rendering import loader, make_shard, render
from pipelines.simulate import Simulate
from simulation.registry import task
from tests.codec.samples import FIXED, make
from tests.pipelines.conftest import command, write_corpus

AUTHENTICATION = {"RAY_AUTH_MODE": "disabled"}  # a cluster of this machine, on loopback
NUM_NODES = 2
LIMIT_S = 600.0


@dataclass
class Outcome:
    """What became of one disturbed piece of work."""

    what: str
    fault: str
    expected: int
    """Examples, steps or checkpoints."""
    present: int
    duplicated: int
    equal: bool
    """To the hashes of an undisturbed run."""
    recover_s: float
    """From the fault until more was committed than before it."""
    faults: int = 1

    @property
    def lost(self) -> int:
        return self.expected - self.present

    @property
    def is_well(self) -> bool:
        return self.lost == 0 and self.duplicated == 0 and self.equal


@dataclass
class Arena:
    """Made as far as a scenario asks for it, and once."""

    folder: Path
    count: int = 24
    examples_per_shard: int = 4
    server: s3_server.Server | None = None
    bucket: str = "chaos"
    environment: dict[str, str] = field(default_factory=dict)
    _cluster: Cluster | None = None
    _nodes: list = field(default_factory=list)
    _made: dict[str, object] = field(default_factory=dict)

    def close(self) -> None:
        if self._cluster:
            self._cluster.shutdown()

    def once(self, name: str, make_it: Callable[[], object]):
        if name not in self._made:
            self._made[name] = make_it()
        return self._made[name]

    def corpus(self) -> Path:
        return self.once("corpus", lambda: write_corpus(self.folder / "corpus"))

    def codec(self) -> Path:
        def save() -> Path:
            make(FIXED).save_pretrained(self.folder / "codec")
            return self.folder / "codec"

        return self.once("codec", save)

    def cluster(self) -> Cluster:
        """A head without CPUs and nodes with one each."""
        if self._cluster is None:
            os.environ |= AUTHENTICATION
            self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        while len(self._nodes) < NUM_NODES:
            self._nodes.append(started(self._cluster))
        return self._cluster

    def lose_node(self) -> None:
        """Kill a node as a spot instance goes, without a word; another one comes."""
        cluster = self.cluster()
        cluster.remove_node(self._nodes.pop(0), allow_graceful=False)
        self._nodes.append(started(cluster))

    def on_cluster(self) -> dict[str, str]:
        return AUTHENTICATION | {"RAY_ADDRESS": self.cluster().address}

    def simulate(self, out: object, *options: object, **environment: str) -> subprocess.Popen:
        size = ("--count", self.count, "--examples-per-shard", self.examples_per_shard, "--task.duration-s", 1.0)
        words = ("sr", "--corpus", self.corpus(), "--out", out, *size, "--rerender", 1, *options)
        return command("pipelines.simulate", *words, environment=environment)

    def encode(self, out: object, *options: object, **environment: str) -> subprocess.Popen:
        source = self.undisturbed_simulation()
        words = ("--data", source, "--codec", self.codec(), "--out", out, *options)
        return command("pipelines.encode", *words, environment=environment)

    def undisturbed_simulation(self) -> Path:
        return self.once("simulation", lambda: simulated_alone(self))

    def undisturbed_tokens(self) -> Path:
        return self.once("tokens", lambda: encoded_alone(self))


def started(cluster: Cluster, tries: int = 5):
    """A new node; Ray gives each 30 s to come up, which a busy machine may not manage at once."""
    for left in reversed(range(tries)):
        with contextlib.suppress(*([Exception] if left else [])):
            return cluster.add_node(num_cpus=1)


def simulated_alone(arena: Arena) -> Path:
    """What `arena.simulate` is to make, made in this process without Ray."""
    config = Simulate(
        task("sr").Config(duration_s=1.0),
        corpus=str(arena.corpus()),
        count=arena.count,
        examples_per_shard=arena.examples_per_shard,
    )
    recipe, corpus = config.recipe("sr"), corpora.resolve(config.corpus)
    bank, load = simulate.bank_of(corpus, recipe), loader(corpus.root, recipe.sample_rate_hz)
    described = simulate.described_by(recipe, corpus)
    folder = arena.folder / f"sr-{fingerprint(described)}"
    for shard in range(recipe.num_shards()):
        data, rows = make_shard(recipe, shard, partial(render, recipe, bank, load))
        commit_shard(open_store(str(folder)), rows.shard, data, rows)
    shards = [shard_name(shard) for shard in range(recipe.num_shards())]
    simulate.conclude(open_store(str(folder)), described, shards, recipe.count)
    return folder


def encoded_alone(arena: Arena) -> Path:
    """What `arena.encode` is to make, likewise."""
    torch.set_num_threads(1)  # as an actor has
    source = open_dataset(open_store(str(arena.undisturbed_simulation())))
    codec, codec_id, recipe = Codec.from_pretrained(arena.codec()).eval(), model_id(arena.codec()), Recipe(None, 60.0)
    described = encode.describe(recipe, source, codec, codec_id)
    folder, where = arena.folder / f"sr-tokens-{fingerprint(described)}", encode.places(source)
    for shard, (start, length) in where.items():
        rows = source.manifest.slice(start, length).to_pylist()
        data, done = encode_shard(Networks(codec, codec_id), recipe, source.store.get(shard), rows)
        commit_shard(open_store(str(folder)), shard, data, done)
    encode.conclude(open_store(str(folder)), described, list(where))
    return folder


def well(process: subprocess.Popen, code: int = 0) -> str:
    """The output of a run that ends as it should; AssertionError with it otherwise."""
    output = "\n".join(text for text in process.communicate(timeout=LIMIT_S) if text)
    assert process.returncode == code, f"exit code {process.returncode}, not {code}:\n{output[-3000:]}"
    return output


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | None = None, limit_s: float = LIMIT_S) -> float:
    """Seconds until the condition holds, or the process has ended."""
    started = time.monotonic()
    while not condition() and (process is None or process.poll() is None):
        assert time.monotonic() - started < limit_s, "waited in vain"
        time.sleep(0.05)
    return time.monotonic() - started


def num_rows(url: object) -> int:
    """Shards that are committed anywhere below the place."""
    return sum("/rows/" in name for name in open_store(str(url)).list())


def disturbed(process: subprocess.Popen, progress: Callable[[], int], fault: Callable[[], None], after: int = 1) -> float:
    """Make the fault when so much is done; seconds until more is done than before it."""
    wait_until(lambda: progress() >= after, process)
    assert process.poll() is None, f"it ended before the fault: {process.communicate()}"
    before = progress()
    fault()
    return wait_until(lambda: progress() > before, process)


def judged(what: str, fault: str, url: object, undisturbed: Path, recover_s: float, faults: int = 1) -> Outcome:
    """Read every example of the one dataset below the place, and compare what is listed there with the undisturbed one."""
    (store,) = find_datasets(open_store(str(url)))
    dataset = open_dataset(store)
    expected = Counter(open_dataset(open_store(str(undisturbed))).manifest["key"].to_pylist())
    listed = Counter(dataset.manifest["key"].to_pylist())
    stored: Counter[str] = Counter()
    for row in dataset.shards().itertuples():
        stored.update(sample.key for sample in read_shard(store, row.shard, row.shard_sha256, row.num_examples))
    present = sum(1 for key in expected if listed[key] and stored[key])
    duplicated = sum(max(listed[key], stored[key]) - 1 for key in listed | stored)
    equal = hashes(store) == hashes(open_store(str(undisturbed)))
    return Outcome(what, fault, len(expected), present, duplicated, equal, recover_s, faults)


def hashes(store: Store) -> dict[str, str]:
    """sha256 of all that is listed, but for where and at which commit of the code it was made."""
    found = {name: store.get(name) for name in store.list() if name != RUN}
    found[DESCRIPTION] = encode_json({**json.loads(found[DESCRIPTION]), "commit": ""})
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


@contextlib.contextmanager
def small_disk(place: Path, num_bytes: int) -> Iterator[Callable[[int], None]]:
    """A real file system of so many bytes; what is yielded makes it another size. OSError where mounting is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "none", place], capture_output=True).returncode:
        raise OSError("mounting is not allowed here")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True, capture_output=True)
    finally:
        subprocess.run(["umount", "-l", place], check=True)
