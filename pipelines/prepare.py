"""Copy a corpus at one sample rate: `python -m pipelines.prepare --corpus ../corpus --sample-rate-hz 16000`.

Half the time of a simulated example goes into decoding and resampling its sources, again at each use; this does it once.

    <out>/<path>.wav        16 bit, 24 bit for room responses; a file of a lower rate keeps its rate and its samples
    <out>/corpus.json       put first with what decides the bytes, and again at the end with the totals
    <out>/quarantine.csv    files that could not serve: id, path, reason, detail
    <out>/manifest.parquet  put last: without it the corpus is not there

Rows keep all that is known of the source, whose sha256 and rate stand in `labels` as `prepared_from`; a file that had to be
attenuated to fit full scale has `prepared_gain_db` there too. It is another corpus with another id: a scene drawn from it
is not the scene drawn from its parent. The same source gives the same bytes on every machine with the same libraries, but
for lossy sources (MP3, Opus) whose decoder may pick other instructions on another CPU; their hashes say so.
"""

import hashlib
import io
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile
import soxr
import tyro

from infra import corpus_manifest, versions
from infra.command_line import TooManyRejects, run
from infra.corpus_manifest import DESCRIPTION, MANIFEST, QUARANTINE, Corpus
from infra.corpus_schema import SCHEMA
from infra.storage import Store, open_store
from pipelines import corpus as corpora
from pipelines.check_audio import FOUND, FRAMES_PER_BLOCK, Found, Reject, Stated, check, look_at, rejected
from pipelines.corpus import BYTES_IN_PROCESS, HOME, QUARANTINE_COLUMNS
from pipelines.file_batches import FileWork, in_batches
from pipelines.formats.tree import records
from simulation.signals.levels import SILENCE_DB, amplitude, joint_gain

ROOT = Path(__file__).resolve().parents[1]
CODE = ("pipelines/prepare.py", "pipelines/check_audio.py")  # what the bytes and the rejects come from
QUALITY = "VHQ"
BITS = {"rir": 24}  # of the others 16: the tail of a response lies 60 dB and more below its peak
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4000, 384_000
MAX_WAV_BYTES = 2**32 - 2**16  # its header counts in 32 bits
MAX_FLAC_CHANNELS = 8
GAIN_COMMENT = "prepared_gain_db="
TO_DO = pa.schema(
    [
        ("path", pa.string()),
        ("role", pa.string()),
        ("sample_rate_hz", pa.int32()),
        ("num_frames", pa.int64()),
        ("sha256", pa.string()),
        ("name", pa.string()),  # of the new file
        ("is_there", pa.bool_()),  # it was made by a former run
    ]
)
DONE = FOUND.append(pa.field("gain_db", pa.float64()))  # of the new file


@dataclass(frozen=True)
class Prepare:
    """Copy a corpus at one sample rate, once for all examples to come. A rerun does only what is missing."""

    corpus: str = ""
    """A manifest, a folder or an s3:// prefix; the synthetic starter corpus if empty."""
    sample_rate_hz: int = 16000
    """Of the task. Files of a lower rate keep theirs."""
    out: str = ""
    """Folder or s3:// prefix for the new corpus; data/corpora/<name>-<rate> if not given."""
    audio_format: Literal["wav", "flac"] = "wav"
    """WAV is read fastest, FLAC is half as large."""
    max_reject_share: float = 0.05
    """Stop with exit code 3 if more than this share of the files cannot serve."""
    workers: int | None = None
    """CPUs of this machine to use; 0 works in this process, without Ray. If not given, all, or 0 below 256 MB of samples."""

    def __post_init__(self) -> None:
        if not LOWEST_RATE_HZ <= self.sample_rate_hz <= HIGHEST_RATE_HZ:
            limits = f"from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
            raise ValueError(f"--sample-rate-hz is {self.sample_rate_hz}: give a rate in Hz {limits}, such as 16000")
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(f"--max-reject-share is {self.max_reject_share}: give a number from 0 to 1")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"--workers is {self.workers}: give 0 or more")


