"""A language model that starts with the weights of another."""

import torch

from infra.model_folder import local_folder, model_id
from lm.config import LMConfig
from lm.model import UnifiedLM


def warm_started(config: LMConfig, source: str, source_id: str = "") -> UnifiedLM:
    """The model of `config` with the weights of a folder or s3:// prefix; tasks that are new there keep their fresh embeddings.

    ValueError where the other model has another shape, codec or encoders, or is not the one of `source_id` if that is given:
    a folder of this name may be another one on each machine. FileNotFoundError for no model. Seed torch before.
    """
    folder = local_folder(source)
    if source_id and model_id(folder) != source_id:
        raise ValueError(f"--init {source}: another model here than on the machine of the command: give one place for all")
    other = UnifiedLM.from_pretrained(folder)
    try:
        other.config.tokens.check_codec(config.tokens)
    except ValueError as error:
        raise ValueError(f"--init {source}: {error}") from None
    unlike = [
        f"{name} {getattr(other.config, name)}, wanted is {getattr(config, name)}"
        for name in ("decoder", "conditions", "clock", "copies")
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
