from dataclasses import replace

import numpy as np
import pytest

from pipelines.bundle import Bundle
from pipelines.evaluation_cases import Case
from pipelines.evaluation_systems import Made, Systems, _made, in_order, masked
from pipelines.generation import Options
from pipelines.long_audio import Windowing
from tests.pipelines.model_bundles import make_bundle
from training.metrics import si_sdr

RNG = np.random.default_rng(0)
VOICES = [(0.1 * RNG.standard_normal(16000)).astype(np.float32) for _ in range(2)]


def case(task: str = "ss", **changes) -> Case:
    both = sum(VOICES)
    one = Case(task, "d" * 64, "k", 16000, both, None, tuple(VOICES), None, ("", ""), "", "speech", {}, "s")
    return replace(one, **changes)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle.open(make_bundle(tmp_path_factory.mktemp("bundle")), device="cpu")


def systems(bundle: Bundle, **models) -> Systems:
    return Systems(models or {"model": bundle}, Options(windowing=Windowing(1.0, 0.2, 0.04)), 0)


def waves_of(found: Systems, one: Case) -> dict[str, Made]:
    return {made.system: made for made in found.make(one, found.counts())}


def test_every_task_has_its_systems_and_all_give_as_many_signals_as_there_are_targets(bundle):
    found = waves_of(systems(bundle), case())
    assert list(found) == ["model", "input", "oracle", "mask", "target"]
    assert all(len(made.waves) == 2 and {len(wave) for wave in made.waves} == {16000} for made in found.values())
    single = {"targets": tuple(VOICES[:1]), "transcripts": ("",)}
    assert list(waves_of(systems(bundle), case("vc", reference=VOICES[1], **single))) == ["model", "input", "oracle", "target"]
    assert list(waves_of(systems(bundle), case("codec", **single))) == ["model", "target"]
    assert list(waves_of(systems(bundle), case("sr", targets=()))) == ["model", "input"]


def test_the_same_example_gives_the_same_audio(bundle):
    first, second = (waves_of(systems(bundle), case())["model"].waves for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


def test_models_of_one_codec_share_the_oracle(bundle):
    found = systems(bundle, first=bundle, second=bundle)
    assert list(found.codecs()) == ["oracle"]
    other = replace(bundle, about=bundle.about | {"codec": bundle.about["codec"] | {"id": "other"}})
    assert list(systems(bundle, first=bundle, second=other).codecs()) == ["oracle-first", "oracle-second"]


def test_codes_of_the_targets_are_counted(bundle):
    found = systems(bundle)
    counts = found.counts()
    list(found.make(case(), counts))
    assert {line.num_codes for line in counts["oracle"].usage()} == {50}  # 2 targets of 1 s at 25 Hz


def test_signals_are_put_in_the_order_of_the_targets():
    assert all(a is b for a, b in zip(in_order((VOICES[1], VOICES[0]), case()), VOICES, strict=True))


def test_the_ideal_mask_helps_and_knows_the_target():
    scores = [si_sdr.score(VOICES[0], wave, 16000) for wave in (case().input, masked(case())[0])]
    assert scores[1] > scores[0] + 2  # of two equally loud white noises


@pytest.mark.parametrize(
    ("waves", "said"),
    [
        ((np.full(10, np.nan), np.zeros(10)), "10 of 10 samples are not finite"),
        ((np.zeros(10),), "gives 1 signals, the example has 2"),
        ((np.zeros(0), np.zeros(0)), "no samples"),
    ],
)
def test_what_cannot_be_judged_is_a_reason(waves, said):
    made = _made("model", case(), lambda: waves)
    assert not made.waves and said in made.reason


def test_a_model_that_fails_is_a_reason():
    def fail():
        raise RuntimeError("probability tensor contains nan")

    assert _made("model", case(), fail).reason == "failed: probability tensor contains nan"
