"""One example of a token shard: decoded, cut, ready for the model.

Shapes: K layers, F frames (or groups of frames), T samples, C conditions (text, reference, input).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from infra.shards import ShardError, decode_member
from lm.audio_encoder import RATE_HZ, SAMPLES_PER_FRAME
from lm.config import TokenConfig
from lm.layout import num_slots
from lm.tasks import CONDITIONS, task
from training.data.cursor import Parts
from training.data.quarantine import Rejected
from training.keys import generator

TIMED_REFERENCES = ("aec",)  # of the same time as the input: they are cut together


@dataclass(frozen=True)
class Encoded:
    """An example as it lies in its shard."""

    row: dict[str, Any]  # of the source's table
    members: dict[str, bytes]
    where: str


@dataclass(frozen=True, eq=False)
class TokenExample:
    """What the model learns from."""

    key: str
    task: str
    text: str | None
    reference: np.ndarray | None  # (T,) int16 at 16 kHz
    input: np.ndarray | None
    acoustic_KF: np.ndarray  # int64; of several targets one after the other
    semantic_KF: np.ndarray
    reference_features: np.ndarray | None  # (M, D) float16: what the model's audio encoder makes of it, where that is kept
    input_features: np.ndarray | None
    draws_C: np.ndarray  # float32 uniforms in [0, 1), keyed by the example and its epoch: for condition dropout
    input_codes: np.ndarray | None = None  # (F, C) int64: acoustic and semantic codes of the input, for a model that copies

    @property
    def num_positions(self) -> int:
        """Of its row in the model, the tokens of a text counted as if each letter were one."""
        num_layers = max(len(self.acoustic_KF), len(self.semantic_KF))
        waves = [len(wave) for wave in (self.reference, self.input) if wave is not None]
        return num_prefix(self.text, waves) + num_slots(self.acoustic_KF.shape[1], num_layers)


@dataclass(frozen=True)
class Cutting:
    """What every example is cut to."""

    tokens: TokenConfig
    max_positions: int
    crop_s: float
    reference_s: float

    @property
    def samples_per_frame(self) -> float:
        """At the rate of the conditions."""
        return RATE_HZ / self.tokens.frame_rate_hz

    def most_frames(self, name: str, text: str | None, num_reference_samples: int) -> int:
        """Of each target of an aligned task with these conditions (samples at their 16 kHz); may be below 1.

        The input is as long and lies in the same row, and so does a reference of the same time.
        """
        timed = name in TIMED_REFERENCES
        reference = min(num_reference_samples, round(self.reference_s * RATE_HZ))
        waves = [0, 0] if timed else [0, reference] if reference else [0]
        free = (
            self.max_positions - num_prefix(text, waves) - num_slots(0, self.tokens.num_layers) - 2
        )  # 2: waves are rounded up
        per_frame = 2 * task(name).num_targets + (1 + timed) * self.samples_per_frame / SAMPLES_PER_FRAME
        return min(int(free / per_frame), int(self.crop_s * self.tokens.frame_rate_hz))


def num_prefix(text: str | None, num_samples: list[int]) -> int:
    """Positions before the target, at most: the task, each condition with its mark, a text as letters and as tokens."""
    letters = 1 + 2 * len(text.encode()) + 2 if text else 0
    return 1 + letters + sum(1 - -count // SAMPLES_PER_FRAME for count in num_samples)


def decode(cutting: Cutting, found: Encoded, parts: Parts) -> TokenExample:
    """The example in an epoch, whoever decodes it. Rejected for what cannot serve."""
    row, draws = found.row, generator(*parts, "crop")
    targets = [_codes(found, role, cutting.tokens) for role in row["target_roles"]]
    durations_F = targets[0][0][0] // cutting.tokens.codebook_size + 1
    num_frames = int(durations_F.sum())
    wave = _wave(found, "input") if row["input_num_samples"] else None
    reference = _wave(found, "reference") if row["reference_num_samples"] else None
    heard = _input_codes(found, cutting.tokens) if wave is not None and row.get("has_input_codes") else None
    features = {name: _features(found, name, part) for name, part in (("input", wave), ("reference", reference))}
    if task(row["task"]).length == "aligned":
        _check_lengths(found, targets, num_frames, cutting.tokens)
        most = cutting.most_frames(row["task"], row["text"], 0 if reference is None else len(reference))
        if num_frames > most:
            groups, begin, end = _stretch(durations_F, most, draws)
            samples = slice(round(begin * cutting.samples_per_frame), round(end * cutting.samples_per_frame))
            targets = [tuple(codes_KF[:, groups] for codes_KF in target) for target in targets]
            wave, features["input"] = _part(wave, features["input"], samples)
            heard = None if heard is None else heard[groups]
            if row["task"] in TIMED_REFERENCES:
                reference, features["reference"] = _part(reference, features["reference"], samples)
    if reference is not None and row["task"] not in TIMED_REFERENCES:
        most = round(cutting.reference_s * RATE_HZ)
        start = int(draws.integers(0, max(len(reference) - most, 0) + 1))
        start -= start % SAMPLES_PER_FRAME if features["reference"] is not None else 0
        reference, features["reference"] = _part(reference, features["reference"], slice(start, start + most))
    acoustic_KF, semantic_KF = (np.concatenate(streams, axis=1).astype(np.int64) for streams in zip(*targets))
    dropout_C = generator(*parts, "draws").random(len(CONDITIONS), dtype=np.float32)
    kept = features["reference"], features["input"]
    return TokenExample(
        row["key"], row["task"], row["text"], reference, wave, acoustic_KF, semantic_KF, *kept, dropout_C, heard
    )


def _part(wave: np.ndarray, features: np.ndarray | None, samples: slice) -> tuple[np.ndarray, np.ndarray | None]:
    """A stretch of a wave and its features; it begins at a frame where there are any."""
    cut = wave[samples]
    if features is None:
        return cut, None
    first = samples.start // SAMPLES_PER_FRAME
    return cut, features[first : first - -len(cut) // SAMPLES_PER_FRAME]


def _stretch(durations_F: np.ndarray, most: int, draws: np.random.Generator) -> tuple[slice, int, int]:
    """As many groups as are within `most` frames from a drawn one, and the frames that they begin and end at."""
    ends_F = np.cumsum(durations_F)
    first = int(np.searchsorted(ends_F, draws.integers(0, ends_F[-1] - most + 1), "right"))  # the group that the frame is in
    begin = int(ends_F[first] - durations_F[first])
    past = max(int(np.searchsorted(ends_F, begin + most, "right")), first + 1)
    return slice(first, past), begin, int(ends_F[past - 1])


def _input_codes(found: Encoded, tokens: TokenConfig) -> np.ndarray:
    """(F, C) of a codec of constant rate. Rejected unless they are as long as the input."""
    codes_FC = np.concatenate(_codes(found, "input", tokens)).T.astype(np.int64)
    wanted = -(-found.row["input_num_samples"] * tokens.frame_rate_hz // found.row["sample_rate_hz"])
    if len(codes_FC) != wanted:
        raise _rejected(found, "wrong_length", f"tokens of {len(codes_FC)} frames, an input of {wanted:g}")
    return codes_FC


def _codes(found: Encoded, role: str, tokens: TokenConfig) -> tuple[np.ndarray, np.ndarray]:
    """Acoustic and semantic codes of one role. Rejected unless the model's codec can have made them."""
    acoustic_KF, semantic_KF = (_member(found, f"{role}_{stream}.npy") for stream in ("acoustic", "semantic"))
    num_frames = acoustic_KF.shape[-1]
    shapes = (tokens.num_acoustic, num_frames), (tokens.num_semantic, num_frames)
    if (acoustic_KF.shape, semantic_KF.shape) != shapes or not num_frames:
        raise _rejected(found, "wrong_tokens", f"{role}: codes {acoustic_KF.shape}, {semantic_KF.shape}; its codec's: {shapes}")
    both = np.concatenate([acoustic_KF, semantic_KF])
    durations = both // tokens.codebook_size
    if both.min() < 0 or both.max() >= tokens.vocab_size or (durations != durations[0]).any():
        raise _rejected(found, "wrong_tokens", f"{role}: codes {both.min()} to {both.max()}, {tokens.vocab_size} are known")
    return acoustic_KF, semantic_KF


