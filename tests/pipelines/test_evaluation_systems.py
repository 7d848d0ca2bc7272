from dataclasses import replace

import numpy as np
import pytest

from pipelines import evaluation_systems
from pipelines.bundle import Bundle
from pipelines.evaluation_systems import Systems, in_order, masked
from pipelines.generation import Options
from tests.pipelines.evaluation_samples import RATE_HZ, noise, sample
from tests.pipelines.model_bundles import make_bundle
from training.metrics import si_sdr


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    return Systems({"model": Bundle.open(make_bundle(tmp_path_factory.mktemp("bundle")))}, Options(), 0)


def made(systems, case):
    return {one.system: one for one in systems.make(case, systems.counts())}


def test_beside_the_model_stand_input_oracle_mask_and_target(systems):
    case = sample()
    found = made(systems, case)
    assert list(found) == ["model", "input", "oracle", "mask", "target"]
    assert all(one.waves[0].shape == case.targets[0].shape and not one.reason for one in found.values())
    assert np.array_equal(found["target"].waves[0], case.targets[0]) and np.array_equal(found["input"].waves[0], case.input)


def test_what_a_model_makes_depends_on_the_example_and_the_seed_alone(systems):
    drawn = replace(systems, options=Options(temperature=1.0))
    first, again = (made(drawn, sample())["model"].waves[0] for _ in range(2))
    other = made(replace(drawn, seed=1), sample())["model"].waves[0]
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_codes_of_the_targets_are_counted_once(systems):
    counts = systems.counts()
    list(systems.make(sample(), counts))
    assert set(counts) == {"oracle"} and counts["oracle"].state()["counts"]


def test_the_ideal_mask_is_better_than_the_input():
    case = sample()
    (wave,) = masked(case)
    assert si_sdr.score(case.targets[0], wave, RATE_HZ) > si_sdr.score(case.targets[0], case.input, RATE_HZ) + 1


def test_separated_voices_are_put_in_the_order_of_the_targets():
    case = sample("ss", 2)
    swapped = tuple(wave + 0.01 * noise(9) for wave in reversed(case.targets))
    assert in_order(swapped, case) == tuple(reversed(swapped))


@pytest.mark.parametrize(
    ("waves", "reason"),
    [
        ((noise(0), noise(1)), "it gives 2 signals, the example has 1"),
        ((np.full(16000, np.nan, np.float32),), "16000 of 16000 samples are not finite"),
        ((np.zeros(0, np.float32),), "no samples"),
    ],
)
def test_what_cannot_be_judged_has_a_reason(waves, reason):
    found = evaluation_systems._made("model", sample(), lambda: waves)
    assert found.waves == () and found.reason == reason


def test_a_model_that_fails_on_an_example_has_a_reason(systems):
    found = made(systems, replace(sample("tse"), reference=None))["model"]
    assert found.waves == () and found.reason.startswith("failed: ") and "reference" in found.reason