@dataclass(frozen=True)
class Job:
    """What a worker needs for any file."""

    root: str  # of the source
    url: str  # of the new corpus
    sample_rate_hz: int
    audio_format: str

    def rate_hz(self, source_rate_hz: int) -> int:
        return min(source_rate_hz, self.sample_rate_hz)

    def found_in(self, data: bytes, row: dict[str, Any]) -> dict[str, Any] | None:
        """What a DONE row says of a new file; None if it is not the one of this TO_DO row."""
        rate_hz = self.rate_hz(row["sample_rate_hz"])
        num_frames = -(-row["num_frames"] * rate_hz // row["sample_rate_hz"])
        wanted = (self.audio_format.upper(), f"PCM_{BITS.get(row['role'], 16)}", rate_hz, num_frames)
        try:
            with soundfile.SoundFile(io.BytesIO(data)) as file:
                found = (file.format, file.subtype, file.samplerate, file.frames)
                num_channels, comment = file.channels, file.comment
        except soundfile.LibsndfileError:
            return None
        gain_db = float(comment.removeprefix(GAIN_COMMENT)) if comment.startswith(GAIN_COMMENT) else 0.0
        facts = Found(rate_hz, num_frames, num_channels, hashlib.sha256(data).hexdigest())
        return vars(facts) | {"gain_db": gain_db} if found == wanted else None


def prepare(config: Prepare) -> Corpus:
    """The prepared corpus, made as far as it is not there. ValueError for what a person can mend, TooManyRejects among it."""
    source = corpora.resolve(config.corpus)
    name = f"{source.name}-{config.sample_rate_hz}"
    job = Job(source.root, config.out or f"{HOME}/{name}", config.sample_rate_hz, config.audio_format)
    place, described = open_store(job.url), described_by(job, source)
    there = _claim(place, described)
    if MANIFEST in there:
        corpus = corpus_manifest.read(job.url)
        if all(path in there for path in corpus.table["path"].to_pylist()):
            print(f"{job.url}: prepared before")
            return corpus
    for row, text in zip(source.table["id"], source.table["labels"]):
        labels_of(text.as_py(), row.as_py())  # before anything is done
    rows = to_do(source.table, job, there)
    print(f"{source.location}: {rows.num_rows} files to prepare, {pc.sum(rows['is_there']).as_py()} there already")
    workers = 0 if config.workers is None and _num_bytes(source.table) < BYTES_IN_PROCESS else config.workers
    done = in_batches(FileWork(partial(prepare_batch, job), DONE, rejected, "prepare"), rows, workers)
    reasons = _quarantine(place, source.table, done)
    _hold_to_limit(config, job, rows.num_rows, reasons)
    about = described | {"files_checked": rows.num_rows, "rejects": reasons}
    return corpus_manifest.write(new_table(source.table, rows, done), job.url, name=name, about=about)


def described_by(job: Job, source: Corpus) -> dict[str, Any]:
    """What decides the bytes: the folder of one such corpus takes no file of another."""
    decoders = {"libsndfile": soundfile.__libsndfile_version__, "libsoxr": soxr.__libsoxr_version__}
    return {
        "format": "prepared",
        "recipe": {"sample_rate_hz": job.sample_rate_hz, "audio_format": job.audio_format, "quality": QUALITY},
        "parents": {"corpus": {"id": source.id, "name": source.name}, "code": versions.code_hash(ROOT, CODE)},
        "libraries": versions.libraries(("numpy", "soundfile", "soxr")) | decoders,
    }


def _claim(place: Store, described: dict[str, Any]) -> dict[str, int]:
    """Mark the folder as this corpus's own; what is in it. ValueError if that is anything but a part of it."""
    there = place.list()
    if there and DESCRIPTION not in there:
        raise ValueError(f"{place.url}: holds {next(iter(there))!r} and no prepared corpus; choose another --out")
    if not there:
        place.create(DESCRIPTION, json.dumps(described, indent=1).encode())
    found = dict(_leaves(corpus_manifest.description(place)))
    for key, value in _leaves(described):
        if found.get(key) != value:
            remedy = "use it as it is, choose another --out, or delete it"
            raise ValueError(f"{place.url}: was begun with another {key}, {found.get(key)} and not {value}; {remedy}")
    return there


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values within nested dicts, by dotted names."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}" if name else key)
    else:
        yield name, value


def to_do(table: pa.Table, job: Job, there: dict[str, int]) -> pa.Table:
    """TO_DO rows for those of a manifest, in their order."""
    names = new_names(table, job.audio_format)
    extra = {"name": names, "is_there": pc.is_in(names, value_set=pa.array(there, pa.string()))}
    return pa.table([extra[name] if name in extra else table[name] for name in TO_DO.names], schema=TO_DO)


