"""What a language model in training makes of held-out tokens: loss and accuracy, by task and layer."""

from collections.abc import Sequence

import torch

from lm.conditions import Encoders
from lm.model import UnifiedLM
from training.collective import rank, world_size
from training.data.token_stream import TokenBatch
from training.lm_batches import encoded
from training.lm_step import LMTrainee
from training.token_scores import TokenScores


@torch.no_grad()
def scores_of(model: UnifiedLM, encoders: Encoders, batches: Sequence[TokenBatch], device: torch.device) -> TokenScores:
    """Teacher-forced, with all conditions."""
    scores = TokenScores(model.config.tasks, model.config.tokens.num_layers, device)
    for batch in batches:
        one = encoded(model.config, encoders, batch, device=device)
        losses = model(one)
        scores.add(one.task_B, torch.stack([losses.nll_BSK, losses.correct_BSK, losses.num_targets_BSK]))
    return scores


class Validation:
    """Called with a step on all ranks: each judges its share of the batches with the averaged weights; all get the metrics."""

    def __init__(self, trainee: LMTrainee, batches: Sequence[TokenBatch]):
        self.trainee, self.batches = trainee, batches[rank() :: world_size()]

    def __call__(self, step: int) -> dict[str, float]:
        trainee = self.trainee
        return scores_of(trainee.publish(), trainee.encoders, self.batches, trainee.device).over_ranks().metrics()
