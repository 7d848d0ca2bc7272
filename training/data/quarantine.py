"""Clips that cannot serve: why, a row for each in the run's folder, and the end of patience."""

import collections
import json
from pathlib import Path

from infra.command_line import TooManyRejects

REASONS = {
    "missing": "no such file, or no such member in its shard",
    "changed": "its bytes are not those of the manifest: truncated, damaged or made again",
    "undecodable": "the decoder refuses it",
    "wrong_length": "it holds another number of frames than its manifest says",
    "wrong_rate": "its sample rate is not the manifest's",
    "not_finite": "NaN, infinity or values far beyond full scale",
    "silent": "nothing above -60 dBFS in it",
    "wrong_tokens": "its codes are not those of its codec",
    "wrong_features": "its kept features are not as long as its audio",
    "too_long": "more positions than the model has, and a target that cannot be cut",
    "missing_condition": "no text, reference or input, which its task needs",
    "bad_text": "a text that the text encoder does not read",
    "other_sources": "another number of sources than the task has targets",
}


class Rejected(Exception):
    """A clip that cannot serve, or a shard with all its clips (`key` is empty then): a reason of REASONS and what was found."""

    def __init__(self, reason: str, detail: str, *, file: str, key: str = ""):
        assert reason in REASONS, reason
        super().__init__(f"{file}: {reason}: {detail}")
        self.reason, self.detail, self.file, self.key = reason, detail, file, key


class Quarantine:
    """The rejects of one rank, each written once as a line of JSON (key, file, reason, detail); without a path only counted."""

    def __init__(self, num_clips: int, max_share: float, path: Path | None = None):
        self.num_clips, self.max_share, self.path = num_clips, max_share, path
        self.reasons: collections.Counter[str] = collections.Counter()  # of distinct clips
        self._clips: set[tuple[str, int]] = set()
        self._rows = set(_rows(path)) if path and path.exists() else set()

    def add(self, source: str, clip: int, rejected: Rejected) -> None:
        """Count clip number `clip` of a source, once. TooManyRejects above the share of all clips."""
        row = (rejected.file, rejected.key)
        if row not in self._rows:
            self._rows.add(row)
            self._write(rejected)
        if (source, clip) in self._clips:  # met again in a later epoch
            return
        self._clips.add((source, clip))
        self.reasons[rejected.reason] += 1
        if len(self._clips) > self.max_share * self.num_clips:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))
            see = f", see {self.path}," if self.path else ""
            raise TooManyRejects(
                f"{len(self._clips)} of {self.num_clips} clips cannot serve ({counts}), more than the share of"
                f" {self.max_share} that is allowed; the last is {rejected}. Mend or remove them{see} or raise the option"
                " max-reject-share (--clips. of a codec, --examples. of a language model)"
            )

    def _write(self, rejected: Rejected) -> None:
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            row = {"key": rejected.key, "file": rejected.file, "reason": rejected.reason, "detail": rejected.detail}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _rows(path: Path) -> list[tuple[str, str]]:
    """File and key of each row. A last line that a kill has cut is ended, so that it spoils no other."""
    rows, text = [], path.read_text(encoding="utf-8", errors="replace")
    if text and not text.endswith("\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    for line in text.splitlines():
        try:
            row = json.loads(line)
            rows.append((row["file"], row["key"]))
        except (ValueError, KeyError, TypeError):
            continue
    return rows
