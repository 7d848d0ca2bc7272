"""A language model that starts with the weights of another."""

from pathlib import Path

import torch

from lm.config import LMConfig
from lm.model import UnifiedLM


def warm_started(config: LMConfig, source: str | Path) -> UnifiedLM:
    """The model of `config` with the weights of a folder or hub id; tasks that are new there keep their fresh embeddings.

    ValueError where the other model has another shape, codec or encoders. Seed torch before.
    """
    other = UnifiedLM.from_pretrained(source)
    try:
        other.config.tokens.check_codec(config.tokens)
    except ValueError as error:
        raise ValueError(f"--init {source}: {error}") from None
    unlike = [
        f"{name} {getattr(other.config, name)}, wanted is {getattr(config, name)}"
        for name in ("decoder", "conditions", "clock")
        if getattr(other.config, name) != getattr(config, name)
    ]
    if unlike:
        raise ValueError(f"--init {source}: a model with {'; '.join(unlike)}: take its preset, or another model")
    there = other.config.tasks
    if config.tasks[: len(there)] != there:
        raise ValueError(f"--init {source}: its tasks are {', '.join(there)}: give these first, in this order, new ones after")
    model = UnifiedLM(config)
    weights = other.state_dict()
    fresh = model.state_dict()["tasks.weight"].clone()
    fresh[: len(weights["tasks.weight"])] = weights["tasks.weight"]
    with torch.no_grad():
        model.load_state_dict(weights | {"tasks.weight": fresh})
    return model
