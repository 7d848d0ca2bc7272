"""From an item of a test set to what goes into a shard: read, checked, mixed down, resampled, encoded, described."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from infra.shards import encode_flac, encode_json
from infra.storage import Store
from pipelines.audio_files import FileAudio
from pipelines.audio_streams import BadAudio
from pipelines.rendering import Rendered
from pipelines.testsets.items import ALIGNED, MISSING, Item, Sound, TestSet
from simulation.signals.levels import joint_gain, power, round_gain, to_int16

LEAST_RATE = 0.9  # of the sample rate asked for: a file of a lower one lacks a part of the spectrum
MAX_NAME = 70
REASONS = {"truncated": "truncated", "silent": "silent", "not finite": "not_finite", "zero length": "empty"}


class Refused(ValueError):
    """An item that cannot serve: path, reason, detail."""

    def __init__(self, path: str, reason: str, detail: str):
        super().__init__(f"{path}: {reason}: {detail}")
        self.path, self.reason, self.detail = path, reason, detail


@dataclass(frozen=True)
class Packing:
    """Where the files are, and what they become."""

    store: Store
    prefix: str
    sample_rate_hz: int
    licence: str


def key_of(prefix: str, name: str) -> str:
    """The key of an item: its name as far as a key may hold it, a hash behind where it may not."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if plain != name or len(plain) > MAX_NAME:
        plain = f"{plain[: MAX_NAME - 10]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{prefix}-{plain}"


def pack(packing: Packing, test_set: TestSet, item: Item, index: int) -> Rendered:
    """The item's members and manifest row. Refused says why it cannot serve."""
    if item.refused:
        path = next((sound.path for sound in item.sounds.values()), "")
        raise Refused(path, *item.refused)
    waves = {role: _wave(packing, sound) for role, sound in item.sounds.items()}
    measured = {}
    if item.snr_db is not None:
        waves, measured = _mixed(waves, item)
    if test_set.task in ALIGNED:
        _check_lengths(waves, item)
    gain = np.float32(joint_gain(list(waves.values()), limit=1.0))  # a resampled peak may pass full scale
    audio = {role: to_int16(waves[role] * gain)[np.newaxis] for role in sorted(waves, key=_order)}
    return _described(packing, test_set, item, index, audio, measured | {"gain": round_gain(float(gain))})


def _order(role: str) -> tuple[int, str]:
    return ("input", "target", "reference").index(role) if role in ("input", "target", "reference") else 1, role


def _wave(packing: Packing, sound: Sound) -> np.ndarray:
    """Mono float32 `(samples,)` at the rate asked for."""
    try:
        audio = FileAudio.of(Path(packing.store.local_path(sound.path)))
        audio.check()
    except FileNotFoundError as error:
        raise Refused(sound.path, MISSING, str(error)) from None
    except BadAudio as error:
        reason = next((reason for words, reason in REASONS.items() if words in str(error)), "undecodable")
        raise Refused(sound.path, reason, str(error)) from None
    rate_hz, wanted_hz = audio.sample_rate_hz, packing.sample_rate_hz
    if rate_hz < LEAST_RATE * wanted_hz:
        raise Refused(sound.path, "rate", f"{rate_hz} Hz, {wanted_hz} Hz are asked for")
    mono = np.concatenate([piece.mean(axis=0, dtype=np.float32) for piece in audio.pieces()])
    mono = _stretch(mono, sound, rate_hz)
    return mono if rate_hz == wanted_hz else soxr.resample(mono, rate_hz, wanted_hz, quality="HQ")


def _stretch(mono: np.ndarray, sound: Sound, rate_hz: int) -> np.ndarray:
    if not sound.duration_s:
        return mono[round(sound.start_s * rate_hz) :]
    length = min(len(mono), round(sound.duration_s * rate_hz))
    start = (len(mono) - length) // 2 if sound.start_s < 0 else round(sound.start_s * rate_hz)
    return mono[start : start + length]


def _mixed(waves: Mapping[str, np.ndarray], item: Item) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Target and noise as target and input; mean power over all of the target's length says how loud the noise is."""
    target = waves["target"]
    noise = waves["noise"][: len(target)]
    noise = np.pad(noise, (0, len(target) - len(noise)))
    below = power(noise)
    if not below:
        raise Refused(item.sounds["noise"].path, "silent", "no noise in the target's time")
    scale = round_gain(math.sqrt(power(target) / below / 10 ** (item.snr_db / 10)))
    rest = {role: wave for role, wave in waves.items() if role != "noise"}
    return rest | {"input": target + noise * np.float32(scale)}, {"snr_db": item.snr_db}


def _check_lengths(waves: Mapping[str, np.ndarray], item: Item) -> None:
    lengths = {role: len(wave) for role, wave in waves.items() if role != "reference"}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{role} {length}" for role, length in lengths.items())
        raise Refused(next(iter(item.sounds.values())).path, "lengths", f"samples differ: {said}")


def _described(
    packing: Packing, test_set: TestSet, item: Item, index: int, audio: dict[str, np.ndarray], measured: dict[str, float]
) -> Rendered:
    key, rate_hz = key_of(packing.prefix, item.name), packing.sample_rate_hz
    members = {f"{role}.flac": encode_flac(wave, rate_hz) for role, wave in audio.items()}
    record = {
        "key": key,
        "task": test_set.task,
        "sample_rate_hz": rate_hz,
        "requested": dict(item.labels),
        "measured": measured,
        "texts": dict(item.texts),
        "test_set": {"name": test_set.name, "condition": test_set.condition, "item": item.name},
        "mixture_parts": [],
        "scene": {"files": {role: _source(packing, sound) for role, sound in item.sounds.items()}},
    }
    members["json"] = encode_json(record)
    row: dict[str, Any] = {
        "key": key,
        "index": index,
        "task": test_set.task,
        "sample_rate_hz": rate_hz,
        "num_samples": audio["target" if "target" in audio else "input"].shape[1],
        "num_channels": 1,
        "roles": list(audio),
        "role_num_samples": [wave.shape[1] for wave in audio.values()],
        "sha256": _digest(members),
        "sources": [item.sounds[role].path for role in sorted(item.sounds)],
        "licences": [packing.licence] * len(item.sounds),
        "cluster": item.speaker or item.name,
        "domain": test_set.domain,
        **{f"requested_{name}": value for name, value in item.labels.items()},
        **{f"measured_{name}": value for name, value in measured.items()},
        **{f"text_{name}": text for name, text in item.texts.items()},
        **{f"slice_{name}": text for name, text in item.slices.items()},
    }
    return Rendered(key, members, row)


def _source(packing: Packing, sound: Sound) -> dict[str, str]:
    with open(packing.store.local_path(sound.path), "rb") as file:
        return {"path": sound.path, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _digest(members: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for extension, data in members.items():
        digest.update(f"{extension} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()
