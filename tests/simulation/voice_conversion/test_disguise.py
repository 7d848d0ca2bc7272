import hashlib
import math
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from simulation.seeds import Rng, stored_noise
from simulation.voice_conversion.cepstrum import relate
from simulation.voice_conversion.disguise import MEDIAN_RANGE_HZ, Disguise, DisguiseRange, Unvoiced, limited_hz
from simulation.voice_conversion.pitch import F0_RANGE_HZ, track
from simulation.voice_conversion.timbre import HOP_S, distance_db, formants, timbre
from simulation.voice_conversion.time_warp import path, timing
from tests.simulation.made_speech import said

RATE_HZ = 16000
METHODS = {"psola": DisguiseRange(), "world": DisguiseRange(vocoder_share=1.0)}


def drawn(index: int, ranges: DisguiseRange = METHODS["psola"], sample_rate_hz: int = RATE_HZ) -> Disguise:
    return ranges.draw(Rng(0, "vc", index), sample_rate_hz)


@pytest.mark.parametrize("method", METHODS)
def test_pitch_and_formants_move_as_requested(method):
    for index in range(4):
        audio = said(pitch_hz=(110, 140, 210, 260)[index], ratio=(1, 1, 1.15, 1.15)[index])
        disguise = drawn(index, METHODS[method])
        made = disguise(audio, RATE_HZ)
        assert made.audio.shape == audio.shape and made.audio.dtype == np.float32
        found = relate(made.audio, audio, RATE_HZ, made.median_hz)
        assert found.shift_semitones == pytest.approx(made.pitch_shift_semitones, abs=0.5)
        assert abs(made.pitch_shift_semitones) == pytest.approx(abs(disguise.pitch_semitones), abs=0.2)
        ratio = formants(timbre(made.audio, RATE_HZ), timbre(audio, RATE_HZ), RATE_HZ).ratio
        assert ratio == pytest.approx(made.formant_ratio, rel=0.08)


@pytest.mark.parametrize("method", METHODS)
def test_words_and_timing_of_real_speech_are_kept_and_the_voice_is_not(real_bank, method):
    bank, load = real_bank
    nearer = []
    for index in range(10 if method == "psola" else 3):
        rng = np.random.default_rng(index)
        group = bank.group(rng, "speech", min_clips=2)
        row = bank.row(rng, "speech", group)
        audio = load(bank.clip(rng, row, 4.0))
        reference = timbre(load(bank.clip(rng, bank.row(rng, "speech", group, exclude={row}), 4.0)), RATE_HZ)
        before, after = timbre(audio, RATE_HZ), timbre(drawn(index, METHODS[method])(audio, RATE_HZ).audio, RATE_HZ)
        aligned = np.abs(path(before, after) - np.arange(len(before.active)))[before.active]
        assert aligned.mean() * HOP_S < 0.02
        assert np.corrcoef(before.levels_db.mean(axis=1), after.levels_db.mean(axis=1))[0, 1] > 0.9
        assert abs(timing(after, before).lag_ms) < 5
        nearer.append(distance_db(before, reference) < distance_db(after, reference))
    assert np.mean(nearer) >= 0.7


@pytest.mark.parametrize("method", METHODS)
def test_a_disguise_from_json_gives_the_same_samples(method):
    audio = said(pitch_hz=150, num_syllables=3)
    for index in range(3):
        disguise = replace_breath(drawn(index, METHODS[method]))
        again = msgspec.json.decode(msgspec.json.encode(disguise), type=Disguise)
        assert again == disguise
        assert np.array_equal(again(audio, RATE_HZ).audio, disguise(audio, RATE_HZ).audio)


def replace_breath(disguise: Disguise) -> Disguise:
    return msgspec.structs.replace(disguise, breathiness=0.4, seed=7)


def test_draws_are_in_range_and_none_is_weak():
    ranges = DisguiseRange()
    for index in range(300):
        made = drawn(index)
        assert 2.5 <= abs(made.pitch_semitones) <= 7
        assert 0.095 <= abs(math.log(made.formant_ratio)) <= 0.24
        assert ranges.pitch_range[0] <= made.pitch_range <= ranges.pitch_range[1]
        assert made.mean_formant_ratio() == pytest.approx(made.formant_ratio, rel=ranges.warp)
        assert (np.diff(made.heard_hz) > 0).all() and (np.diff(made.from_hz) > 0).all()
        assert made.heard_hz[-1] == made.from_hz[-1] > RATE_HZ / 2
    shares = [np.mean([drawn(index).pitch_semitones > 0 for index in range(300)])]
    shares.append(np.mean([(drawn(n).pitch_semitones > 0) == (drawn(n).formant_ratio > 1) for n in range(300)]))
    shares.append(np.mean([drawn(n).breathiness > 0 for n in range(300)]))
    assert shares == pytest.approx([0.5, 0.8, 0.3], abs=0.08)


