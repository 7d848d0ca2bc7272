"""What a codec does to clips: the reconstruction, how many bits it took, how its codes are used, how fast it is."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codec.chunked import decode_long, encode_long
from codec.codes import Codes
from codec.quantise import usage
from codec.weights import tensors_sha256

# Shapes: B clips (always 1 here), K quantiser layers, F frames or groups, C codes of a codebook, T samples
STREAMS = ("acoustic", "semantic")
LONGEST_WHOLE_S = 30.0  # longer clips are coded in chunks: attention over them would not fit the memory


@dataclass(frozen=True)
class LayerUsage:
    """How one quantiser layer's codes are used over all clips."""

    stream: str
    layer: int  # from 1
    share: float  # of the codes that occur
    perplexity: float  # 1: one code does everything; codebook size: all alike. Never more than num_codes
    num_codes: int  # that were seen
    codebook_size: int = 0  # 0: not known


@dataclass(frozen=True)
class Rate:
    """Bits and positions of all clips."""

    bits_per_s: float
    positions_per_s: float  # frames, or groups where the rate is dynamic, of each stream
    frame_rate_hz: float  # before grouping
    num_layers: int  # of both streams
    seconds: float


@dataclass(frozen=True)
class Speed:
    """Seconds of audio a second, one clip at a time."""

    encode: float
    decode: float
    both: float
    device: str
    num_threads: int
    clip_s: float  # mean length of the clips that were timed
    num_clips: int


def device_of(codec: nn.Module) -> torch.device:
    return next((tensor.device for tensor in codec.parameters()), torch.device("cpu"))


def num_parameters(codec: nn.Module) -> int:
    return sum(parameter.numel() for parameter in codec.parameters())


def codec_id(codec: nn.Module) -> str:
    """The sha256 of its tensors, as the header of its model.safetensors has it."""
    return tensors_sha256({name: tensor.detach().cpu().contiguous() for name, tensor in codec.state_dict().items()})


@torch.no_grad()
def reconstruct(codec: nn.Module, wave: np.ndarray) -> tuple[np.ndarray, Codes]:
    """A mono wave `(samples,)` at the codec's rate through encode and decode: float32 `(samples,)`, and the codes."""
    wave_BT = torch.as_tensor(np.asarray(wave, np.float32), device=device_of(codec))[None]
    whole = len(wave) <= LONGEST_WHOLE_S * codec.config.sample_rate_hz
    codes = codec.encode(wave_BT) if whole else encode_long(codec, wave_BT)
    decoded_BT = codec.decode(codes) if whole else decode_long(codec, codes)
    return decoded_BT[0].float().cpu().numpy(), codes


class CodeCounts:
    """Sums up the codes of many clips."""

    def __init__(self, max_group_frames: int = 1):
        """`max_group_frames` is more than 1 where the rate is dynamic: each position then tells its length, too."""
        self._length_bits = math.log2(max_group_frames)
        self._counts: dict[str, Tensor] = {}
        self._bits = self._positions = self._seconds = self._frame_rate_hz = 0.0

    def add(self, codes: Codes, sample_rate_hz: int) -> None:
        """Count one clip."""
        num_positions, num_layers = int(codes.lengths_B[0]), 0
        for name, codes_BKF in zip(STREAMS, (codes.acoustic_BKF, codes.semantic_BKF)):
            codes_KF = codes_BKF[0, :, :num_positions].cpu() % codes.codebook_size  # without the length that is folded in
            counts_KC = torch.stack([row_F.bincount(minlength=codes.codebook_size) for row_F in codes_KF])
            self._counts[name] = self._counts.get(name, 0) + counts_KC
            num_layers += len(codes_KF)
        self._bits += num_positions * (num_layers * math.log2(codes.codebook_size) + self._length_bits)
        self._positions += num_positions
        self._seconds += int(codes.num_samples_B[0]) / sample_rate_hz
        self._frame_rate_hz = codes.frame_rate_hz

    def state(self) -> dict[str, Any]:
        """All that was counted, as JSON."""
        counts = {name: counts_KC.tolist() for name, counts_KC in self._counts.items()}
        return {"counts": counts, "sums": [self._bits, self._positions, self._seconds], "frame_rate_hz": self._frame_rate_hz}

    def join(self, state: dict[str, Any]) -> None:
        """Add what another has counted, from its `state`."""
        for name, counts in state["counts"].items():
            self._counts[name] = self._counts.get(name, 0) + torch.tensor(counts, dtype=torch.int64)
        self._bits, self._positions, self._seconds = (
            mine + theirs for mine, theirs in zip((self._bits, self._positions, self._seconds), state["sums"])
        )
        self._frame_rate_hz = state["frame_rate_hz"] or self._frame_rate_hz

    def rate(self) -> Rate:
        num_layers = sum(len(counts_KC) for counts_KC in self._counts.values())
        seconds = self._seconds
        return Rate(self._bits / seconds, self._positions / seconds, self._frame_rate_hz, num_layers, seconds)

    def usage(self) -> list[LayerUsage]:
        """A line for each layer of each stream."""
        lines = []
        for stream, counts_KC in self._counts.items():
            share_K, perplexity_K = (counts_KC > 0).double().mean(-1), usage(counts_KC).perplexity_K
            for layer, (share, perplexity) in enumerate(zip(share_K.tolist(), perplexity_K.tolist()), 1):
                num_codes, codebook_size = int(counts_KC[layer - 1].sum()), counts_KC.shape[-1]
                lines.append(LayerUsage(stream, layer, share, perplexity, num_codes, codebook_size))
        return lines


@torch.no_grad()
def speed(codec: nn.Module, waves: Sequence[np.ndarray]) -> Speed:
    """Time these waves one by one, after one that is not counted. Anything else that runs meanwhile slows it down."""
    device, clock = device_of(codec), {"encode": 0.0, "decode": 0.0}
    for wave in [waves[0], *waves]:
        if wave is waves[0]:
            clock = dict.fromkeys(clock, 0.0)
        wave_BT = torch.as_tensor(np.asarray(wave, np.float32), device=device)[None]
        started = _now(device)
        codes = codec.encode(wave_BT)
        encoded = _now(device)
        codec.decode(codes)
        clock["encode"] += encoded - started
        clock["decode"] += _now(device) - encoded
    seconds = sum(len(wave) for wave in waves) / codec.config.sample_rate_hz
    encode_s, decode_s = clock["encode"], clock["decode"]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rates = (seconds / encode_s, seconds / decode_s, seconds / (encode_s + decode_s))
    return Speed(*rates, name, torch.get_num_threads(), seconds / len(waves), len(waves))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
