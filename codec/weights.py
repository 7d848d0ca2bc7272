"""A codec's folder: config.json and model.safetensors, checked when read, replaced whole when written.

The header of model.safetensors names the sha256 of its tensors and of the configuration they belong to: a file with a flipped
byte, or beside another config.json, does not load.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from codec import config_json
from codec.config import CodecConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
NAMES_SHOWN = 5  # of many wrong keys


def save_codec(codec: nn.Module, folder: str | Path) -> None:
    """Weights first, each file under another name until it is whole. An OSError (full disk) leaves what was there."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(config_json.to_json(codec.config), indent=2).encode() + b"\n"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in codec.state_dict().items()}
    hashes = {"tensors_sha256": tensors_sha256(tensors), "config_sha256": hashlib.sha256(config).hexdigest()}
    _replace(folder / WEIGHTS, save(tensors, metadata=hashes))
    _replace(folder / CONFIG, config)


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def load_codec(kind: type[nn.Module], source: str | Path) -> nn.Module:
    """`kind(config)` with its weights, in eval mode. ValueError names the file and what is wrong with it."""
    folder = _folder(source)
    config_bytes = _read(folder / CONFIG)
    try:
        values = json.loads(config_bytes)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: no JSON ({error})") from error
    config = config_json.from_json(values, str(folder / CONFIG))
    tensors, hashes = _tensors(folder / WEIGHTS)
    codec = filled(kind, config, tensors, str(folder / WEIGHTS))
    if hashes.get("tensors_sha256") != tensors_sha256(tensors):
        raise ValueError(f"{folder / WEIGHTS}: damaged, its tensors are not those that were saved; fetch or save it anew")
    if hashes.get("config_sha256") != hashlib.sha256(config_bytes).hexdigest():
        raise ValueError(f"{folder / CONFIG}: not the configuration that {WEIGHTS} was saved with; fetch or save both anew")
    return codec


def filled(kind: type[nn.Module], config: CodecConfig, tensors: dict[str, Tensor], where: str) -> nn.Module:
    """`kind(config)` holding these tensors themselves, in eval mode. ValueError if they do not fit exactly."""
    with torch.device("meta"):
        codec = kind(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in codec.state_dict().items()}
    require_same(wanted, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, where)
    codec.load_state_dict(tensors, assign=True)
    return codec.eval()


def require_same(wanted: dict[str, Any], found: dict[str, Any], where: str) -> None:
    """ValueError that names keys which are missing, unknown or of another shape."""
    faults = {
        "missing": [name for name in wanted if name not in found],
        "unknown": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {found[name]} instead of {wanted[name]}"
            for name in wanted
            if name in found and found[name] != wanted[name]
        ],
    }
    if any(faults.values()):
        parts = [f"{len(names)} {kind} ({_some(names)})" for kind, names in faults.items() if names]
        raise ValueError(f"{where}: its tensors are not those of this codec: {'; '.join(parts)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Of names, types, shapes and contents, whatever the order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 not a mapping
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged or no safetensors file ({error})") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file; a codec's folder holds {CONFIG} and {WEIGHTS}") from error


def _folder(source: str | Path) -> Path:
    """The folder itself, or what the hub has under that id."""
    if Path(source).is_dir():
        return Path(source)
    if not HUB_ID.fullmatch(str(source)):
        raise ValueError(f"{source}: there is no such folder, and it is no hub id (owner/name)")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ValueError(f"{source}: there is no such folder; to fetch it from the hub, install huggingface_hub") from error
    try:
        return Path(snapshot_download(str(source), allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # its errors have no common class: offline, unknown, private, disk full
        raise ValueError(f"{source}: there is no such folder, and the hub did not give it ({error})") from error