def new_names(table: pa.Table, suffix: str) -> pa.Array:
    """Where each file goes: its path with the new suffix and nothing hidden; with a hash of the id where two would meet."""
    paths = table["path"].to_pandas()
    stems = paths.str.replace(r"(^|/)\.", r"\1_", regex=True).str.replace(r"(?<=[^/])\.[^./]*$", "", regex=True)
    meets = stems.duplicated(keep=False)
    pairs = zip(stems[meets], table["id"].to_pandas()[meets])
    stems[meets] = [f"{stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}" for stem, key in pairs]
    return pa.array(stems + f".{suffix}", pa.string())


def _num_bytes(table: pa.Table) -> int:
    """Of all samples as 16 bit."""
    return 2 * pc.sum(pc.multiply(table["num_frames"], table["num_channels"].cast(pa.int64()))).as_py()


def prepare_batch(job: Job, columns: dict[str, list]) -> pa.Table:
    """Prepare the files of TO_DO columns: DONE rows in the same order. StorageError if a store fails."""
    source, place = open_store(job.root), open_store(job.url)
    return pa.Table.from_pylist([_prepare(source, place, job, row) for row in records(**columns)], schema=DONE)


def _prepare(source: Store, place: Store, job: Job, row: dict[str, Any]) -> dict[str, Any]:
    """The DONE row of one file, read if it is there, else made."""
    there = job.found_in(place.get(row["name"]), row) if row["is_there"] else None
    if there:
        return there | {"reason": "", "detail": ""}
    made = look_at(source, row["path"], lambda data: {"data": prepared(data, job, row)})
    if made["reason"]:
        return made
    data = made.pop("data")
    place.put(row["name"], data)  # out here: what goes wrong with it is not the source's fault
    found = job.found_in(data, row)
    assert found, row
    return made | found


def prepared(data: bytes, job: Job, row: dict[str, Any]) -> bytes:
    """The new file, of a source file's bytes and its TO_DO row. Reject if they cannot serve."""
    check(data, Stated(row["sample_rate_hz"], row["num_frames"], sha256=row["sha256"]))
    audio = resampled(data, job.sample_rate_hz)
    peak = float(np.abs(audio).max())
    if peak < amplitude(SILENCE_DB):
        raise Reject("silent", f"peak {peak:.1e} at {job.sample_rate_hz} Hz: all its sound is above")
    return encode(audio, job.rate_hz(row["sample_rate_hz"]), job.audio_format, BITS.get(row["role"], 16))


