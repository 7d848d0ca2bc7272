"""What makes a codec: frozen dataclasses that are saved as `config.json` beside the weights.

The defaults are H-Codec 1.0; the presets are in codec/presets.py.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

TEACHER_RATE_HZ, TEACHER_FRAME_RATE_HZ = 16000, 50  # of every semantic feature: samples in, frames out


@dataclass(frozen=True)
class SeanetConfig:
    """Waveform encoder of H-Codec 1.0 and 1.5: strided convolutions, a Transformer, one more stride."""

    width: int = 32  # channels after the first convolution; doubled by each stage
    strides: tuple[int, ...] = (2, 4, 5, 8)
    last_stride: int = 2
    num_layers: int = 2  # Transformer layers
    num_heads: int = 8

    @property
    def samples_per_frame(self) -> int:
        return math.prod(self.strides) * self.last_stride


@dataclass(frozen=True)
class SpectralConfig:
    """Spectral encoder of H-Codec 2.0: STFT, ConvNeXt blocks, a Transformer, one strided convolution."""

    width: int = 1536
    inner_width: int = 4608
    num_blocks: int = 24
    num_layers: int = 2
    num_heads: int = 24
    feed_forward_width: int = 4096
    window_samples: int = 1920
    hop_samples: int = 960


@dataclass(frozen=True)
class SemanticConfig:
    """Convolutions from the teacher's feature to the semantic latent, and the mirror image back."""

    width: int = 768
    strides: tuple[int, ...] = (2, 1)


@dataclass(frozen=True)
class QuantiserConfig:
    """Two residual vector quantisers, one for each stream."""

    num_acoustic: int = 4
    num_semantic: int = 4
    codebook_size: int = 1024
    decay: float = 0.99
    dropout: bool = True  # train with a drawn number of layers


@dataclass(frozen=True)
class GroupingConfig:
    """Dynamic frame rate of H-Codec 1.5: alike neighbours become one group, a Transformer for each stream aggregates it."""

    max_frames: int = 8
    threshold: float = 0.6  # of cosine similarity, where none is given in the call
    num_layers: int = 32  # of each aggregator
    num_heads: int = 8
    feed_forward_width: int = 2048
    num_bottleneck_layers: int = 32


@dataclass(frozen=True)
class DecoderConfig:
    """From both quantised streams to the waveform: residual blocks and a Transformer, ConvNeXt blocks, an ISTFT head."""

    kind: Literal["subpixel", "repeat"] = (
        "subpixel"  # how frames become those of the ISTFT: x2 sub-pixel (1.0, 1.5), repeated (2.0)
    )
    width: int = 768
    inner_width: int = 2304
    feed_forward_width: int = 3072
    num_blocks: int = 12
    num_layers: int = 2
    num_heads: int = 8
    window_samples: int = 1280
    hop_samples: int = 320
    dropout: float = 0.1


@dataclass(frozen=True)
class TeacherConfig:
    """Where the semantic feature comes from."""

    kind: Literal["log-mel", "transformers"] = "log-mel"  # needs no weights; HuBERT, WavLM or wav2vec 2.0 by `source`
    source: str = ""  # a local path or a hub id
    layers: tuple[int, ...] = ()  # hidden states that are averaged, 0 being the input of the first layer; () is all of them
    width: int = 768  # of the feature
    # Each clip to mean 0 and variance 1; null: as the model's preprocessor_config.json says. The published codecs never do.
    normalise: bool | None = False
    half_precision: bool = False  # its network in float16, on GPUs


@dataclass(frozen=True)
class CodecConfig:
    """A codec. Exactly one encoder is set, and what each part does to the frame rate must agree: ValueError if not."""

    sample_rate_hz: int = 16000
    frame_rate_hz: float = 25.0  # of each stream, before grouping
    latent_width: int = 512  # of each stream, and so of its codebooks
    seanet: SeanetConfig | None = field(default_factory=SeanetConfig)
    spectral: SpectralConfig | None = None
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    quantiser: QuantiserConfig = field(default_factory=QuantiserConfig)
    grouping: GroupingConfig | None = None
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)

    @property
    def samples_per_frame(self) -> int:
        return round(self.sample_rate_hz / self.frame_rate_hz)

    @property
    def teacher_frames_per_frame(self) -> int:
        return math.prod(self.semantic.strides)

    @property
    def decoder_frames_per_frame(self) -> int:
        """Frames of the ISTFT for one of the streams."""
        return self.samples_per_frame // self.decoder.hop_samples

    @property
    def bits_per_second(self) -> float:
        """Bit rate of both streams, before grouping."""
        quantiser = self.quantiser
        return self.frame_rate_hz * (quantiser.num_acoustic + quantiser.num_semantic) * math.log2(quantiser.codebook_size)

    def __post_init__(self) -> None:
        for wrong in self._faults():
            raise ValueError(f"codec configuration: {wrong}")

    def _faults(self):
        samples, rate = self.samples_per_frame, f"{self.sample_rate_hz} Hz at {self.frame_rate_hz:g} frames/s"
        if samples * self.frame_rate_hz != self.sample_rate_hz:
            yield f"{rate} gives no whole number of samples a frame"
        if (self.seanet is None) == (self.spectral is None):
            yield "set exactly one of seanet and spectral, the other to null"
        if self.seanet and self.seanet.samples_per_frame != samples:
            yield f"seanet strides give {self.seanet.samples_per_frame} samples a frame, {rate} is {samples}"
        if self.spectral and samples % self.spectral.hop_samples:
            yield f"spectral.hop_samples {self.spectral.hop_samples} does not divide the {samples} samples of a frame"
        if self.teacher_frames_per_frame * self.frame_rate_hz != TEACHER_FRAME_RATE_HZ:
            yield f"semantic.strides {self.semantic.strides} turn no {TEACHER_FRAME_RATE_HZ} Hz into {self.frame_rate_hz:g} Hz"
        if samples % self.decoder.hop_samples:
            yield f"decoder.hop_samples {self.decoder.hop_samples} does not divide the {samples} samples of a frame"
        if self.decoder.kind == "subpixel" and self.decoder_frames_per_frame != 2:
            yield f"subpixel doubles the frames: decoder.hop_samples is {self.decoder.hop_samples}, must be {samples / 2:g}"
        if self.decoder.window_samples % self.decoder.hop_samples:
            yield f"decoder.hop_samples {self.decoder.hop_samples} does not divide the window of {self.decoder.window_samples}"
        if not 0 <= self.decoder.dropout < 1:
            yield f"decoder.dropout is {self.decoder.dropout}: give a number from 0 to below 1"
        quantiser = self.quantiser
        if min(quantiser.num_acoustic, quantiser.num_semantic, quantiser.codebook_size) < 1:
            yield "quantiser needs at least one layer for each stream and one code"
