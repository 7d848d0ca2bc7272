"""An engine's whole state as flat dicts of CPU tensors that any number of ranks, at any ZeRO stage, can load.

Weights are the fp32 masters, gathered one by one, and the buffers, which no ZeRO checkpoint keeps safely; the optimizer's
state is `<weight>.exp_avg`, `<weight>.exp_avg_sq` and `<weight>.step`. Names are those of the module's own state dict.
All functions are collective.
"""

from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from training.collective import rank, world_size
from training.engine import MOMENTS, Engine


def weights(engine: Engine, *, everywhere: bool = False) -> dict[str, Tensor]:
    """The fp32 weights and all buffers; empty on all ranks but the first, unless wanted `everywhere`."""
    kept = everywhere or rank() == 0
    found = {}
    for name, weight in engine.module.named_parameters():
        full = weight if engine.stage == 0 else _deepspeed().safe_get_full_fp32_param(weight)
        if kept:
            found[name] = _copy(full)
    return found | ({name: _copy(buffer) for name, buffer in engine.module.named_buffers()} if kept else {})


def optimiser(engine: Engine) -> dict[str, Tensor]:
    """Adam's moments and steps of every weight; empty on all ranks but the first."""
    found = {}
    for name, weight in engine.module.named_parameters():
        for moment in MOMENTS:
            full = (
                engine.adam.state[weight][moment]
                if engine.stage == 0
                else _deepspeed().safe_get_full_optimizer_state(weight, moment)
            )
            if rank() == 0:
                found[f"{name}.{moment}"] = _copy(full)
        if rank() == 0:
            found[f"{name}.step"] = _copy(engine.adam.state[weight if engine.stage == 0 else engine.masters()[0]]["step"])
    return found


def load_weights(engine: Engine, tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
    """Set masters, weights and buffers. ValueError unless exactly this module's tensors are there, each of its shape."""
    parameters, buffers = dict(engine.module.named_parameters()), dict(engine.module.named_buffers())
    _check(tensors, {name: _shape(weight) for name, weight in (parameters | buffers).items()}, where)
    with torch.no_grad():
        for name, weight in parameters.items():
            _set_master(engine, weight, tensors[name].to(engine.device, torch.float32))
        for name, buffer in buffers.items():
            assert buffer.dtype == tensors[name].dtype, (name, buffer.dtype, tensors[name].dtype)
            buffer.copy_(tensors[name])
    engine.publish_masters()


def load_optimiser(engine: Engine, tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> None:
    """Set Adam's moments and steps. ValueError unless exactly this module's are there, each of its shape."""
    parameters = dict(engine.module.named_parameters())
    moments = {f"{name}.{moment}": _shape(weight) for name, weight in parameters.items() for moment in MOMENTS}
    _check(tensors, moments | {f"{name}.step": torch.Size() for name in parameters}, where)
    steps = {name: tensors[f"{name}.step"] for name in parameters}
    with torch.no_grad():
        for name, weight in parameters.items():
            for moment in MOMENTS:
                _set_moment(engine, weight, moment, tensors[f"{name}.{moment}"].to(engine.device, torch.float32))
            if engine.stage == 0:
                engine.adam.state[weight]["step"].copy_(steps[name])
        for master in engine.masters() if engine.stage else []:  # one step for all: that of the weights that had gradients
            engine.adam.state[master]["step"].copy_(torch.stack(list(steps.values())).max())


def _check(tensors: Mapping[str, Tensor], shapes: dict[str, torch.Size], where: str) -> None:
    missing, unknown = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    if missing or unknown:
        parts = [f"{kind} {', '.join(names[:5])}" for kind, names in (("lacks", missing), ("has unknown", unknown)) if names]
        raise ValueError(f"{where} {' and '.join(parts)}: it was written by another configuration of the model")
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{where}: {name} is {tuple(tensors[name].shape)}, this configuration has {tuple(shape)}")


def _deepspeed() -> ModuleType:
    import deepspeed.utils  # here, because it takes seconds, and the engine tells it first which device to use

    return deepspeed.utils


def _set_master(engine: Engine, weight: Tensor, full: Tensor) -> None:
    if engine.stage == 0:
        weight.copy_(full)
    elif engine.stage < 3:
        _deepspeed().safe_set_full_fp32_param(weight, full)
    else:
        _deepspeed().safe_set_local_fp32_param(weight, _part(weight, full))


def _set_moment(engine: Engine, weight: Tensor, moment: str, full: Tensor) -> None:
    if engine.stage == 0:
        engine.adam.state[weight][moment].copy_(full)
    elif engine.stage < 3:
        _deepspeed().safe_set_full_optimizer_state(weight, full, moment)
    else:
        _deepspeed().safe_set_local_optimizer_state(weight, _part(weight, full), moment)


def _part(weight: Tensor, full: Tensor) -> Tensor:
    """This rank's part at stage 3. DeepSpeed's own setter fails where the ranks do not divide the number of elements."""
    size = weight.ds_tensor.numel()
    padded = functional.pad(full.flatten(), (0, size * world_size() - full.numel()))
    return padded[rank() * size : (rank() + 1) * size]


def _shape(tensor: Tensor) -> torch.Size:
    return getattr(tensor, "ds_shape", tensor.shape)  # a weight that ZeRO-3 has partitioned is empty


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
