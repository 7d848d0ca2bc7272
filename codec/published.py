"""Published checkpoints of H-Codec become codecs of ours: `python -m codec.published hcodec-1.0 model.pt folder`.

Every tensor of the checkpoint must be used, and each of ours found; keys ending in `window` are constants of the transform.
"""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from codec.config import CodecConfig
from codec.model import Codec
from codec.presets import PRESETS
from codec.published_keys import published_key
from codec.weights import require_same

QUANTISERS = {"acoustic_quantiser": "quantizer", "semantic_quantiser": "semantic_quantizer"}
BUFFERS = {"codebooks": "embed", "counts": "cluster_size", "sums": "embed_avg", "initialised": "initted"}
CONSTANT = re.compile(r"(.*\.)?window")


def import_published(path: str | Path, config: CodecConfig) -> Codec:
    """The codec of this configuration with the weights of a torch file (read without pickled code) or a safetensors file.

    ValueError if it is no such file, or names the keys that are missing, unknown or of another shape.
    """
    return from_published(read(path), config, str(path))


def from_published(tensors: Mapping[str, Tensor], config: CodecConfig, where: str = "published weights") -> Codec:
    """The same from tensors in the published layout, in eval mode."""
    with torch.device("meta"):
        codec = Codec(config)
    ours = {name: tuple(tensor.shape) for name, tensor in codec.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not CONSTANT.fullmatch(name)}
    require_same({name: shape for key, shape in ours.items() for name, shape in layout(key, shape, config)}, found, where)
    state = {}
    for key, shape in ours.items():
        parts = [tensors[name].reshape(part) for (name, _), part in zip(layout(key, shape, config), _parts(key, shape))]
        state[key] = _typed(torch.stack(parts) if _is_buffer(key) else parts[0], key)
    codec.load_state_dict(state, assign=True)
    return codec.eval()


def layout(key: str, shape: tuple[int, ...], config: CodecConfig) -> list[tuple[str, tuple[int, ...]]]:
    """Published names and shapes of what makes one tensor of ours: one, or for a stack of codebooks one for each layer."""
    if not _is_buffer(key):
        return [(published_key(key, config), (1, *shape) if key.endswith("_aggregator.query") else shape)]
    quantiser, buffer = key.split(".")
    names = [f"{QUANTISERS[quantiser]}.layers.{layer}._codebook.{BUFFERS[buffer]}" for layer in range(shape[0])]
    return [(name, (1, *shape[1:])) for name in names]


def _parts(key: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [shape[1:]] * shape[0] if _is_buffer(key) else [shape]


def _is_buffer(key: str) -> bool:
    return key.partition(".")[0] in QUANTISERS


def _typed(tensor: Tensor, key: str) -> Tensor:
    return tensor.bool() if key.endswith(".initialised") else tensor.float()


def read(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a torch or safetensors file; a torch file may hold them inside one other mapping ("state_dict", "model")."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path}: damaged, or no file of tensors alone ({error})") from error
    while isinstance(content, Mapping) and len(content) == 1 and isinstance(next(iter(content.values())), Mapping):
        content = next(iter(content.values()))
    if not isinstance(content, Mapping) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        kinds = (
            sorted({type(item).__name__ for item in content.values()})
            if isinstance(content, Mapping)
            else type(content).__name__
        )
        raise ValueError(f"{path}: holds {kinds}, not named tensors alone")
    return dict(content)


def main() -> None:
    parser = argparse.ArgumentParser(prog="codec.published", description="Turn a published checkpoint into a codec's folder.")
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("weights", help="torch or safetensors file")
    parser.add_argument("folder", help="where config.json and model.safetensors go")
    arguments = parser.parse_args()
    try:
        import_published(arguments.weights, PRESETS[arguments.preset]).save_pretrained(arguments.folder)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    print(f"{arguments.folder}: {arguments.preset}")


if __name__ == "__main__":
    main()