def test_one_part_of_the_range_does_not_shift_the_draws_of_another():
    one, other = drawn(5), drawn(5, replace(DisguiseRange(), breathy_probability=1.0, gain_db=0.0))
    assert (one.pitch_semitones, one.from_hz, one.pitch_range) == (other.pitch_semitones, other.from_hz, other.pitch_range)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_every_rate_is_served(rate):
    audio = said(pitch_hz=130, num_syllables=3, sample_rate_hz=rate)
    made = drawn(2, sample_rate_hz=rate)(audio, rate)
    assert made.audio.shape == audio.shape
    found = relate(made.audio, audio, rate, made.median_hz)
    assert found.shift_semitones == pytest.approx(made.pitch_shift_semitones, abs=0.5)


def test_what_lies_above_8_khz_stays():
    rate = 48000
    audio = said(pitch_hz=130, num_syllables=3, sample_rate_hz=rate)
    hiss = stored_noise(2, audio.shape) * np.float32(0.01)
    plain = replace(DisguiseRange(), gain_db=0.0, breathy_probability=0.0)
    made = drawn(1, plain, rate)(audio + hiss, rate).audio

    def above(x: np.ndarray) -> float:
        return float(np.square(np.abs(np.fft.rfft(x[0]))[int(9000 * x.shape[1] / rate) :]).sum())

    assert 10 * np.log10(above(made) / above(audio + hiss)) == pytest.approx(0, abs=1.5)


def test_the_median_stays_among_peoples():
    assert limited_hz(120, 5) == pytest.approx(120 * 2 ** (5 / 12))
    assert limited_hz(80, -7) == pytest.approx(80 * 2 ** (7 / 12))  # no room below: the other way
    assert limited_hz(330, 6) == pytest.approx(330 * 2 ** (-6 / 12))
    for median_hz in (62, 75, 150, 340, 440):
        for semitones in (-40, -12, 12, 40):
            assert MEDIAN_RANGE_HZ[0] <= limited_hz(median_hz, semitones) <= MEDIAN_RANGE_HZ[1]


def test_no_frame_leaves_the_human_range():
    found = track(said(pitch_hz=75, swing_semitones=5), RATE_HZ)
    for index in range(20):
        f0_hz = drawn(index).f0_of(found)
        assert f0_hz.min() >= F0_RANGE_HZ[0] and f0_hz.max() <= F0_RANGE_HZ[1]


@pytest.mark.parametrize(
    "audio",
    [np.zeros((1, 16000)), stored_noise(1, (1, 16000)) * 0.1, np.full((1, 200), 0.1), said(num_syllables=1)[:, :2000]],
    ids=["silence", "noise", "short", "one sound"],
)
def test_what_has_no_voice_is_refused(audio):
    with pytest.raises(Unvoiced, match=r"s of voice in .* are needed"):
        drawn(0)(audio.astype(np.float32), RATE_HZ)


def test_a_hum_and_clipped_speech_pass():
    at = np.arange(16000) / RATE_HZ
    hum = sum(np.sin(2 * np.pi * 100 * k * at) / k for k in range(1, 9))[np.newaxis].astype(np.float32) * np.float32(0.1)
    for audio in (hum, np.clip(20 * said(num_syllables=4), -1, 1)):
        made = drawn(0)(audio, RATE_HZ).audio
        assert np.isfinite(made).all() and 0.1 < np.square(made).mean() / np.square(audio).mean() < 10


SCRIPT = """
import hashlib
from simulation.voice_conversion.disguise import DisguiseRange
from simulation.seeds import Rng
from tests.simulation.made_speech import said
import numpy as np
audio = np.load({path!r})
digest = hashlib.sha256()
for index, share in ((0, 0.0), (1, 0.0), (7, 0.0), (0, 1.0)):
    digest.update(DisguiseRange(vocoder_share=share).draw(Rng(0, "vc", index), 16000)(audio, 16000).audio.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the features of other CPUs have other names")
def test_cpus_without_vector_units_give_the_same_samples(tmp_path):
    np.save(tmp_path / "audio.npy", said(pitch_hz=160, num_syllables=5))  # made here, for sines differ by CPU
    script = SCRIPT.format(path=str(tmp_path / "audio.npy"))
    digests = []
    for features in ("", "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"):
        environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": features, "PYTHONPATH": str(Path(__file__).parents[3])}
        if features:
            environment["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
        digests.append(run.stdout.strip())
    assert digests[0] == digests[1] and len(digests[0]) == hashlib.sha256().digest_size * 2
