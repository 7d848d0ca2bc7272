"""The gate lets in what is better and nowhere worse, with the errors it promises; it says what it could not judge."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from training import gate
from training.gate import FAILED, NOT_JUDGED, PASSED, Better, Facts, GateConfig, Limit, decide
from training.keys import generator

FACTS = Facts({"si_sdr": "higher", "wer": "lower", "mel_distance": "lower"})
TRIALS = 40
CONFIG = GateConfig(better=(Better("si_sdr"),), limits=(Limit("si_sdr", 0.5),), num_resamples=500)


def clips(gain: float = 0.0, *, tasks=("sr",), num=200, noise=1.0, seed=0, name="champion", **columns) -> pd.DataFrame:
    """Rows of one system: clips differ by 5 dB, the same clip of two systems by `gain` and `noise`."""
    frames = []
    for task in tasks:
        clip, own = generator(seed, "clip", task).normal(size=num), generator(seed, "own", task, name).normal(size=num)
        frame = pd.DataFrame({"task": task, "dataset": "d", "key": [f"{task}-{number:04d}" for number in range(num)]})
        frame["cluster"] = [f"s{number % 40}" for number in range(num)]
        frame["metric.si_sdr"] = 5 * clip + noise * own + gain
        frames.append(frame.assign(**columns))
    return pd.concat(frames, ignore_index=True)


def candidate(gain: float, **options) -> pd.DataFrame:
    return clips(gain, name="candidate", **options)


def test_what_is_clearly_better_gets_in_and_the_same_does_not():
    decision = decide(clips(), candidate(1.0), FACTS, CONFIG)
    assert decision.promote and "better: sr si_sdr: +" in decision.reasons[0]
    decision = decide(clips(), clips(), FACTS, CONFIG)
    assert not decision.promote and decision.reasons[0].startswith("no task is better: sr si_sdr: +0, ")
    assert all(check.outcome == PASSED for check in decision.checks if check.kind == gate.NOT_WORSE)


def test_lower_is_better_where_the_evaluation_says_so():
    champion, better = clips(), candidate(1.0)
    renamed = {"metric.si_sdr": "metric.wer"}
    config = replace(CONFIG, better=(Better("wer"),), limits=(Limit("wer", 0.5),))
    decision = decide(champion.rename(columns=renamed), better.rename(columns=renamed), FACTS, config)
    assert not decision.promote and any("sr wer" in reason for reason in decision.reasons)
    assert decide(better.rename(columns=renamed), champion.rename(columns=renamed), FACTS, config).promote


def test_one_bad_slice_keeps_out_what_is_better_on_the_whole():
    champion, better = clips(), candidate(2.0)
    for rows in (champion, better):
        rows["slice.snr_db"] = np.where(rows.index % 4 == 0, "-5 to 0", "0 to 20")
    assert decide(champion, better, FACTS, CONFIG).promote
    better.loc[better.index % 4 == 0, "metric.si_sdr"] -= 3.5
    decision = decide(champion, better, FACTS, CONFIG)
    assert not decision.promote and decision.reasons[0].startswith("sr snr_db=-5 to 0 si_sdr: -")
    assert [check.what for check in decision.checks if check.outcome == FAILED] == ["sr snr_db=-5 to 0 si_sdr"]
    assert decide(champion, better, FACTS, replace(CONFIG, slices=("room",))).promote  # not looked at


def test_another_task_that_got_worse_keeps_it_out():
    champion = clips(tasks=("sr", "tse"))
    better = pd.concat([candidate(1.0), candidate(-1.0, tasks=("tse",))])
    decision = decide(champion, better, FACTS, CONFIG)
    assert not decision.promote and decision.reasons[0].startswith("tse si_sdr: -")


def test_one_task_is_enough_or_each_is_wanted():
    champion = clips(tasks=("sr", "tse"))
    better = pd.concat([candidate(1.0), candidate(0.0, tasks=("tse",), noise=0.1)])
    champion_quiet = pd.concat([clips(), clips(tasks=("tse",), noise=0.1)])
    assert decide(champion_quiet, better, FACTS, CONFIG).promote
    decision = decide(champion_quiet, better, FACTS, replace(CONFIG, needed="all"))
    assert not decision.promote and decision.reasons[0].startswith("not all tasks are better: tse")
    named = replace(CONFIG, better=(Better("si_sdr", 1.5, "sr"),))
    assert not decide(champion, better, FACTS, named).promote  # better, but not by that much


@pytest.mark.parametrize("num_tasks", [1, 8])
def test_a_candidate_that_is_no_better_is_rarely_taken_for_better(num_tasks):
    """With Holm's limits at about alpha, however many tasks are looked at."""
    tasks = tuple("abcdefgh"[:num_tasks])
    wrong = 0
    for seed in range(TRIALS):
        pairs = gate.paired(clips(tasks=tasks, seed=seed, num=80), candidate(0.0, tasks=tasks, seed=seed, num=80))
        wrong += any(check.outcome == PASSED for check in gate.better(pairs, FACTS, CONFIG))
    assert wrong / TRIALS < 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


