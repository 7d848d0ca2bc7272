"""The published codecs and two small ones of the same design (SPEC: QuarkAudio report, arXiv 2512.20151)."""

from dataclasses import replace

from codec.config import (
    CodecConfig,
    DecoderConfig,
    GroupingConfig,
    QuantiserConfig,
    SeanetConfig,
    SemanticConfig,
    SpectralConfig,
    TeacherConfig,
)

HUBERT = TeacherConfig("transformers", "facebook/hubert-base-ls960", (), 768)
XLSR = TeacherConfig("transformers", "facebook/wav2vec2-large-xlsr-53", (11, 14, 16), 1024)

HCODEC_1_0 = CodecConfig(teacher=HUBERT)

HCODEC_1_5 = CodecConfig(
    seanet=SeanetConfig(strides=(8, 5, 4, 2)),
    semantic=SemanticConfig(width=1024),
    grouping=GroupingConfig(),
    decoder=DecoderConfig(width=1024, feed_forward_width=4096),
    teacher=XLSR,
)

HCODEC_2_0 = CodecConfig(
    sample_rate_hz=48000,
    frame_rate_hz=12.5,
    seanet=None,
    spectral=SpectralConfig(),
    semantic=SemanticConfig(1536, (2, 1, 2)),
    quantiser=QuantiserConfig(16, 16, dropout=False),
    decoder=DecoderConfig("repeat", 1536, 4608, 4096, 32, 2, 24, 1920, 960),
    teacher=HUBERT,
)

SMALL = CodecConfig(
    latent_width=256,
    seanet=SeanetConfig(width=16),
    semantic=SemanticConfig(width=192),
    decoder=DecoderConfig(width=448, inner_width=1344, feed_forward_width=1792, num_blocks=8, num_layers=1),
    teacher=TeacherConfig(width=80),
)

TINY = CodecConfig(
    latent_width=128,
    seanet=SeanetConfig(width=8, num_layers=1, num_heads=4),
    semantic=SemanticConfig(width=64),
    decoder=DecoderConfig("subpixel", 160, 480, 640, 5, 1, 4, dropout=0.0),
    teacher=TeacherConfig(width=80),
)

PRESETS = {
    "tiny": TINY,
    "small": SMALL,
    "hcodec-1.0": HCODEC_1_0,
    "hcodec-1.5": HCODEC_1_5,
    "hcodec-2.0": HCODEC_2_0,
    "hcodec-2.0-6.25hz": replace(HCODEC_2_0, frame_rate_hz=6.25, semantic=SemanticConfig(1536, (2, 2, 2))),
}
