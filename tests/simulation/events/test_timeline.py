import numpy as np
import pytest

from simulation.events.timeline import Part, at_level, cut, levelled, order_share, stored_activity
from simulation.example import Clip, SourceError
from simulation.signals.levels import active_power, db, to_int16
from simulation.signals.mixing import activity

RATE = 16000


def clip(start_frame: int = 0, num_frames: int = RATE) -> Clip:
    return Clip("a", "a.flac", "event", RATE, start_frame, num_frames, "CC0", "")


def noise(num_samples: int = RATE) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(1, num_samples)).astype(np.float32) * np.float32(0.1)


def test_a_sound_has_the_level_asked_for_and_soft_edges():
    source = noise()
    audio = at_level(lambda _: source, clip(), -20.0, RATE)
    assert db(active_power(audio, RATE)) == pytest.approx(-20, abs=0.01)
    scale = np.median(audio[0] / source[0])
    gains = audio[0] / source[0] / scale
    assert gains[0] < 0.02 and gains[60] == pytest.approx(1, abs=1e-3)  # the attack is kept
    assert gains[-1] < 0.01 and gains[-RATE // 20 - 10] == pytest.approx(1, abs=1e-3)
    assert np.array_equal(source, noise())  # what was loaded is not changed


def test_a_quiet_file_has_as_many_active_frames_as_the_same_one_loud():
    source = noise()
    source[:, RATE // 2 :] *= np.float32(0.03)  # 30 dB down
    loud, quiet = (levelled(source * np.float32(gain), clip(), -20.0, RATE) for gain in (1, 1e-3))
    assert np.allclose(loud, quiet, rtol=1e-5, atol=0)
    assert db(active_power(quiet, RATE)) == pytest.approx(-20, abs=1e-3)


def test_where_a_file_was_cut_the_beginning_is_softer():
    fresh, later = (at_level(lambda _: noise(), clip(start), -20.0, RATE) for start in (0, 100))
    assert np.abs(later[0, :200]).mean() < 0.5 * np.abs(fresh[0, :200]).mean()


def test_silence_and_clicks_are_refused_by_name():
    with pytest.raises(SourceError, match=r"a\.flac.*silent"):
        levelled(np.zeros((1, RATE), np.float32), clip(), -20.0, RATE)
    click = np.zeros((1, RATE), np.float32)
    click[0, 500:600] = 0.5
    with pytest.raises(SourceError, match="too_short"):
        levelled(click, clip(), -20.0, RATE)


def test_events_begin_where_their_file_does(tiny_bank):
    bank, _ = tiny_bank
    rows = bank.members["event"].rows
    for row in rows:
        found = cut(bank, np.random.default_rng(0), int(row), 1.0)
        assert found.start_frame == 0 and found.num_frames == 16000 and found.text == ""


def test_a_part_lies_where_it_starts():
    part = Part(100, np.full((1, 50), 7, np.int16))
    alone = part.alone(300)
    assert alone.shape == (1, 300) and alone.dtype == np.int16
    assert np.flatnonzero(alone[0]).tolist() == list(range(100, 150)) and part.first_sample() == 100


def test_order_is_that_of_what_is_heard():
    sound = activity(noise(RATE // 2), RATE)
    early, late = Part(0, noise(RATE // 2)), Part(RATE, noise(RATE // 2))
    assert order_share([(late, sound), (early, sound)], RATE) == 1.0
    assert order_share([(early, sound), (Part(RATE // 4, noise(RATE // 2)), sound)], RATE) == 0.0
    assert order_share([(early, sound)], RATE) == 1.0


def test_rounding_moves_no_frame_at_the_edge_of_audibility():
    source = noise(20 * 320)
    for frame in range(10):
        source[0, frame * 320 : (frame + 1) * 320] *= np.float32(0.01 * (1 + 1e-4 * (frame - 5)))  # 40 dB down, about
    found = stored_activity(to_int16(source * np.float32(0.01)), source, RATE)
    assert np.array_equal(found.frames, activity(source, RATE).frames)
    assert db(found.power) == pytest.approx(db(active_power(source, RATE)) - 40, abs=0.02)
