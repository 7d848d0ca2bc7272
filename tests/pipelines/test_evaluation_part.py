from dataclasses import replace

import numpy as np

from infra.config import from_json
from pipelines.evaluation_part import judge
from pipelines.evaluation_systems import Made
from tests.pipelines.evaluation_noise import sample
from training.metrics.clip_table import ClipRow
from training.metrics.task_metrics import choose_all


class Given:
    """Systems whose answers are known."""

    def __init__(self, **made):
        self.made = made

    def counts(self):
        return {}

    def make(self, case, counts):
        for name, answer in self.made.items():
            yield Made(name, *((), answer) if isinstance(answer, str) else (answer(case), ""), seconds=2.0)


METRICS = choose_all(("si_sdr", "dnsmos_ovrl"))


def judged(case, **made):
    part = judge(Given(**made), METRICS, [case])
    return part, {row["system"]: from_json(ClipRow, row, "row") for row in part.to_json()["rows"]}


def test_every_system_has_a_row_with_values_or_reasons():
    _, rows = judged(sample(), good=lambda case: (case.targets[0] + 1e-3,), bad="failed: no voice")
    assert rows["good"].metrics["si_sdr"] > 30 and rows["good"].task == "sr" and rows["good"].cluster == "s0"
    assert rows["bad"].metrics == {"si_sdr": None, "dnsmos_ovrl": None}
    assert set(rows["bad"].reasons.values()) == {"failed: no voice"}


def test_the_target_itself_is_judged_only_by_what_hears_no_reference():
    _, rows = judged(sample(), target=lambda case: case.targets)
    assert rows["target"].metrics["si_sdr"] is None and "reference itself" in rows["target"].reasons["si_sdr"]
    assert rows["target"].metrics["dnsmos_ovrl"] is not None


def test_of_several_targets_the_mean_counts():
    case = sample("ss", 2)
    noisy = [wave + 0.1 * np.roll(wave, 7) for wave in case.targets]
    _, rows = judged(case, both=lambda case: tuple(noisy), first=lambda case: (noisy[0], noisy[0]))
    alone = judged(replace(case, targets=case.targets[:1], transcripts=("",)), one=lambda case: (noisy[0],))[1]
    assert abs(rows["both"].metrics["si_sdr"] - alone["one"].metrics["si_sdr"]) < 1
    assert rows["first"].metrics["si_sdr"] < rows["both"].metrics["si_sdr"]


def test_seconds_of_work_and_of_audio_are_summed_by_system():
    part, _ = judged(sample(), good=lambda case: case.targets, bad="failed")
    assert part.system_s == {"good": 2.0} and part.audio_s == {"good": 1.0} and part.metric_s["dnsmos_ovrl"] > 0
