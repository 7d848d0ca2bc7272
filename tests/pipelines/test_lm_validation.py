import pytest
import torch

from pipelines.lm_validation import Validation, scores_of
from tests.training import lm_ranks
from tests.training.lm_ranks import SMALL, TASKS, encoders, made, training
from tests.training.ranks import run_ranks

CPU = torch.device("cpu")


def validated() -> dict[str, float]:
    trained = lm_ranks.trainee(training())
    lm_ranks.run(trained, range(1, 3))
    return Validation(trained, [made(TASKS[first : first + 2], first) for first in range(0, 8, 2)])(2)


def test_scores_do_not_depend_on_how_the_examples_are_batched():
    model = lm_ranks.trainee(training()).publish()
    whole = scores_of(model, encoders(), [made(TASKS, 0)], CPU)
    parts = scores_of(model, encoders(), [made(TASKS[first : first + 1], first) for first in range(8)], CPU)
    assert whole.num_targets == parts.num_targets
    for name in set(TASKS):
        assert whole.loss(name) == pytest.approx(parts.loss(name), abs=1e-5)
        assert whole.accuracy(name) == pytest.approx(parts.accuracy(name), abs=1e-9)


def test_validation_changes_nothing_of_the_training():
    trained = lm_ranks.trainee(training())
    lm_ranks.run(trained, range(1, 2))
    before = dict(trained.state())
    metrics = Validation(trained, lm_ranks.batches(7))(1)
    assert {"loss", "accuracy", "loss/task/sr", "loss/layer/semantic-1"} <= metrics.keys()
    for name, tensors in trained.state():
        assert all(torch.equal(before[name][key], tensor) for key, tensor in tensors.items())
    assert trained.lm.training and trained.lm.config == SMALL


@pytest.mark.slow
def test_ranks_share_the_batches_and_agree(tmp_path):
    whole = validated()
    for found in run_ranks(validated, 2, tmp_path / "ranks"):
        assert found == pytest.approx(whole, abs=1e-5)
