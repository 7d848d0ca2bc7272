"""Fill a corpus's word times: `python -m pipelines.align --corpus ../corpus --out data/corpora/aligned`.

By forced alignment of each transcript with its audio, or from TextGrid and CTM files (--times). A new manifest is written, the
audio stays where it is. Files whose alignment fails a check keep their row, without word times, and get one in quarantine.csv.
"""

import io
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import soundfile
import tyro

from infra import corpus_manifest
from infra.command_line import TooManyRejects, run
from infra.corpus_manifest import QUARANTINE, Corpus
from infra.storage import Store, open_store
from pipelines import corpus as corpora
from pipelines import word_times
from pipelines.file_batches import FileWork, in_batches
from pipelines.forced_alignment import Aligner, Limits
from pipelines.formats.tree import Tree
from pipelines.word_times import Refused

FILES_PER_TASK = 32
FEW_FILES = 64  # aligned in this process before Ray would have started
FOUND = pa.schema([("words", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True)
class Align:
    """Find when each word is said, in the speech of a corpus that has transcripts."""

    corpus: str = ""
    """A manifest, a folder or an s3:// prefix."""
    out: str = ""
    """Folder or s3:// prefix for the new manifest; data/corpora/<name>-aligned if not given."""
    times: str = ""
    """Folder or s3:// prefix of TextGrid or CTM files to take the times from instead."""
    again: bool = False
    """Align files that have word times already, too."""
    max_reject_share: float = 0.3
    """Stop with exit code 3 if more than this share of the files is refused: the texts are not what is said, or not English."""
    limits: Limits = field(default_factory=Limits)
    workers: int | None = None
    """CPUs of this machine to use; 0 works in this process, without Ray. If not given, all, or 0 for a few files."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(f"--max-reject-share is {self.max_reject_share}: give a number from 0 to 1")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"--workers is {self.workers}: give 0 or more")


def align(config: Align) -> Corpus:
    """The corpus with word times, as written. ValueError for what a person can mend, TooManyRejects."""
    corpus = corpora.resolve(config.corpus)
    place = config.out or f"{corpora.HOME}/{corpus.name}-aligned"
    if open_store(place).url == open_store(corpus.location).url:
        raise ValueError(f"{place}: holds the corpus itself; choose another --out for the one with word times")
    rows = wanted(corpus.table, config.again)
    speech = corpus.table.take(rows)
    print(f"{corpus.location}: {len(rows)} transcripts to align")
    found = from_files(config.times, speech) if config.times else align_all(corpus.root, speech, config)
    refused = pc.not_equal(found["reason"], "").to_numpy()
    rejects = pd.concat([speech.select(["id", "path"]).to_pandas(), found.drop_columns("words").to_pandas()], axis=1)[refused]
    open_store(place).put(QUARANTINE, rejects.to_csv(index=False).encode())
    reasons = rejects["reason"].value_counts().sort_index().to_dict()
    if refused.sum() > config.max_reject_share * len(rows):
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        raise TooManyRejects(
            f"{refused.sum()} of {len(rows)} files were refused ({counts}), more than --max-reject-share"
            f" {config.max_reject_share}. {place}/{QUARANTINE} names each: mend the texts, or raise the limit"
        )
    about = {"format": "aligned", "aligned_from": corpus.id, "times": config.times or "forced alignment", "rejects": reasons}
    filled = with_words(corpus.table, rows, found["words"])
    _report(speech, found, reasons, place)
    return corpus_manifest.write(filled, place, root=corpus.root, name=corpus.name, about=about)


def wanted(table: pa.Table, again: bool) -> pa.Array:
    """Row numbers of speech with a transcript and without word times. ValueError if there are none."""
    spoken = pc.and_(pc.equal(table["role"], "speech"), pc.not_equal(table["text"], ""))
    rows = pc.indices_nonzero(spoken if again else pc.and_(spoken, pc.equal(table["words"], "")))
    if not len(rows):
        done = pc.sum(pc.not_equal(table["words"], "")).as_py()
        raise ValueError(
            f"nothing to align: {done} files have word times, and no other speech has a transcript (column `text`);"
            " give transcripts, or --again to do all anew"
        )
    return rows


def with_words(table: pa.Table, rows: pa.Array, words: pa.ChunkedArray) -> pa.Table:
    """The table with these cells in column `words` of these rows; those that found none are emptied."""
    column = table["words"].to_numpy(zero_copy_only=False).copy()
    column[rows.to_numpy()] = words.to_numpy(zero_copy_only=False)
    return table.set_column(table.column_names.index("words"), "words", pa.array(column, pa.string()))


def from_files(url: str, speech: pa.Table) -> pa.Table:
    """FOUND rows from TextGrid and CTM files; an utterance is found by the file's id or its name without the ending."""
    known = word_times.read(Tree(open_store(url)))
    rows = []
    columns = (speech[name].to_pylist() for name in ("id", "path", "text", "num_frames", "sample_rate_hz"))
    for name, path, text, num_frames, sample_rate_hz in zip(*columns):
        try:
            words = known.get(name) or known.get(path.rpartition("/")[2].rpartition(".")[0])
            if not words:
                raise Refused("no_times", f"neither {name!r} nor the file's name")
            rows.append(_row(words=word_times.encode(word_times.fitted(words, text, num_frames / sample_rate_hz))))
        except Refused as refused:
            rows.append(_row(refused.reason, refused.detail))
    return pa.Table.from_pylist(rows, schema=FOUND)


def align_all(root: str, speech: pa.Table, config: Align) -> pa.Table:
    """FOUND rows in the order of the rows of speech, with a progress bar. StorageError if the store fails."""
    columns = speech.select(["path", "text"])
    here = config.workers is None and len(speech) <= FEW_FILES
    work = FileWork(partial(align_batch, root, config.limits), FOUND, _row, "align", FILES_PER_TASK)
    return in_batches(work, columns, 0 if here else config.workers)


def align_batch(root: str, limits: Limits, columns: dict[str, list]) -> pa.Table:
    """FOUND rows of files below the root with these columns `path` and `text`."""
    store, aligner = open_store(root), Aligner(limits)
    rows = [_align_file(store, aligner, path, text) for path, text in zip(columns["path"], columns["text"])]
    return pa.Table.from_pylist(rows, schema=FOUND)


def _align_file(store: Store, aligner: Aligner, path: str, text: str) -> dict[str, str]:
    try:
        frames, sample_rate_hz = soundfile.read(io.BytesIO(store.get(path)), dtype="float32", always_2d=True)
        return _row(words=word_times.encode(aligner.align(_mono(frames), sample_rate_hz, text).words))
    except Refused as refused:
        return _row(refused.reason, refused.detail)
    except (FileNotFoundError, soundfile.LibsndfileError) as error:
        return _row("unreadable", str(error))


def _mono(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1))


def _row(reason: str = "", detail: str = "", words: str = "") -> dict[str, str]:
    assert not reason or reason in word_times.REASONS, reason
    return {"words": words, "reason": reason, "detail": detail}


def _report(speech: pa.Table, found: pa.Table, reasons: dict[str, int], place: str) -> None:
    sound = pc.equal(found["reason"], "").to_numpy()
    hours = (speech["num_frames"].to_numpy() / speech["sample_rate_hz"].to_numpy() / 3600)[sound].sum()
    print(f"{sound.sum()} of {len(sound)} files aligned, {hours:.2f} hours")
    for reason, count in reasons.items():
        print(f"  refused: {count} {reason} ({word_times.REASONS[reason]}), see {place}/{QUARANTINE}")
    print(f"  where: {place}")


def main(argv: list[str]) -> int:
    align(tyro.cli(Align, args=argv, prog="pipelines.align"))
    return 0


if __name__ == "__main__":
    run(main)
