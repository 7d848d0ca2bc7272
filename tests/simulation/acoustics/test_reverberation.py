import numpy as np
import pytest

from simulation.acoustics.reverberation import reverberate
from simulation.acoustics.rooms import Room
from simulation.signals.alignment import delay_samples

RATE_HZ = 16000
ROOM = Room((6.0, 5.0, 3.0), (3.0, 2.5, 1.5), ((4.2, 3.1, 1.6), (1.0, 4.0, 1.4)), 0.25, 0.55, "early_tail", 7)


def dry(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, (1, RATE_HZ)).astype(np.float32)
    noise[:, : RATE_HZ // 4] = 0
    return noise


def no_load(clip):
    raise AssertionError("a simulated room loads nothing")


def test_without_a_room_nothing_happens():
    heard = reverberate([dry()], None, "early", no_load, RATE_HZ)
    assert np.array_equal(heard.sources[0].wet, dry())
    assert np.array_equal(heard.sources[0].target, dry())
    assert heard.requested == heard.measured == {}


def test_what_is_heard_is_as_long_as_the_dry_signal_and_not_later():
    heard = reverberate([dry(0), dry(1)], ROOM, "early", no_load, RATE_HZ)
    for source in heard.sources:
        assert source.wet.shape == source.target.shape == (1, RATE_HZ)
        assert not source.wet[:, : RATE_HZ // 4].any() or np.abs(source.wet[:, : RATE_HZ // 4]).max() < 1e-5
        assert delay_samples(source.wet, source.target, RATE_HZ) == 0


def test_the_direct_target_is_the_dry_signal_the_early_one_less_dry_the_reverberant_one_everything():
    energy = {}
    for kind in ("direct", "early", "reverberant"):
        (source, _) = reverberate([dry(0), dry(1)], ROOM, kind, no_load, RATE_HZ).sources
        energy[kind] = float(np.square(source.target).sum())
    assert energy["direct"] == pytest.approx(float(np.square(dry()).sum()), rel=0.01)
    assert energy["direct"] < energy["early"] < energy["reverberant"]
    assert np.array_equal(source.target, source.wet)


def test_sources_at_different_places_sound_different():
    one, two = reverberate([dry(), dry()], ROOM, "early", no_load, RATE_HZ).sources
    assert not np.allclose(one.wet, two.wet, atol=1e-3)


def test_the_rooms_labels_are_measured():
    heard = reverberate([dry(), dry()], ROOM, "early", no_load, RATE_HZ)
    assert heard.requested == {"rt60_s": 0.55, "room_lag_samples": 0}
    assert heard.measured["room_lag_samples"] == 0
    assert heard.measured["rt60_s"] == pytest.approx(0.55, rel=0.2)
    assert -30 < heard.measured["drr_db"] < 30
