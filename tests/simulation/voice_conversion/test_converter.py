import sys

import msgspec
import numpy as np
import pytest

from simulation.example import Clip
from simulation.voice_conversion.converter import Conversion, converter

CLIP = Clip("a", "a.flac", "speech", 16000, 0, 8000, "CC0 1.0", "0" * 64, speaker="somebody")
MODULE = '''
import numpy as np

class Tilt:
    """As loud as the voice, its spectrum tilted: what a converter has to be, and no more."""

    version = "1.2"

    def __call__(self, audio, sample_rate_hz, voice):
        tilted = audio - 0.9 * np.pad(audio, ((0, 0), (1, 0)))[:, :-1]
        return tilted * np.sqrt(np.mean(voice**2) / np.mean(tilted**2))

def plain(audio, sample_rate_hz, voice):
    return audio

def slow(audio, sample_rate_hz, voice):
    return np.repeat(audio, 2, axis=1)

def broken(audio, sample_rate_hz, voice):
    return audio * np.nan

def longer(audio, sample_rate_hz, voice):
    return np.pad(audio, ((0, 0), (0, 100)))

slow.version = broken.version = longer.version = "1"
'''


def load(clip: Clip) -> np.ndarray:
    return np.full((1, clip.num_frames), 0.25, np.float32)


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "conversions_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    converter.cache_clear()
    yield
    sys.modules.pop("conversions_of_a_test", None)


def conversion(name: str, version: str = "1") -> Conversion:
    return Conversion(f"conversions_of_a_test:{name}", version, CLIP)


def test_a_converter_is_called_with_the_audio_and_the_voice():
    audio = np.random.default_rng(0).normal(0, 0.1, (1, 4000)).astype(np.float32)
    said = conversion("Tilt", "1.2")(audio, 16000, load)
    assert said.shape == audio.shape and said.dtype == np.float32
    assert np.sqrt(np.mean(said**2)) == pytest.approx(0.25, rel=1e-3)


def test_a_conversion_survives_json():
    made = conversion("Tilt", "1.2")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Conversion) == made


def test_another_version_is_refused():
    with pytest.raises(ValueError, match=r"has version '1.2', the scene was drawn for '2'"):
        conversion("Tilt", "2")(load(CLIP), 16000, load)


def test_a_little_too_long_is_cut_and_other_lengths_or_nan_are_refused():
    audio = load(CLIP)
    assert np.array_equal(conversion("longer")(audio, 16000, load), audio)
    with pytest.raises(ValueError, match="keep the timing"):
        conversion("slow")(audio, 16000, load)
    with pytest.raises(ValueError, match="NaN"):
        conversion("broken")(audio, 16000, load)


@pytest.mark.parametrize(
    "name, remedy",
    [
        ("nonsense", "module:name"),
        ("no_such_module_here:x", "PYTHONPATH"),
        ("conversions_of_a_test:Tilf", "but 'Tilt'"),
        ("conversions_of_a_test:plain", "have a `version`"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_the_remedy(name, remedy):
    with pytest.raises(ValueError, match=remedy):
        converter(name)
