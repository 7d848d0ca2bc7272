from dataclasses import replace

import pytest

from training.adversarial_config import AdversarialConfig
from training.config import EngineConfig
from training.lm_config import LMTraining


def test_it_is_off_unless_a_form_is_given():
    assert not LMTraining().adversarial.is_on
    assert AdversarialConfig("relgan").is_on


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"weight": -0.1}, r"adversarial\.weight is -0\.1: give 0 or more"),
        ({"window_frames": 19}, r"adversarial\.window-frames is 19: give 20 or more, fewer segments or smaller kernels"),
        ({"temperature": 0}, r"adversarial\.temperature is 0: give more than 0"),
        ({"context_frames": -1}, r"adversarial\.context-frames is -1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        AdversarialConfig("relgan", **options)


def test_partitioned_weights_cannot_write():
    with pytest.raises(ValueError, match=r"^engine\.zero-stage is 3, .*: give 0, 1 or 2"):
        LMTraining(engine=EngineConfig(zero_stage=3), adversarial=AdversarialConfig("relgan"))
    with pytest.raises(ValueError, match=r"adversarial\.engine\.zero-stage is 3"):
        LMTraining(adversarial=AdversarialConfig("relgan", engine=EngineConfig(zero_stage=3)))
    assert replace(LMTraining(), engine=EngineConfig(zero_stage=3)).engine.zero_stage == 3
