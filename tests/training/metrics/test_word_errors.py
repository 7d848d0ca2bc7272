import hashlib
from pathlib import Path

import numpy as np
import pytest

from training.metrics.signals import Unscorable
from training.metrics.word_errors import POCKETSPHINX, recogniser, score, words

TONE = 0.1 * np.sin(np.arange(16000) / 5)


def opened(path: str = ""):
    """A plug-in: it says what its file says."""
    said = Path(path).read_text() if path else "the cat sat"
    return lambda wave, sample_rate_hz: said


def test_errors_are_counted_in_words_of_the_transcript():
    for said, wanted_percent in (("the cat sat", 0), ("the cat", 100 / 3), ("a cat sat down", 200 / 3), ("", 100)):
        assert score(TONE, 16000, "The cat sat.", lambda *_, said=said: said) == pytest.approx(wanted_percent)


def test_case_and_punctuation_do_not_count_and_apostrophes_do():
    assert words("Don\u2019t, STOP\u2014now!") == "don't stop now"
    assert words("你好 World") == "你 好 world"
    assert words("Éa\u0308") == words("éä")


def test_nothing_to_say_has_no_value_and_silence_says_nothing():
    with pytest.raises(Unscorable, match="no transcript"):
        score(TONE, 16000, "?!", opened())
    with pytest.raises(Unscorable, match="not finite"):
        score(np.full(100, np.nan), 16000, "a", opened())
    assert score(np.zeros(16000), 16000, "the cat", opened()) == 100.0


def test_a_recogniser_is_plugged_in_by_file_and_hash(tmp_path):
    file = tmp_path / "model.txt"
    file.write_text("a dog")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    found = recogniser(f"{__name__}:opened@{file}@{sha256}")
    assert found(TONE, 16000) == "a dog" and sha256[:16] in found.about
    assert recogniser(f"{__name__}:opened")(TONE, 16000) == "the cat sat"
    with pytest.raises(ValueError, match="not the file you meant"):
        recogniser(f"{__name__}:opened@{file}@{'0' * 64}")


@pytest.mark.parametrize("text", ["whisper", "a.onnx@00"])
def test_what_is_no_recogniser_is_refused(text):
    with pytest.raises(ValueError, match="--recogniser"):
        recogniser(text)


def test_none_given_is_none_and_the_offline_one_is_said_to_be_poor():
    assert recogniser("") is None
    found = recogniser(POCKETSPHINX)
    assert "POOR" in found.about and isinstance(found(TONE, 16000), str)