def resampled(data: bytes, sample_rate_hz: int) -> np.ndarray:
    """A sound file at this rate, or at its own if that is lower: float32 `(frames, channels)`, without lag.

    As long as `Clip.num_samples` says. Decoded block by block: an hour of sound takes the memory of its result alone.
    """
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        if file.samplerate <= sample_rate_hz:
            return file.read(dtype="float32", always_2d=True)
        num_samples = -(-file.frames * sample_rate_hz // file.samplerate)
        stream = soxr.ResampleStream(file.samplerate, sample_rate_hz, file.channels, dtype="float32", quality=QUALITY)
        blocks = file.blocks(FRAMES_PER_BLOCK, dtype="float32", always_2d=True)
        parts = [stream.resample_chunk(block) for block in blocks]
        tail = np.zeros((file.samplerate // sample_rate_hz + 2, file.channels), np.float32)  # soxr rounds the length down
        parts.append(stream.resample_chunk(tail, last=True))
    return np.concatenate(parts)[:num_samples]


def encode(audio: np.ndarray, sample_rate_hz: int, audio_format: str, bits: int) -> bytes:
    """float32 `(frames, channels)` as WAV or FLAC, attenuated if it exceeds full scale; the gain then stands in its comment.

    Reads back as it is, to half a step of 2 ** (1 - bits). Reject for what the format cannot hold.
    """
    num_bytes, num_channels = audio.size * bits // 8, audio.shape[1]
    if audio_format == "wav" and num_bytes > MAX_WAV_BYTES:
        raise Reject("unsupported", f"{num_bytes} bytes are more than a WAV file holds: --audio-format flac takes them")
    if audio_format == "flac" and num_channels > MAX_FLAC_CHANNELS:
        raise Reject("unsupported", f"{num_channels} channels, FLAC holds {MAX_FLAC_CHANNELS}: --audio-format wav takes them")
    gain, scale = joint_gain([audio], limit=1.0), np.float32(2 ** (bits - 1))  # libsndfile reads 32768 steps as 1, writes 32767
    steps = np.clip(np.rint(audio * np.float32(gain) * scale), -scale, scale - 1)
    stored = steps.astype(np.int16) if bits == 16 else steps.astype(np.int32) << (32 - bits)
    buffer = io.BytesIO()
    options = {"format": audio_format.upper(), "subtype": f"PCM_{bits}"}
    with soundfile.SoundFile(buffer, "w", sample_rate_hz, num_channels, **options) as file:
        if gain != 1.0:
            file.comment = f"{GAIN_COMMENT}{round(20 * math.log10(gain), 6)}"
        file.write(stored)
    return buffer.getvalue()


def labels_of(text: str, row: str) -> dict[str, Any]:
    """The labels of a manifest row. ValueError naming the row if they are no JSON object."""
    try:
        return dict(json.loads(text)) if text else {}
    except (ValueError, TypeError) as error:
        raise ValueError(f"manifest, id {row!r}: labels are not a JSON object: {error}; mend the row") from None


def new_table(table: pa.Table, rows: pa.Table, done: pa.Table) -> pa.Table:
    """The manifest rows of the files that are done, of the source's rows in the same order."""
    sound = pc.equal(done["reason"], "")
    table, rows, done = table.filter(sound), rows.filter(sound), done.filter(sound)
    columns = (table["labels"], table["id"], table["sha256"], table["sample_rate_hz"], done["gain_db"])
    labels = [_with_lineage(*values) for values in zip(*(column.to_pylist() for column in columns))]
    changed = {"path": rows["name"], "labels": labels} | {name: done[name] for name in FOUND.names if name in SCHEMA.names}
    return pa.table([changed.get(name, table[name]) for name in SCHEMA.names], schema=SCHEMA)


def _with_lineage(text: str, row: str, sha256: str, sample_rate_hz: int, gain_db: float) -> str:
    labels = labels_of(text, row) | {"prepared_from": {"sha256": sha256, "sample_rate_hz": sample_rate_hz}}
    labels.pop("prepared_gain_db", None)  # of the source, if that was prepared too
    return json.dumps(labels | ({"prepared_gain_db": gain_db} if gain_db else {}), ensure_ascii=False)


def _quarantine(place: Store, table: pa.Table, done: pa.Table) -> dict[str, int]:
    """Name the files that could not serve; how many for each reason."""
    bad = pc.not_equal(done["reason"], "")
    found = table.select(["id", "path"]).filter(bad).to_pandas().join(done.select(["reason", "detail"]).filter(bad).to_pandas())
    place.put(QUARANTINE, found[QUARANTINE_COLUMNS].to_csv(index=False).encode())
    return found["reason"].value_counts().sort_index().to_dict()


def _hold_to_limit(config: Prepare, job: Job, num_files: int, reasons: dict[str, int]) -> None:
    rejected = sum(reasons.values())
    if num_files == rejected or rejected > config.max_reject_share * num_files:
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        raise TooManyRejects(
            f"{job.root}: {rejected} of {num_files} files cannot serve ({counts}), more than --max-reject-share"
            f" {config.max_reject_share}. {job.url}/{QUARANTINE} names each: mend them, or raise the limit"
        )


def main(argv: list[str]) -> None:
    started = time.monotonic()
    corpus = prepare(tyro.cli(Prepare, args=argv, prog="pipelines.prepare"))
    corpora.show(corpus)
    rejects = corpus_manifest.description(open_store(corpus.location)).get("rejects", {})
    for reason, count in rejects.items():
        print(f"  rejected: {count} {reason}, see {corpus.location}/{QUARANTINE}")
    attenuated = pc.sum(pc.match_substring(corpus.table["labels"], '"prepared_gain_db"')).as_py()
    print(f"  attenuated: {attenuated} files that would exceed full scale (prepared_gain_db in labels)")
    print(f"  where: {corpus.location}, {time.monotonic() - started:.0f} s; CORPUS={corpus.location} simulates from it")


if __name__ == "__main__":
    run(main)
