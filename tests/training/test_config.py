import json

import pytest

from infra.config import from_json, to_json
from training.config import CodecTraining, EngineConfig, ScheduleConfig, TrainingConfig, deepspeed_config


def test_the_learning_rate_warms_up_then_decays_to_its_floor():
    schedule = ScheduleConfig(warmup_steps=10, decay=0.9, floor=0.2)
    factors = [schedule.factor(step) for step in range(1, 60)]
    assert factors[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert factors[10:13] == pytest.approx([0.9, 0.81, 0.729])
    assert factors[-1] == 0.2
    assert ScheduleConfig(warmup_steps=0, decay=1).factor(1) == 1


@pytest.mark.parametrize(("ranks", "size", "count"), [(1, 4, 8), (2, 4, 4), (8, 4, 1), (16, 2, 1)])
def test_micro_batches_of_all_ranks_make_up_the_batch(ranks, size, count):
    training = TrainingConfig(batch_size=32, micro_batch_size=4)
    assert (training.micro_batch(ranks), training.num_micro_batches(ranks)) == (size, count)
    assert ranks * size * count == 32


def test_batches_that_cannot_be_cut_alike_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="give a multiple of the 3 ranks"):
        TrainingConfig(batch_size=32).micro_batch(3)
    with pytest.raises(ValueError, match="give a divisor of 16, or more"):
        TrainingConfig(batch_size=32, micro_batch_size=5).micro_batch(2)


def test_the_adversarial_part_starts_and_grows():
    config = CodecTraining(adversarial_start=10, adversarial_ramp=4)
    assert [config.discriminates(step) for step in (9, 10)] == [False, True]
    assert [config.adversarial_share(step) for step in (9, 10, 11, 12, 14, 99)] == [0, 0, 0.25, 0.5, 1, 1]
    assert CodecTraining(adversarial_ramp=0).adversarial_share(1) == 1


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_deepspeed_gets_plain_json_that_says_what_the_configuration_says(stage):
    settings = deepspeed_config(EngineConfig(zero_stage=stage, clip_norm=0), micro_batch_size=4, num_micro_batches=3)
    assert json.loads(json.dumps(settings)) == settings
    assert settings["zero_optimization"]["stage"] == stage
    assert settings["gradient_clipping"] == 0
    assert (settings["train_micro_batch_size_per_gpu"], settings["gradient_accumulation_steps"]) == (4, 3)


def test_offloading_is_told():
    settings = deepspeed_config(EngineConfig(zero_stage=3, offload_optimiser=True, offload_weights=True), 1, 1)
    assert settings["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert settings["zero_optimization"]["offload_param"]["device"] == "cpu"


def test_the_configuration_survives_json():
    config = CodecTraining(generator=EngineConfig(zero_stage=2, betas=(0.5, 0.9)))
    assert from_json(CodecTraining, to_json(config), "run.json") == config


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ScheduleConfig(decay=1.1), "schedule.decay is 1.1"),
        (lambda: ScheduleConfig(floor=2), "schedule.floor"),
        (lambda: EngineConfig(learning_rate=0), "learning-rate is 0"),
        (lambda: EngineConfig(betas=(0.9, 1.0)), "betas"),
        (lambda: EngineConfig(zero_stage=4), "zero-stage is 4: give 0, 1, 2 or 3"),
        (lambda: EngineConfig(zero_stage=0, offload_optimiser=True), "zero-stage 1, 2 or 3 with it"),
        (lambda: EngineConfig(zero_stage=2, offload_weights=True), "zero-stage 3 with it"),
        (lambda: EngineConfig(clip_norm=-1), "clip-norm"),
        (lambda: TrainingConfig(batch_size=0), "batch-size is 0"),
        (lambda: TrainingConfig(precision="fp16"), "precision is fp16: give fp32 or bf16"),
        (lambda: TrainingConfig(ema_decay=1), "ema-decay"),
        (lambda: CodecTraining(adversarial_ramp=-1), "adversarial-ramp"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()