def _wave(found: Encoded, role: str) -> np.ndarray:
    """(T,) int16 at the rate of the encoders. Rejected unless it is what the manifest says."""
    audio, sample_rate_hz = _member(found, f"{role}.flac")
    if sample_rate_hz != found.row["sample_rate_hz"]:
        raise _rejected(found, "wrong_rate", f"{role}: {sample_rate_hz} Hz")
    if audio.shape[1] != found.row[f"{role}_num_samples"]:
        raise _rejected(found, "wrong_length", f"{role}: {audio.shape[1]} samples")
    return mono_16k(audio, sample_rate_hz)


def mono_16k(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """(T,) int16 as encoders hear it, of (channels, samples)."""
    if len(audio) > 1:
        audio = audio.mean(axis=0, keepdims=True, dtype=np.float32).round().astype(np.int16)
    if sample_rate_hz != RATE_HZ:
        return soxr.resample(audio[0], sample_rate_hz, RATE_HZ, quality="HQ")
    return audio[0]


def _features(found: Encoded, role: str, wave: np.ndarray | None) -> np.ndarray | None:
    """(M, D) float16, if its dataset keeps those of the model's encoder. Rejected unless they are as long as the audio."""
    if wave is None or not found.row.get("has_features"):
        return None
    features = _member(found, f"{role}_features.npy")
    if features.ndim != 2 or len(features) != -(-len(wave) // SAMPLES_PER_FRAME):
        raise _rejected(found, "wrong_features", f"{role}: features {features.shape} of {len(wave)} samples")
    return features


def _check_lengths(found: Encoded, targets: list[tuple[np.ndarray, ...]], num_frames: int, tokens: TokenConfig) -> None:
    """Rejected unless every target is as long as the input."""
    row = found.row
    wanted = -(-row["input_num_samples"] * tokens.frame_rate_hz // row["sample_rate_hz"])
    lengths = [int((target[0][0] // tokens.codebook_size + 1).sum()) for target in targets]
    if lengths != [wanted] * len(targets):
        raise _rejected(found, "wrong_length", f"targets of {lengths} frames, an input of {wanted:g}")


def _member(found: Encoded, extension: str) -> Any:
    if extension not in found.members:
        raise _rejected(found, "missing", f"the shard has no {extension} of it")
    try:
        return decode_member(extension, found.members[extension], found.where)
    except ShardError as error:
        raise _rejected(found, "undecodable", str(error)) from None


def _rejected(found: Encoded, reason: str, detail: str) -> Rejected:
    return Rejected(reason, detail, file=found.where, key=found.row["key"])
