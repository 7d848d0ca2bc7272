"""From a shard of a task's audio to a shard of tokens. No Ray in here.

A token shard has the name and the keys of the audio shard it comes from. Members: `<key>.<role>_acoustic.npy` and
`<key>.<role>_semantic.npy` (int16, layers x frames) for each target role and, where asked for, for `input`; the conditions
(`input`, `reference`) as the FLAC that they were; where asked for, `<key>.<condition>_features.npy` (float16,
frames x width) of a frozen encoder; `<key>.json`.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codec.model import Codec
from infra.dataset import ShardRows
from infra.shards import ShardError, build, decode_member, encode_json, encode_npy, read_raw
from lm.audio_encoder import AudioEncoder
from training.data.token_examples import mono_16k

CONDITIONS = ("input", "reference")
SOURCE = re.compile(r"source\d+")
KEPT = ("key", "index", "task", "sample_rate_hz", "num_samples", "num_channels", "sources", "licences")
STREAMS = ("acoustic", "semantic")


@dataclass(frozen=True)
class Recipe:
    """What the bytes of a token dataset depend on, but for the audio, the codec and the code."""

    threshold: float | None  # of a codec with a dynamic rate; None is the codec's own
    batch_s: float
    features: str = ""  # the audio encoder whose features of the conditions are kept too, none if empty
    input_codes: bool = False  # the inputs' tokens are kept, too


@dataclass(frozen=True)
class Item:
    """One signal to encode."""

    key: str
    role: str
    audio: np.ndarray  # int16 (channels, samples)


def target_roles(roles: list[str]) -> list[str]:
    """What a model is to produce: the target, or each source where there are several."""
    return [role for role in roles if role == "target"] or [role for role in roles if SOURCE.fullmatch(role)]


@dataclass(frozen=True)
class Networks:
    """What encodes, frozen."""

    codec: Codec
    codec_id: str
    features: AudioEncoder | None = None  # that of the recipe


def encode_shard(networks: Networks, recipe: Recipe, audio: bytes, rows: list[dict[str, Any]]) -> tuple[bytes, ShardRows]:
    """The token shard of an audio shard's bytes, and its rows; `rows` are the audio shard's in the manifest, in order.

    ShardError if the shard is not the one of the manifest, or its audio not at the codec's rate.
    """
    shard, sha256 = rows[0]["shard"], rows[0]["shard_sha256"]
    contents = dict(read_raw(audio, shard, sha256, len(rows)))
    codec = networks.codec
    tokens = _tokens(codec, recipe, list(_items(codec, recipe, shard, contents, rows)))
    examples, described = [], []
    for row in rows:
        members, texts = _members(contents[row["key"]], row, tokens, encoded_roles(row["roles"], recipe))
        if networks.features:
            members |= _features(networks, members, f"{shard}: {row['key']}")
        positions = {role: tokens[row["key"], role]["acoustic"].shape[1] for role in target_roles(row["roles"])}
        record = {name: row[name] for name in ("key", "task", "sample_rate_hz", "num_samples")}
        members["json"] = encode_json(record | {"texts": texts, "codec": networks.codec_id, "num_frames": positions})
        examples.append((row["key"], members))
        described.append(_row(row, members, positions, texts))
    data = build(examples)
    return data, ShardRows(shard, hashlib.sha256(data).hexdigest(), len(data), described, [])


def encoded_roles(roles: list[str], recipe: Recipe) -> list[str]:
    """Signals of which there are tokens."""
    return target_roles(roles) + [role for role in roles if role == "input" and recipe.input_codes]


def _items(
    codec: Codec, recipe: Recipe, shard: str, contents: dict[str, dict[str, bytes]], rows: list[dict[str, Any]]
) -> Iterator[Item]:
    for row in rows:
        for role in encoded_roles(row["roles"], recipe):
            where = f"{shard}: {row['key']}.{role}.flac"
            audio, sample_rate_hz = decode_member("flac", contents[row["key"]][f"{role}.flac"], where)
            if sample_rate_hz != codec.config.sample_rate_hz:
                raise ShardError(f"{where}: at {sample_rate_hz} Hz, the codec takes {codec.config.sample_rate_hz} Hz")
            yield Item(row["key"], role, audio)


def _tokens(codec: Codec, recipe: Recipe, items: list[Item]) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """int16 codes (layers, frames) of each item and stream. Batches depend on the shard alone, so the bits on no worker."""
    tokens = {}
    for batch in batches(items, recipe.batch_s * codec.config.sample_rate_hz):
        lengths = [item.audio.shape[1] for item in batch]
        wave_BT = torch.zeros(len(batch), max(lengths))
        for row, item in enumerate(batch):
            wave_BT[row, : lengths[row]] = torch.from_numpy(item.audio.mean(axis=0, dtype=np.float32) / 32768)
        device = next(codec.parameters()).device
        with torch.inference_mode():
            codes = codec.encode(wave_BT.to(device), torch.tensor(lengths, device=device), threshold=recipe.threshold)
        for row, item in enumerate(batch):
            frames = slice(0, int(codes.lengths_B[row]))
            streams = (codes.acoustic_BKF[row, :, frames], codes.semantic_BKF[row, :, frames])
            tokens[item.key, item.role] = {name: part.cpu().numpy().astype(np.int16) for name, part in zip(STREAMS, streams)}
    return tokens


def batches(items: list[Item], most_samples: float) -> Iterator[list[Item]]:
    """Items of like length together, each batch at most so many samples with its padding, or one item."""
    batch: list[Item] = []
    for item in sorted(items, key=lambda item: (item.audio.shape[1], item.key, item.role)):
        if batch and (len(batch) + 1) * item.audio.shape[1] > most_samples:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _members(
    contents: dict[str, bytes], row: dict[str, Any], tokens: dict, roles: list[str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """The members of one example, and its texts."""
    members = {f"{role}_{stream}.npy": encode_npy(tokens[row["key"], role][stream]) for role in roles for stream in STREAMS}
    members |= {f"{role}.flac": contents[f"{role}.flac"] for role in CONDITIONS if f"{role}.flac" in contents}
    return members, decode_member("json", contents["json"], f"{row['key']}.json").get("texts", {})


def _features(networks: Networks, members: dict[str, bytes], where: str) -> dict[str, bytes]:
    """Of the conditions, each by itself, as training would have it of the whole clip."""
    device, found = next(networks.codec.parameters()).device, {}
    for role in CONDITIONS:
        if content := members.get(f"{role}.flac"):
            wave = mono_16k(*decode_member("flac", content, f"{where}.{role}.flac")) * np.float32(2**-15)
            features = networks.features(torch.from_numpy(wave)[None].to(device))
            found[f"{role}_features.npy"] = encode_npy(features[0].cpu().numpy().astype(np.float16))
    return found


def _row(row: dict[str, Any], members: dict[str, bytes], num_frames: dict[str, int], texts: dict[str, str]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for extension, data in members.items():
        digest.update(f"{extension} {len(data)}\n".encode() + data)
    lengths = dict(zip(row["roles"], row["role_num_samples"]))
    return {
        **{name: row[name] for name in KEPT},
        "sha256": digest.hexdigest(),
        "target_roles": list(num_frames),
        "num_frames": sum(num_frames.values()),
        **{f"{role}_num_samples": lengths.get(role, 0) for role in CONDITIONS},
        **{f"text_{name}": text for name, text in texts.items()},
    }
