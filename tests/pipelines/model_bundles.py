"""Bundles of random weights, small enough for tests, and saved for real."""

from dataclasses import replace
from pathlib import Path

import torch

from codec.config import CodecConfig
from infra.model_folder import model_id
from lm.config import DecoderConfig, LMConfig
from lm.model import UnifiedLM
from pipelines.bundle import Bundle, tokens_of
from tests.codec.samples import FIXED, make

DECODER = DecoderConfig(width=32, num_layers=2, num_heads=2, feed_forward_width=48)


def make_parts(folder: Path, codec: CodecConfig = FIXED, **changes) -> tuple[Path, Path]:
    """Folders of a codec and of a language model for its tokens."""
    made = make(codec)
    made.save_pretrained(folder / "codec")
    tokens = tokens_of(made, model_id(folder / "codec"))
    torch.manual_seed(0)
    lm = UnifiedLM(replace(LMConfig(tokens=tokens, decoder=DECODER), **changes))
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.ndim > 1:
                parameter *= 6  # outputs differ clearly from symbol to symbol
    lm.save_pretrained(folder / "lm")
    return folder / "codec", folder / "lm"


def make_bundle(folder: Path, codec: CodecConfig = FIXED, **changes) -> Path:
    """The folder of a bundle."""
    Bundle.create(*make_parts(folder, codec, **changes), folder / "bundle")
    return folder / "bundle"
