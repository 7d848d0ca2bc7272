import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.example import Clip, SourceError
from simulation.signals.levels import active_frames, active_power, db, from_int16
from simulation.signals.mixing import (
    Placed,
    activity,
    at_active_level,
    finite,
    peak,
    placed,
    residual_db,
    stored,
    summed,
    tiled,
    total,
)

RATE_HZ = 16000


def clip(num_frames: int, sample_rate_hz: int = RATE_HZ) -> Clip:
    return Clip("c", "c.flac", "speech", sample_rate_hz, 0, num_frames, "CC0 1.0", "0" * 64)


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=(1, num_samples)).astype(np.float32)


@given(st.integers(1, 400), st.integers(1, 300), st.integers(0, 99))
def test_a_placed_clip_lies_inside_and_around_it_is_silence(num_samples, num_frames, seed):
    audio = noise(num_frames)
    place = placed(np.random.default_rng(seed), clip(num_frames), num_samples, RATE_HZ)
    out = place.audio(lambda _: audio, num_samples, RATE_HZ)
    kept = min(num_frames, num_samples)
    assert out.shape == (1, num_samples)
    assert np.array_equal(out[:, place.at_sample : place.at_sample + kept], audio[:, :kept])
    assert np.count_nonzero(out) == np.count_nonzero(audio[:, :kept])


def test_a_place_is_anywhere_that_the_clip_fits():
    starts = {placed(np.random.default_rng(seed), clip(90), 100, RATE_HZ).at_sample for seed in range(300)}
    assert starts == set(range(11))


def test_a_clip_that_ends_late_is_cut_at_the_end_of_the_example():
    audio = noise(50)
    assert np.array_equal(Placed(clip(50), 80).audio(lambda _: audio, 100, RATE_HZ)[:, 80:], audio[:, :20])


@pytest.mark.parametrize("num_samples", [3200, 4000, 4001, 30000])
def test_a_background_of_any_length_keeps_its_level(num_samples):
    audio = noise(4000)
    out = tiled(audio, num_samples, RATE_HZ)
    assert out.shape == (1, num_samples)
    assert active_power(out, RATE_HZ) == pytest.approx(active_power(audio, RATE_HZ), rel=0.15)


def test_the_seams_of_a_repeated_background_do_not_click():
    rising = np.linspace(-0.5, 0.5, 4000, dtype=np.float32)[np.newaxis]
    assert np.abs(np.diff(tiled(rising, 30000, RATE_HZ))).max() < 0.1  # 1.0 end to end


def test_a_total_is_the_sum_and_leaves_its_parts_alone():
    parts = [noise(100, seed) for seed in range(3)]
    copies = [part.copy() for part in parts]
    np.testing.assert_allclose(total(parts), parts[0] + parts[1] + parts[2])
    total(parts[:1])[:] = 0
    assert all(np.array_equal(a, b) for a, b in zip(parts, copies, strict=True))


def test_what_is_stored_keeps_its_proportions_below_full_scale():
    audio = stored({"a": 4 * noise(1000, 1), "b": noise(1000, 2)})
    assert max(np.abs(signal.astype(int)).max() for signal in audio.values()) <= 0.99 * 32767
    assert active_power(from_int16(audio["a"]), RATE_HZ) / active_power(from_int16(audio["b"]), RATE_HZ) == pytest.approx(
        active_power(4 * noise(1000, 1), RATE_HZ) / active_power(noise(1000, 2), RATE_HZ), rel=1e-3
    )


def test_a_sum_of_stored_signals_leaves_no_residual_and_a_wrong_bit_leaves_one():
    parts = [np.random.default_rng(seed).integers(-9000, 9000, (1, 1000)).astype(np.int16) for seed in range(3)]
    mixture = summed(parts)
    assert residual_db(mixture, parts) == -200.0
    mixture[0, 5] += 1
    assert -140 < residual_db(mixture, parts) < -80
    assert residual_db(mixture, parts[:2]) > -10


def test_a_sum_beyond_16_bit_is_refused():
    loud = np.full((1, 4), 20000, np.int16)
    with pytest.raises(ValueError, match="40000"):
        summed([loud, loud])
    with pytest.raises(ValueError, match="40000"):
        summed([-loud, -loud])


def test_activity_is_that_of_levels():
    audio = np.concatenate([noise(4000), 1e-4 * noise(4000), 0.5 * noise(900)], axis=1)
    found = activity(audio, RATE_HZ)
    assert np.array_equal(found.frames, active_frames(audio, RATE_HZ))
    assert found.power == active_power(audio, RATE_HZ)
    assert activity(np.zeros((1, 1000), np.float32), RATE_HZ).power == 0


@given(st.lists(st.floats(-2, 2, width=32), max_size=20))
def test_the_peak_is_the_largest_magnitude(samples):
    audio = np.array([samples], np.float32)
    assert peak(audio) == np.abs(audio).max(initial=0)


def test_labels_are_finite_python_floats():
    labels = finite({"a": np.float32(0.123456), "b": 2})
    assert labels == {"a": 0.1235, "b": 2.0}
    assert all(type(value) is float for value in labels.values())
    with pytest.raises(ValueError, match="snr_db"):
        finite({"snr_db": float("nan")})


@pytest.mark.parametrize("level_db", [-60.0, -25.0, -3.0])
def test_a_sound_comes_to_the_level_that_its_active_part_is_asked_for(level_db):
    audio = np.concatenate([noise(8000), np.zeros((1, 24000), np.float32)], axis=1)
    levelled = at_active_level(audio, clip(32000), level_db, RATE_HZ)
    assert db(active_power(levelled, RATE_HZ)) == pytest.approx(level_db, abs=0.01)


@pytest.mark.parametrize(("num_samples", "reason"), [(0, "silent"), (640, "too_short")])
def test_a_sound_that_cannot_be_heard_out_is_refused_with_why(num_samples, reason):
    audio = np.zeros((1, 32000), np.float32)
    audio[:, :num_samples] = noise(num_samples)
    with pytest.raises(SourceError, match=f"c.flac .*: {reason}: .* s are needed"):
        at_active_level(audio, clip(32000), -25.0, RATE_HZ)
