"""The reference of the published networks, where it is at hand: their answers on a fixed input with re-made weights."""

import csv
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from torch import Tensor

from codec.config import CodecConfig
from codec.presets import PRESETS

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no reference checkpoint layouts at {REFERENCE}")


def shapes(version: str, file: str = "state_dict.csv") -> dict[str, tuple[int, ...]]:
    """Every tensor of the published checkpoint but constants of the transform."""
    with open(REFERENCE / f"hcodec-{version}" / file) as rows:
        table = [(row["key"], row["shape"]) for row in csv.DictReader(rows)]
    return {key: tuple(int(n) for n in shape.split("x") if n) for key, shape in table if not key.endswith("window")}


def weights(version: str) -> dict[str, Tensor]:
    """Tensors in the published layout for `config(version)`."""
    return _fill().weights(str(REFERENCE / f"hcodec-{version}" / "golden_layout.csv"))


def arrays(version: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCE / f"hcodec-{version}" / "golden.npz") as file:
        return dict(file)


def threshold(version: str) -> float:
    return json.loads((REFERENCE / f"hcodec-{version}" / "config.json").read_text())["adaptive_config"]["manual_threshold"]


def config(version: str) -> CodecConfig:
    """The preset, with the few layers and small widths of the reference network."""
    preset = PRESETS[f"hcodec-{version}"]
    if version == "1.5":
        grouping = replace(preset.grouping, num_layers=3, num_bottleneck_layers=3)
        return replace(preset, grouping=grouping)
    if version == "2.0":
        small = {"width": 256, "inner_width": 768, "num_blocks": 3, "num_heads": 4, "feed_forward_width": 1024}
        return replace(
            preset,
            spectral=replace(preset.spectral, **small),
            semantic=replace(preset.semantic, width=256),
            quantiser=replace(preset.quantiser, num_acoustic=4, num_semantic=4),
            decoder=replace(preset.decoder, **small),
        )
    return preset


def _fill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fill", REFERENCE / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
