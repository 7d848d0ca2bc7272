"""A model as a folder: `config.json` and `model.safetensors`, nothing that runs code."""

import dataclasses
import json
import os
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import nn

from lm.config import from_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save(model: nn.Module, config: Any, folder: str | Path) -> None:
    """Write both files, each in one rename. The weights carry the configuration too: halves of two models never load."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(config), indent=2, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _replace(place / WEIGHTS, to_safetensors(tensors, metadata={"config": text}))
    _replace(place / CONFIG, text.encode())


def load(cls: type, config_cls: type, source: str | Path) -> Any:
    """`cls(config)` with the weights of a folder or hub id. ValueError for anything missing, unknown or of another shape."""
    place = _folder(source)
    text = (place / CONFIG).read_text()
    try:
        config = from_json(config_cls, json.loads(text), str(place / CONFIG))
    except json.JSONDecodeError as error:
        raise ValueError(f"{place / CONFIG}: not JSON: {error}") from error
    try:
        with safe_open(place / WEIGHTS, framework="pt") as file:
            stored = (file.metadata() or {}).get("config", text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{place / WEIGHTS}: cut, damaged or no safetensors: {error}; save or fetch the model again"
        ) from error
    if json.loads(stored) != json.loads(text):
        raise ValueError(f"{place}: the weights were saved with another configuration than {CONFIG}; save the model again")
    with torch.device("meta"):
        model = cls(config)
    _check(model, tensors, place / WEIGHTS)
    model.load_state_dict(tensors, assign=True)
    return model


def _check(model: nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in wanted]
    wrong += [f"{name} is {found[name]}, not {shape}" for name, shape in wanted.items() if found.get(name, shape) != shape]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"{path}: {'; '.join(wrong[:5])}{more}: these are not the weights of {CONFIG}")


def _folder(source: str | Path) -> Path:
    place = Path(source)
    if not place.is_dir():
        if place.exists() or place.is_absolute() or str(source).count("/") != 1 or str(source).startswith("."):
            raise ValueError(f"{source}: no folder with {CONFIG} and {WEIGHTS}, and no hub id (owner/name)")
        from huggingface_hub import snapshot_download

        try:
            place = Path(snapshot_download(str(source), allow_patterns=[CONFIG, WEIGHTS]))
        except Exception as error:  # whatever the hub's client raises
            raise ValueError(f"{source}: neither a folder nor to be had from the hub: {error}") from error
    missing = [name for name in (CONFIG, WEIGHTS) if not (place / name).is_file()]
    if missing:
        raise ValueError(f"{source}: {' and '.join(missing)} missing: not a saved model, or one that was cut off while saving")
    return place


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
