"""A small corpus of synthetic speech with the true times of its words: two speakers, five sentences each, said by eSpeak NG."""

import hashlib
import json
from functools import partial
from pathlib import Path

import pyarrow as pa
import soundfile

from infra.corpus_schema import SCHEMA
from simulation.bank import Bank
from simulation.clips import read
from simulation.starter.texts import PARALLEL
from simulation.starter.voices import SAMPLE_RATE_HZ, SPEAKERS, say

VOICES = SPEAKERS["train"][:2]
SENTENCES = PARALLEL[:5]


def write(root: Path) -> pa.Table:
    """Files below the root and their manifest rows."""
    rows = []
    for voice in VOICES:
        for number, text in enumerate(SENTENCES):
            said = say(voice, text)
            path = root / f"speech/{voice.name}/{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.3 * said.audio[0] / abs(said.audio).max(), SAMPLE_RATE_HZ, subtype="PCM_16")
            row = {"id": f"{voice.name}-{number}", "path": str(path.relative_to(root)), "role": "speech", "text": text}
            row |= {
                "speaker": voice.name,
                "group": voice.name,
                "words": json.dumps(said.words),
                "licence": "test",
                "split": "train",
            }
            row |= {"sample_rate_hz": SAMPLE_RATE_HZ, "num_frames": said.audio.shape[1], "num_channels": 1}
            rows.append(
                row | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "label": "", "caption": "", "labels": ""}
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def opened(root: Path, table: pa.Table, sample_rate_hz: int = 16000):
    """(bank, load) at one rate."""
    return Bank(table, sample_rate_hz), partial(read, open_file=lambda path: str(root / path), sample_rate_hz=sample_rate_hz)


def changed(table: pa.Table, name: str, values: list) -> pa.Table:
    """The table with another column of this name."""
    return table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))