def test_a_candidate_that_is_worse_by_the_margin_rarely_passes_however_many_slices():
    """All limits must hold: the error does not grow with their number."""
    wrong = 0
    for seed in range(TRIALS):
        champion, worse = clips(seed=seed, num=160), candidate(0.0, seed=seed, num=160)
        for rows in (champion, worse):
            rows["slice.part"] = (rows.index % 4).astype(str)
        worse.loc[worse["slice.part"] == "0", "metric.si_sdr"] -= 0.5
        wrong += all(check.outcome == PASSED for check in gate.not_worse(gate.paired(champion, worse), FACTS, CONFIG))
    assert wrong / TRIALS < 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


def test_clips_of_one_speaker_do_not_count_as_many():
    """200 clips of 6 speakers, each 1 dB up or down: a mean that clips alone would call certain."""
    champion, better = clips(noise=0.0), candidate(0.0, noise=0.0)
    speaker = better.index % 6
    for rows in (champion, better):
        rows["cluster"] = speaker.astype(str)
    better["metric.si_sdr"] += np.where(speaker < 4, 1.0, -1.0)
    assert not decide(champion, better, FACTS, replace(CONFIG, limits=(Limit("si_sdr", 5.0),))).promote
    for rows in (champion, better):
        rows["cluster"] = rows["key"]
    assert decide(champion, better, FACTS, CONFIG).promote


def test_too_few_clips_of_a_slice_are_listed_and_of_a_task_refused():
    champion, better = clips(), candidate(1.0)
    for rows in (champion, better):
        rows["slice.room"] = np.where(rows.index < 20, "rare", "usual")
    decision = decide(champion, better, FACTS, CONFIG)
    rare = next(check for check in decision.checks if check.slice == "room=rare")
    assert decision.promote and rare.outcome == NOT_JUDGED and "20 clips of 20 clusters are too few" in rare.detail
    decision = decide(champion[:20], better[:20], FACTS, CONFIG)
    assert not decision.promote and "too few" in decision.reasons[0]
    decision = decide(champion.assign(cluster="one"), better, FACTS, CONFIG)
    assert not decision.promote and "200 clips of 1 clusters are too few" in decision.reasons[0]


def test_outputs_that_are_missing_or_not_finite_are_named():
    for bad in (np.nan, np.inf):
        worse = candidate(1.0).assign(**{"reason.si_sdr": ""})
        worse.loc[7, ["metric.si_sdr", "reason.si_sdr"]] = [bad, "silent output"]
        decision = decide(clips(), worse, FACTS, CONFIG)
        assert not decision.promote and "1 clips have no value where the champion has one" in decision.reasons[0]
        assert "sr sr-0007 (silent output)" in decision.reasons[0]
        assert decide(clips(), worse, FACTS, replace(CONFIG, max_missing=1)).promote


def test_a_metric_that_a_task_does_not_have_is_no_rule_for_it():
    champion, better = clips(tasks=("sr", "tta")), candidate(1.0, tasks=("sr", "tta"))
    for rows in (champion, better):
        rows["metric.wer"] = np.nan
        rows.loc[rows["task"] == "sr", "metric.wer"] = 5.0
    config = replace(CONFIG, limits=(Limit("wer", 1.0),))
    assert decide(champion, better, FACTS, config).promote
    decision = decide(champion, better, FACTS, replace(CONFIG, limits=(Limit("wer", 1.0, ("tta",)),)))
    assert not decision.promote and decision.reasons[0].startswith("tta wer: 0 clips")


