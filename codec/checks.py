"""What `Codec.encode` and `Codec.decode` refuse: each check raises ValueError with what came and what is allowed.

Shapes: B clips, T samples, K quantiser layers, F frames (or groups).
"""

import torch
from torch import Tensor

from codec.codes import Codes
from codec.config import CodecConfig


def channels(wave: Tensor) -> int:
    """1 for mono (B, T), 2 for stereo (B, 2, T)."""
    if not isinstance(wave, Tensor) or not wave.is_floating_point():
        came = f"{wave.dtype} tensor" if isinstance(wave, Tensor) else type(wave).__name__
        raise ValueError(f"audio is a {came}: give a float tensor, full scale +-1 (int16 divided by 32768)")
    if wave.ndim not in (2, 3) or (wave.ndim == 3 and wave.shape[1] != 2):
        raise ValueError(f"audio has shape {tuple(wave.shape)}: give (clips, samples), or (clips, 2, samples) for stereo")
    if not wave.shape[0] or not wave.shape[-1]:
        raise ValueError(f"audio of shape {tuple(wave.shape)} is empty: give at least one clip of at least one sample")
    return wave.ndim - 1


def lengths(wave: Tensor, num_samples_B: Tensor | None) -> Tensor:
    """The length of each clip on the audio's device, all of it where None was given."""
    num_clips, num_samples = wave.shape[0], wave.shape[-1]
    if num_samples_B is None:
        return torch.full((num_clips,), num_samples, device=wave.device)
    if not isinstance(num_samples_B, Tensor) or num_samples_B.shape != (num_clips,) or num_samples_B.dtype != torch.int64:
        came = (
            f"{tuple(num_samples_B.shape)} {num_samples_B.dtype}" if isinstance(num_samples_B, Tensor) else repr(num_samples_B)
        )
        raise ValueError(f"num_samples_B is {came}: give an int64 tensor with a length for each of the {num_clips} clips")
    if bool(((num_samples_B < 1) | (num_samples_B > num_samples)).any()):
        raise ValueError(
            f"num_samples_B is {num_samples_B.tolist()}: lengths must be from 1 to the {num_samples} samples given"
        )
    return num_samples_B.to(wave.device)


def samples(wave_BT: Tensor, num_samples_B: Tensor) -> None:
    """No NaN or infinity inside a clip."""
    outside_BT = torch.arange(wave_BT.shape[1], device=wave_BT.device) >= num_samples_B[:, None]
    for clip in (~(wave_BT.isfinite() | outside_BT)).any(1).nonzero()[:, 0].tolist():
        first = int((~wave_BT[clip].isfinite()).int().argmax())
        raise ValueError(f"audio has NaN or infinite samples (row {clip}, first at sample {first}): mend or drop that clip")


def threshold(given: float | None, config: CodecConfig) -> float | None:
    """The grouping threshold to use; None where the frame rate is fixed."""
    if config.grouping is None:
        if given is not None:
            raise ValueError(
                f"threshold {given} given, but this codec has a fixed frame rate of {config.frame_rate_hz:g} Hz: leave it out"
            )
        return None
    value = config.grouping.threshold if given is None else given
    if not 0 <= value <= 1:
        raise ValueError(f"threshold is {value}: give a number from 0 (long groups) to 1 (no grouping)")
    return float(value)


def layers(given: int | None, config: CodecConfig) -> int | None:
    most = max(config.quantiser.num_acoustic, config.quantiser.num_semantic)
    if given is not None and not 1 <= given <= most:
        raise ValueError(f"num_layers is {given}: this codec has from 1 to {most} quantiser layers")
    return given


def codes(given: Codes, config: CodecConfig) -> None:
    """Codes are of a codec with this configuration, whole, and in range."""
    quantiser, semantic = config.quantiser, given.semantic_BKF
    for name, ours, theirs in (
        ("codebook_size", quantiser.codebook_size, given.codebook_size),
        ("frame_rate_hz", config.frame_rate_hz, given.frame_rate_hz),
    ):
        if ours != theirs:
            raise ValueError(f"codes have {name} {theirs:g}, this codec {ours:g}: decode them with the codec that made them")
    num_rows, num_frames = semantic.shape[0], semantic.shape[-1]
    for name, codes_BKF, most in (
        ("acoustic_BKF", given.acoustic_BKF, quantiser.num_acoustic),
        ("semantic_BKF", semantic, quantiser.num_semantic),
    ):
        _stream(name, codes_BKF, most, config)
        if codes_BKF.shape[::2] != (num_rows, num_frames):
            raise ValueError(
                f"{name} has shape {tuple(codes_BKF.shape)}, semantic_BKF {tuple(semantic.shape)}: clips and frames differ"
            )
    if given.num_channels not in (1, 2) or num_rows % given.num_channels:
        raise ValueError(f"codes of {given.num_channels} channels in {num_rows} rows: there are 1, or 2 with two rows a clip")
    for name, counts_B, most in (
        ("lengths_B", given.lengths_B, num_frames),
        ("num_samples_B", given.num_samples_B, _most_samples(given, config)),
    ):
        if counts_B.shape != (num_rows,) or bool(((counts_B < 1) | (counts_B > most)).any()):
            raise ValueError(f"{name} is {counts_B.tolist()}: {num_rows} numbers from 1 to what the codes hold are needed")


def _stream(name: str, codes_BKF: Tensor, num_layers: int, config: CodecConfig) -> None:
    if codes_BKF.ndim != 3 or codes_BKF.dtype != torch.int64 or not codes_BKF.numel():
        raise ValueError(
            f"{name} is {codes_BKF.dtype} {tuple(codes_BKF.shape)}: give int64 (clips, layers, frames), none of them 0"
        )
    if codes_BKF.shape[1] > num_layers:
        raise ValueError(
            f"{name} has {codes_BKF.shape[1]} layers, this codec {num_layers}: decode with the codec that made the codes"
        )
    limit = config.quantiser.codebook_size * (config.grouping.max_frames if config.grouping else 1)
    low, high = codes_BKF.aminmax()
    if low < 0 or high >= limit:
        raise ValueError(f"{name} holds codes from {int(low)} to {int(high)}: this codec has 0 to {limit - 1}")


def _most_samples(given: Codes, config: CodecConfig) -> Tensor:
    """Samples that each row's frames give."""
    frames_B = given.durations_BF.sum(1) if config.grouping else given.lengths_B
    return frames_B * config.samples_per_frame
