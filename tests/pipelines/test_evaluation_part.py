import math

import numpy as np

from pipelines.evaluation_part import judge
from pipelines.evaluation_systems import Made
from tests.pipelines.test_evaluation_systems import VOICES, case
from training.metrics.task_metrics import choose_all

METRICS = choose_all(("si_sdr", "mel_distance", "stoi"))


class Given:
    """Systems whose outputs are given."""

    def __init__(self, **waves):
        self.waves = waves

    def counts(self):
        return {}

    def make(self, case, counts):
        for name, waves in self.waves.items():
            yield Made(name, waves, "" if waves else "failed: x", 0.5)


def test_a_row_is_the_mean_over_the_targets():
    noisy = tuple(voice + 0.1 * np.roll(voice, 1000) for voice in VOICES)
    (row,) = judge(Given(model=(VOICES[0], noisy[1])), METRICS, [case()]).rows
    alone = judge(Given(model=(VOICES[0],)), METRICS, [case(targets=(VOICES[0],))]).rows[0]
    other = judge(Given(model=(noisy[1],)), METRICS, [case(targets=(VOICES[1],))]).rows[0]
    assert math.isclose(row["metrics"]["si_sdr"], (alone["metrics"]["si_sdr"] + other["metrics"]["si_sdr"]) / 2)
    assert (row["system"], row["task"], row["key"], row["cluster"], row["duration_s"]) == ("model", "ss", "k", "s", 1.0)


def test_a_failed_system_has_its_reason_in_every_metric_and_no_time():
    part = judge(Given(model=(), input=(VOICES[0],)), METRICS, [case("sr", targets=(VOICES[0],))])
    failed, fine = part.rows
    assert set(failed["metrics"].values()) == {None} and set(failed["reasons"].values()) == {"failed: x"}
    assert fine["metrics"]["si_sdr"] is not None and "si_sdr" not in fine["reasons"]
    assert dict(part.system_s) == {"input": 0.5} and dict(part.audio_s) == {"input": 1.0}


def test_only_the_metrics_of_the_task_are_run():
    (row,) = judge(Given(model=(VOICES[0],)), METRICS, [case("lass", targets=(VOICES[0],), domain="sound")]).rows
    assert set(row["metrics"]) == {"si_sdr", "mel_distance"}
