"""From an example of a task dataset to what systems are given and metrics compare with. No Ray in here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from infra.dataset import Dataset
from infra.shards import ShardError, decode_member, read_raw
from lm.tasks import TASKS
from pipelines.encoding import target_roles
from simulation.signals.levels import from_int16
from training.data.token_source import TEXTS
from training.keys import key
from training.metrics.scoring import SPEECH
from training.metrics.task_metrics import SOUND

CODEC = "codec"  # the task of sets without a degraded input: the target through the codec
KNOWN = (*TASKS, CODEC)
SOUND_TASKS = ("lass", "event_edit")
SAID = ("transcript", "target_transcript")  # texts that are what the target says
DESCRIBED = ("target_caption", "caption")  # and what it sounds like
# Labels that slice: edges in the label's unit. Numbers of a manifest's measured_ column, or else of its requested_ one.
BANDS = {
    "snr_db": (0.0, 5.0, 10.0, 15.0),
    "sir_db": (0.0, 5.0),
    "ser_db": (0.0, 10.0),
    "rt60_s": (0.3, 0.6),
    "duration_s": (2.0, 5.0, 10.0),
    "overlap_share": (0.25, 0.75),
}
WORDS = {"text_operation": "operation", "text_kind": "kind", "text_language": "language"}  # columns that are slices as they are
GIVEN = "slice_"  # columns of imported sets


@dataclass(frozen=True, eq=False)
class Case:
    """One example. Waves are mono float32 `(samples,)` at one rate; `targets` is empty where a set has none."""

    task: str
    dataset: str
    key: str
    sample_rate_hz: int
    input: np.ndarray | None
    reference: np.ndarray | None
    targets: tuple[np.ndarray, ...]
    text: str | None  # the condition
    transcripts: tuple[str, ...]  # of each target, "" where it is not known
    described: str  # the target in words
    domain: str
    slices: Mapping[str, str]
    cluster: str

    @property
    def num_targets(self) -> int:
        return len(self.targets) or (TASKS[self.task].num_targets if self.task in TASKS else 1)


def cases(dataset: Dataset, rows: Sequence[Mapping[str, Any]], shard: bytes, keys: set[str] | None = None) -> Iterator[Case]:
    """Those of a shard's manifest rows, or of these keys among them. ShardError for bytes that are not the manifest's."""
    first = rows[0]
    name = f"{dataset.store.url}/{first['shard']}"
    of_key = {row["key"]: row for row in rows}
    for found, members in read_raw(shard, name, first["shard_sha256"]):
        if found in of_key and (keys is None or found in keys):
            yield case(dataset.description["id"], of_key[found], members, f"{name}: {found}")


def case(dataset_id: str, row: Mapping[str, Any], members: Mapping[str, bytes], where: str) -> Case:
    """ShardError for members that are missing, damaged or of another rate than their row says."""
    roles = target_roles(row["roles"])
    waves = {role: _wave(members, role, row, where) for role in ("input", "reference", *roles) if role in row["roles"]}
    record = decode_member("json", members["json"], f"{where}.json") if "json" in members else {}
    texts, name = record.get("texts", {}), row["task"]
    transcripts = _transcripts(texts, len(roles) or 1)
    spoken = name not in SOUND_TASKS and (name not in ("tta", CODEC) or bool(transcripts[0]))
    return Case(
        task=name,
        dataset=dataset_id,
        key=row["key"],
        sample_rate_hz=row["sample_rate_hz"],
        input=waves.get("input"),
        reference=waves.get("reference"),
        targets=tuple(waves[role] for role in roles),
        text=next((texts[text] for text in TEXTS.get(name, ()) if texts.get(text)), None),
        transcripts=transcripts,
        described=next((texts[text] for text in DESCRIBED if texts.get(text)), ""),
        domain=row.get("domain") or (SPEECH if spoken else SOUND),
        slices=slices(row),
        cluster=_cluster(row, record.get("scene")),
    )


def _wave(members: Mapping[str, bytes], role: str, row: Mapping[str, Any], where: str) -> np.ndarray:
    if f"{role}.flac" not in members:
        raise ShardError(f"{where}.{role}.flac is missing")
    audio, sample_rate_hz = decode_member("flac", members[f"{role}.flac"], f"{where}.{role}.flac")
    if sample_rate_hz != row["sample_rate_hz"]:
        raise ShardError(f"{where}.{role}.flac is at {sample_rate_hz} Hz, the manifest says {row['sample_rate_hz']} Hz")
    return from_int16(audio).mean(axis=0, dtype=np.float32)


def _transcripts(texts: Mapping[str, str], num_targets: int) -> tuple[str, ...]:
    if num_targets > 1:
        return tuple(texts.get(f"transcript{number}", "") for number in range(1, num_targets + 1))
    return (next((texts[name] for name in SAID if texts.get(name)), ""),)


def slices(row: Mapping[str, Any]) -> dict[str, str]:
    """What the row's labels say, in bands: {"snr_db": "0 to 5 dB", "num_voices": "2"}."""
    found = {}
    for name, edges in BANDS.items():
        value = row["num_samples"] / row["sample_rate_hz"] if name == "duration_s" else _label(row, name)
        if value is not None:
            found[name] = band(value, edges, name.rpartition("_")[2])
    num_voices = sum(role.startswith(("source", "interference")) for role in row["roles"])
    if row["task"] == "ss":
        found["num_voices"] = str(num_voices)
    found |= {name: str(row[column]) for column, name in WORDS.items() if row.get(column)}
    found |= {name.removeprefix(GIVEN): str(row[name]) for name in row if name.startswith(GIVEN) and row[name]}
    return found


def _label(row: Mapping[str, Any], name: str) -> float | None:
    for prefix in ("measured_", "requested_"):
        value = row.get(prefix + name)
        if isinstance(value, int | float) and np.isfinite(value):
            return float(value)
    return None


def band(value: float, edges: Sequence[float], unit: str) -> str:
    """ "under 0 dB", "0 to 5 dB", "5 dB and more"."""
    unit = {"db": " dB", "s": " s"}.get(unit, "")
    above = [edge for edge in edges if value >= edge]
    if not above:
        return f"under {edges[0]:g}{unit}"
    if len(above) == len(edges):
        return f"{edges[-1]:g}{unit} and more"
    return f"{above[-1]:g} to {edges[len(above)]:g}{unit}"


def _cluster(row: Mapping[str, Any], scene: Any) -> str:
    """The speaker of the first source, where the scene names one, or that source."""
    if row.get("cluster"):
        return str(row["cluster"])
    first = row["sources"][0] if row["sources"] else row["key"]
    return _speakers(scene).get(first) or first


def _speakers(scene: Any) -> dict[str, str]:
    """Speakers by the clips' ids, wherever in a scene they are."""
    found = {}
    if isinstance(scene, dict):
        if isinstance(scene.get("id"), str) and scene.get("speaker"):
            found[scene["id"]] = str(scene["speaker"])
        for value in scene.values():
            found |= _speakers(value)
    elif isinstance(scene, list):
        for value in scene:
            found |= _speakers(value)
    return found


def case_seed(seed: int, case: Case) -> int:
    """What is drawn for a case depends on the seed and on which example it is, on nothing else."""
    return key(seed, "evaluate", case.dataset, case.key)
