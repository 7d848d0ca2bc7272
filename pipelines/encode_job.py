"""The Ray side of encode: actors that hold the codec, a shard at a time each, restarted where they die."""

import functools
import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import torch
from ray.exceptions import RayError
from tqdm import tqdm

from codec.model import Codec
from infra import cluster, metrics, versions
from infra.actors import Crew, Resources, said
from infra.command_line import ShardsFailed
from infra.dataset import commit_shard
from infra.model_folder import local_folder, model_id
from infra.storage import open_store
from lm.audio_encoder import open_audio_encoder
from pipelines.encoding import Networks, Recipe, encode_shard
from pipelines.rendering import ROOT

RETRIES = 3  # of an actor that died, or of a store that could not be reached
# what the tokens come from
CODE = ("codec", "lm", "training/data/token_examples.py", "training/keys.py", "pipelines/encoding.py", "infra/shards.py")


def code_version() -> str:
    return versions.code_hash(ROOT, CODE)


@dataclass(frozen=True)
class Job:
    """What an actor needs for any shard of one dataset."""

    recipe: Recipe
    codec: str
    codec_id: str
    data: str
    out: str
    code: str
    device: str = "cpu"


@functools.cache
def open_networks(job: Job) -> Networks:
    """The codec in this process, and the encoder of the features. What is wrong with them is the error of a shard, not of an
    actor that dies of it."""
    if job.code != code_version():
        raise RuntimeError(f"{ROOT} on this node has other code than the driver: check out the same there")
    folder = local_folder(job.codec)
    if model_id(folder) != job.codec_id:
        raise RuntimeError(f"{job.codec} on this node is another codec than on the driver's")
    features = open_audio_encoder(job.recipe.features).to(job.device) if job.recipe.features else None
    return Networks(Codec.from_pretrained(folder).eval().to(job.device), job.codec_id, features)


@ray.remote(max_restarts=RETRIES, max_task_retries=RETRIES)
class Encoder:
    """Encodes and commits a shard at a time; keeps its codec."""

    def __init__(self, job: Job):
        torch.set_num_threads(1)  # sums in another order are other bits
        self.job = job

    def encode(self, rows: list[dict[str, Any]]) -> dict[str, float]:
        """Make and commit the token shard of these manifest rows; only its totals travel back."""
        shard = rows[0]["shard"]
        audio = open_store(self.job.data).get(shard)
        data, done = encode_shard(open_networks(self.job), self.job.recipe, audio, rows)
        commit_shard(open_store(self.job.out), shard, data, done)
        return {"examples": len(rows), "seconds": sum(row["num_samples"] / row["sample_rate_hz"] for row in rows)}


def make(job: Job, manifest: pa.Table, shards: list[tuple[int, int]], resources: Resources) -> None:
    """Encode the shards of these places (first row, number of rows) on Ray.

    ShardsFailed names those that could not be encoded; the others are committed.
    """
    if not shards:
        return
    cluster.start(resources.workers)
    actor = Encoder.options(num_cpus=1, num_gpus=resources.gpus_per_worker)
    failures, started, seconds = [], time.monotonic(), 0.0
    with (
        Crew(lambda: actor.remote(job), resources.count(len(shards))) as crew,
        tqdm(total=sum(length for _, length in shards), unit="ex", desc="encode", dynamic_ncols=True, mininterval=0.5) as bar,
    ):
        for rows, done in crew.work("encode", (manifest.slice(*place).to_pylist() for place in shards)):
            if isinstance(done, RayError):
                failures.append(f"{rows[0]['shard']}: {said(done)}")
                metrics.count("quarkline_shards_total", verb="encode", task=rows[0]["task"], state="failed")
                continue
            seconds += done["seconds"]
            _export(done, rows[0]["task"])
            bar.update(len(rows))
            bar.set_postfix_str(f"{seconds / (time.monotonic() - started):.0f} x real time")
    if failures:
        named = "\n  ".join(failures[:20])
        raise ShardsFailed(f"{len(failures)} of {len(shards)} shards failed; a rerun tries these again\n  {named}")


def _export(done: dict[str, float], task: str) -> None:
    metrics.count("quarkline_shards_total", verb="encode", task=task, state="committed")
    metrics.count("quarkline_examples_total", done["examples"], verb="encode", task=task)
    metrics.count("quarkline_audio_seconds_total", done["seconds"], verb="encode", task=task)
