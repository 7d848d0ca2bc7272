"""The report says what was decided, why, and what could not be judged."""

from pipelines.retrain_report import text
from training.gate import BETTER, FAILED, NOT_JUDGED, NOT_WORSE, PASSED, SOUND, Check, Decision

ABOUT = {"run": "r1", "champion": "c0", "candidate": "c1", "evaluation_id": "e" * 64, "fresh": ["vctk sr 01"], "num_inputs": 3}
ABOUT |= {"codec": "d" * 64, "start": "the champion's weights"}
CHECKS = (
    Check(BETTER, "sr si_sdr", PASSED, "", "sr", "", "si_sdr", 100, 20, 1.25, 1.0, 0.0, 0.001, 0.05),
    Check(NOT_WORSE, "sr room=a|b si_sdr", FAILED, "", "sr", "room=a|b", "si_sdr", 40, 9, -0.7, -0.9, -0.5, 0.4, 0.05),
    Check(NOT_WORSE, "sr room=c si_sdr", NOT_JUDGED, "too few", "sr", "room=c", "si_sdr", 3, 3),
    Check(SOUND, "speed", PASSED, "0.2 s for a second of audio"),
)


def test_a_refusal_is_told_with_its_reasons_and_numbers():
    said = text(ABOUT, Decision(False, ("sr room=a|b si_sdr: -0.7",), CHECKS))
    assert "the candidate is kept out\n\n- sr room=a|b si_sdr: -0.7" in said
    assert "| sr | all | si_sdr | 100 of 20 | +1.25 | +1 | +0 | 0.0010 < 0.0500 | passed |" in said
    assert "| sr | room=a\\|b | si_sdr | 40 of 9 | -0.7 | -0.9 | -0.5 | 0.4000 < 0.0500 | **failed** |" in said
    assert "| not judged |" in said and "| speed | passed | 0.2 s for a second of audio |" in said
    assert "| codec | dddddddddddddddd |" in said and "started with | the champion's weights |" in said
    assert "1 of 3 inputs" in said and "- vctk sr 01" in said


def test_the_first_champion_has_nothing_to_compare_with():
    said = text(ABOUT | {"champion": "", "fresh": []}, Decision(True, ("sound",)))
    assert "is promoted" in said and "| champion | none yet |" in said and said.count("Nothing to compare with.") == 2
