"""Datasets and corpora small enough to make in a moment: noise of 8 kHz, shards as `make simulate` commits them."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from infra import corpus_manifest
from infra.dataset import ShardRows, commit_shard, dataset_id, finish, gather, shard_name, shards_of
from infra.shards import build, encode_flac
from infra.storage import Store, open_store
from training.data.config import DataConfig

RATE_HZ = 8000
ROLES = ("input", "target", "noise")


def sound(seed: int, seconds: float = 0.3, sample_rate_hz: int = RATE_HZ) -> np.ndarray:
    """White noise, (samples,) int16."""
    return np.random.default_rng(seed).integers(-8000, 8000, round(seconds * sample_rate_hz)).astype(np.int16)


def write_dataset(store: Store, sizes: tuple[int, ...], task: str = "sr", split: str = "train") -> Store:
    """A finished dataset with a shard for each size, of examples with ROLES of 0.3 s."""
    shards, first = [shard_name(number) for number in range(len(sizes))], 0
    for shard, size in zip(shards, sizes):
        examples, rows = [], []
        for index in range(first, first + size):
            audio = {role: sound(10 * index + number)[None] for number, role in enumerate(ROLES)}
            key = f"{task}-s0-{index:08d}"
            examples.append(
                (key, {f"{role}.flac": encode_flac(wave, RATE_HZ) for role, wave in audio.items()} | {"json": b"{}"})
            )
            lengths = [wave.shape[1] for wave in audio.values()]
            row = {"key": key, "task": task, "sample_rate_hz": RATE_HZ, "num_samples": lengths[0], "licences": ["CC0 1.0"]}
            rows.append(row | {"roles": list(ROLES), "role_num_samples": lengths})
        first += size
        data = build(examples)
        commit_shard(store, shard, data, ShardRows(shard, hashlib.sha256(data).hexdigest(), len(data), rows, []))
    totals = gather(store, shards)
    identity = dataset_id(shards_of(totals.table))
    finish(store, totals, {"id": identity, "recipe": {"task": task, "split": split}})
    return store


def write_corpus(folder: Path, files: dict[str, np.ndarray], sample_rate_hz: int = RATE_HZ, **columns) -> str:
    """A corpus of files by id; `columns` are values by id, or one value for all. The id's first part is the role."""
    rows = []
    for name, frames in files.items():
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, frames, sample_rate_hz)
        row = {"id": name, "path": f"{name}.wav", "role": name.partition("/")[0], "licence": "CC0 1.0", "split": "train"}
        row |= {"sample_rate_hz": sample_rate_hz, "num_frames": len(frames), "num_channels": frames.ndim}
        row |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "speaker": "", "group": ""}
        rows.append(row | {key: value[name] if isinstance(value, dict) else value for key, value in columns.items()})
    corpus_manifest.write(pa.Table.from_pylist(rows), str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def dataset_at(tmp_path_factory) -> Path:
    """Three shards of 6, 3 and 7 examples: 32 clips of two roles. Shared by all tests: not to be changed."""
    folder = tmp_path_factory.mktemp("dataset") / "sr-0"
    write_dataset(open_store(str(folder)), (6, 3, 7))
    return folder


@pytest.fixture
def own_dataset(dataset_at, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(dataset_at, tmp_path / "sr-0"))


@pytest.fixture(scope="session")
def corpus_at(tmp_path_factory) -> str:
    """24 clips of speech, 9 of music and 7 events, 0.3 to 0.6 s. Shared by all tests: not to be changed."""
    counts = {"speech": 24, "music": 9, "event": 7}
    names = [f"{role}/{number:02d}" for role, count in counts.items() for number in range(count)]
    files = {name: sound(1000 + at, 0.3 + 0.1 * (at % 4)) for at, name in enumerate(names)}
    return write_corpus(tmp_path_factory.mktemp("corpus"), files)


@pytest.fixture(scope="session")
def config(dataset_at) -> DataConfig:
    """Small crops of the dataset, dealt to 4 logical workers."""
    return DataConfig(shards=(str(dataset_at),), crop_s=0.1, logical_workers=4, prefetch_steps=1)