def test_a_collapsed_codebook_and_a_slow_candidate_are_kept_out():
    def facts(share=0.9, perplexity=20.0, speed=0.1):
        books = {"champion": [{"stream": "acoustic", "layer": 0, "share": 0.9, "perplexity": 20.0}]}
        books["candidate"] = [{"stream": "acoustic", "layer": 0, "share": share, "perplexity": perplexity}]
        return replace(FACTS, codebooks=books, real_time_factor={"champion": 0.1, "candidate": speed})

    def judged(about, **changes):
        return decide(clips(), candidate(1.0), about, replace(CONFIG, **changes))

    assert judged(facts()).promote
    assert "codebook acoustic 0: 5.0% of the codes" in judged(facts(share=0.05)).reasons[0]
    assert "perplexity 9" in judged(facts(perplexity=9.0)).reasons[0]
    assert "speed: 0.2 s for a second of audio, at most 0.125" in judged(facts(speed=0.2)).reasons[0]
    assert judged(facts(speed=0.2), max_slowdown=3.0).promote
    assert not judged(facts(speed=0.2), max_slowdown=3.0, max_real_time_factor=0.15).promote


def test_of_a_smaller_codebook_of_another_codec_less_perplexity_is_wanted():
    def facts(**candidate):
        row = {"stream": "acoustic", "layer": 1, "share": 0.9}
        was = row | {"perplexity": 400.0, "codebook_size": 1024}
        return replace(FACTS, codebooks={"champion": [was], "candidate": [row | candidate]})

    config = replace(CONFIG, max_slowdown=100.0)
    for perplexity, size, promoted in ((60.0, 256, True), (40.0, 256, False), (150.0, 1024, False), (150.0, 4096, False)):
        found = decide(clips(), candidate(1.0), facts(perplexity=perplexity, codebook_size=size), config)
        assert found.promote == promoted, found.reasons


def test_the_decision_depends_on_the_clips_alone():
    champion, better = clips(tasks=("sr", "tse")), candidate(0.4, tasks=("sr", "tse"))
    for rows in (champion, better):
        rows["slice.part"] = (rows.index % 3).astype(str)
    first = decide(champion, better, FACTS, CONFIG)
    shuffled = better.sample(frac=1, random_state=1)
    assert decide(champion.sample(frac=1, random_state=2), shuffled, FACTS, CONFIG) == first
    only = decide(champion[champion["task"] == "sr"], better[better["task"] == "sr"], FACTS, CONFIG)
    bounds = {check.what: check.bound for check in first.checks}
    assert all(bounds[check.what] == check.bound for check in only.checks)  # another task shifts no draw


def test_tables_of_different_clips_and_unknown_metrics_are_refused():
    with pytest.raises(ValueError, match="5 clips were given to one of the two models only, such as sr d sr-0195"):
        decide(clips(), candidate(1.0)[:195], FACTS, CONFIG)
    with pytest.raises(ValueError, match="the candidate has the clip sr d sr-0003 twice"):
        decide(clips(), pd.concat([candidate(1.0), candidate(1.0)[3:4]]), FACTS, CONFIG)
    with pytest.raises(ValueError, match="no metric 'pesq_wb' in the evaluation; there are mel_distance, si_sdr, wer"):
        decide(clips(), candidate(1.0), FACTS, replace(CONFIG, better=(Better("pesq_wb"),)))
    with pytest.raises(ValueError, match="give more than 0"):
        Limit("si_sdr", 0)
    with pytest.raises(ValueError, match="20 / alpha resamples or more"):
        GateConfig(alpha=0.001, num_resamples=1000)
    with pytest.raises(ValueError, match="give 2 or more"):
        GateConfig(min_clips=1)
    assert decide(clips(), candidate(1.0), FACTS, replace(CONFIG, better=())).reasons[0].startswith("no rule says")


def test_the_first_champion_must_only_be_sound():
    decision = gate.first(clips(), FACTS, CONFIG)
    assert decision.promote and "nothing to compare it with" in decision.reasons[0]
    decision = gate.first(clips().assign(**{"metric.si_sdr": np.nan}), FACTS, CONFIG)
    assert not decision.promote and "values: 0 clips" in decision.reasons[0]
    silent = clips()
    silent.loc[3, "metric.si_sdr"] = np.nan
    assert "1 of these tasks have none" in gate.first(silent, FACTS, CONFIG).reasons[0]
    books = {"candidate": [{"stream": "semantic", "layer": 1, "share": 0.01, "perplexity": 1.0}]}
    assert "codebook semantic 1" in gate.first(clips(), replace(FACTS, codebooks=books), CONFIG).reasons[0]
