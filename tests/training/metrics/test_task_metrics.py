"""Which metric is run on what, and what it says where it is not."""

import numpy as np
import pytest

from training.metrics.plug_in import parse
from training.metrics.registry import NO_WEIGHTS
from training.metrics.scoring import Score
from training.metrics.task_metrics import NO_TARGET, SETS, SOUND, Heard, choose_all, of_task, score
from training.metrics.word_errors import NO_RECOGNISER, Recogniser

RNG = np.random.default_rng(0)
WAVE = (0.1 * RNG.standard_normal(24000)).astype(np.float32)


def similarity(reference, estimate, sample_rate_hz):
    return float(len(reference) == len(estimate))


def open_similarity():
    return similarity


def open_clap():
    return lambda estimate, sample_rate_hz, text: float(len(text))


def scored(heard: Heard, *names: str, **chosen) -> dict[str, Score]:
    return {name: found for name, found, _ in score(heard, list(choose_all(names, **chosen).values()))}


def test_every_task_names_metrics_that_there_are():
    known = choose_all()
    assert {name for names in SETS.values() for name in names} <= set(known)
    assert [one.name for one in of_task("lass", known)] == sorted(SETS["lass"], key=list(known).index)


def test_without_weights_or_recogniser_it_is_said_and_is_no_number():
    found = scored(Heard(WAVE, 16000, WAVE), "utmos", "speaker_similarity", "wer")
    assert found == {
        "utmos": Score(None, NO_WEIGHTS),
        "speaker_similarity": Score(None, NO_WEIGHTS),
        "wer": Score(None, NO_RECOGNISER),
    }
    assert scored(Heard(WAVE, 16000, WAVE, domain=SOUND), "clap_score") == {"clap_score": Score(None, NO_WEIGHTS)}


def test_plug_ins_hear_what_is_theirs():
    plug_ins = [parse(f"speaker_similarity={__name__}:open_similarity"), parse(f"clap_score={__name__}:open_clap")]
    heard = Heard(WAVE, 16000, WAVE[:20000], text="a dog")
    found = scored(heard, "speaker_similarity", "clap_score", plug_ins=plug_ins)
    assert found == {"speaker_similarity": Score(1.0), "clap_score": Score(5.0)}
    assert scored(Heard(WAVE, 16000, WAVE), "clap_score", plug_ins=plug_ins)["clap_score"].reason == "no text"


def test_a_plug_in_of_a_new_name_is_for_every_task():
    known = choose_all(plug_ins=[parse(f"mine={__name__}:open_similarity")])
    assert all("mine" in [one.name for one in of_task(task, known)] for task in SETS)


def test_a_target_that_is_missing_or_of_another_length_is_said():
    found = scored(Heard(WAVE, 16000, None), "si_sdr", "edit_accuracy", "dnsmos_ovrl")
    assert found["si_sdr"].reason == found["edit_accuracy"].reason == NO_TARGET and found["dnsmos_ovrl"].value
    found = scored(Heard(WAVE, 16000, WAVE[:20000]), "si_sdr", "dnsmos_ovrl")
    assert "not as long" in found["si_sdr"].reason and found["dnsmos_ovrl"].value is not None
    found = scored(Heard(WAVE, 16000, WAVE, is_original=True), "si_sdr")
    assert found["si_sdr"].reason == "is the reference itself"


def test_speech_metrics_are_not_run_on_other_sounds():
    assert scored(Heard(WAVE, 16000, WAVE, domain=SOUND), "stoi", "si_sdr")["stoi"].reason == "made for speech"


def test_words_are_recognised_where_a_recogniser_is_given():
    chosen = Recogniser("x", parse(f"recogniser={__name__}:open_words"))
    found = scored(Heard(WAVE, 16000, None, transcript="one two"), "wer", recogniser=chosen)
    assert found["wer"].value == 50.0


def open_words():
    return lambda wave, sample_rate_hz: "one"


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="did you mean 'si_sdr'"):
        choose_all(("si_sd",))
