"""One text in several voices: which rows of a corpus share one, and one speaker's reading in the time of another's."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulation.bank import Bank
from simulation.voice_conversion.disguise import fitted, output_frames_s, say, voiced_track
from simulation.voice_conversion.pitch import PERIOD_S
from simulation.voice_conversion.psola import Spectrum
from simulation.voice_conversion.timbre import timbre
from simulation.voice_conversion.time_warp import path

HOP_S = 0.02  # of the alignment
LONGEST_S = 20.0  # of a reading that is read whole to be aligned
UNCHANGED = Spectrum((0.0, 1e6), (0.0, 1e6))

_Key = tuple[int, ...]
_kept: dict[_Key, tuple[pa.Table, "ParallelTexts"]] = {}


@dataclass(frozen=True)
class ParallelTexts:
    """Rows of the bank's table whose text several speakers say, sorted by text: text t has rows[starts[t]:starts[t + 1]].

    `groups` names each row's speaker by its number in the bank; `targets` are places in `rows` whose speaker has another file.
    """

    rows: np.ndarray
    groups: np.ndarray
    starts: np.ndarray
    targets: np.ndarray

    def pair(self, generator: np.random.Generator) -> tuple[int, int, int]:
        """(row, its speaker's group, the row of another speaker who says the same), drawn evenly among the targets."""
        place = int(self.targets[int(generator.integers(len(self.targets)))])
        text = int(np.searchsorted(self.starts, place, side="right")) - 1
        said = slice(self.starts[text], self.starts[text + 1])
        others = self.rows[said][self.groups[said] != self.groups[place]]
        return int(self.rows[place]), int(self.groups[place]), int(others[int(generator.integers(len(others)))])


def parallel_texts(bank: Bank) -> ParallelTexts:
    """The bank's parallel texts, found once in a process however often the bank is unpickled: 1 s for a million rows.

    A worker that gets the bank from shared memory sees the same buffers each time; the table is kept, so they stay its own.
    """
    key = (bank.sample_rate_hz, len(bank.members["speech"].rows), *_addresses(bank.table))
    if key not in _kept:
        _kept.clear()
        _kept[key] = (bank.table, _find(bank))
    return _kept[key][1]


def _addresses(table: pa.Table) -> _Key:
    """Where the texts and speakers lie in memory."""
    chunks = (chunk for name in ("text", "speaker") for chunk in table[name].chunks)
    return tuple(part for chunk in chunks for part in (len(chunk), chunk.offset, *(b.address for b in chunk.buffers() if b)))


def _find(bank: Bank) -> ParallelTexts:
    members = bank.members["speech"]
    groups = np.repeat(np.arange(members.num_groups), members.sizes())
    table = bank.table.select(["text", "num_frames", "sample_rate_hz"]).take(pa.array(members.rows))
    usable = table["num_frames"].to_numpy() <= LONGEST_S * table["sample_rate_hz"].to_numpy()
    codes = _codes(table["text"])
    usable &= (members.names != "")[groups] & (codes >= 0)
    usable[usable] = np.bincount(codes[usable])[codes[usable]] > 1  # most texts are said once: the rest is for few
    rows, groups, codes = members.rows[usable], groups[usable], codes[usable]
    order = np.lexsort((rows, groups, codes))
    rows, groups, codes = rows[order], groups[order], codes[order]
    new_text = np.diff(codes, prepend=-1) != 0
    new_pair = new_text | (np.diff(groups, prepend=-1) != 0)
    texts = np.cumsum(new_text) - 1
    kept = (np.bincount(texts[new_pair]) > 1)[texts]
    rows, groups, texts = rows[kept], groups[kept], texts[kept]
    starts = np.flatnonzero(np.diff(texts, prepend=-1, append=-1))
    return ParallelTexts(rows, groups, starts, np.flatnonzero(members.sizes()[groups] > 1))


def _codes(texts: pa.ChunkedArray) -> np.ndarray:
    """A number for each text, case and punctuation aside, -1 for none: `(rows,)`."""
    plain = pc.replace_substring_regex(pc.utf8_lower(texts), r"[^\pL\pN']+", " ")
    encoded = pc.utf8_trim_whitespace(plain).combine_chunks().dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.index(encoded.dictionary, "").as_py()
    return np.where(codes == empty, -1, codes)


def in_time(reading: np.ndarray, leader: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """`reading`, its voice and pitch kept, in the time of `leader`, who says all of it or a part: `(1, samples)` like `leader`.

    Unvoiced if the reading has no voice.
    """
    found = voiced_track(reading, sample_rate_hz)
    said, heard = (timbre(audio, sample_rate_hz, HOP_S) for audio in (reading, leader))
    frames = path(heard, said)
    frames = np.append(frames, frames[-1] + np.arange(1, 4))
    source_s = np.interp(output_frames_s(leader.shape[1], sample_rate_hz), np.arange(len(frames)) * HOP_S, frames * HOP_S)
    f0_hz = np.round(np.interp(source_s, np.arange(len(found.f0_hz)) * PERIOD_S, found.filled()), 2)
    audio = say(reading, found, UNCHANGED, sample_rate_hz, f0_hz=f0_hz, source_s=source_s)
    return fitted(audio, leader.shape[1])
