import numpy as np
import pytest

from simulation.example import Clip, SourceError
from simulation.seeds import stored_noise
from simulation.signals.balance import Part, balanced
from simulation.signals.levels import PEAK_LIMIT, active_power, db, from_int16, ratio_db

RATE_HZ = 16000
CLIP = Clip("a", "a.flac", "speech", RATE_HZ, 0, RATE_HZ, "CC0", "")


def noise(seed: int, gain: float = 0.1) -> np.ndarray:
    return stored_noise(seed, (1, RATE_HZ)) * np.float32(gain)


def parts(*levels_db: float) -> dict[str, Part]:
    return {f"part{number}": Part(noise(number), CLIP, level_db) for number, level_db in enumerate(levels_db)}


def test_every_part_has_its_level():
    stored = balanced(parts(-20.0, -33.0, -50.0), RATE_HZ)
    for number, level_db in enumerate((-20.0, -33.0, -50.0)):
        found = db(active_power(from_int16(stored.parts[f"part{number}"]), RATE_HZ))
        assert found == pytest.approx(level_db, abs=0.02)
    assert stored.ratio_db("part0", "part2") == pytest.approx(30.0, abs=0.05)


def test_ratios_are_those_of_the_stored_integers():
    stored = balanced(parts(-30.0, -41.0), RATE_HZ)
    found = ratio_db(from_int16(stored.parts["part0"]), from_int16(stored.parts["part1"]), RATE_HZ)
    assert stored.ratio_db("part0", "part1") == pytest.approx(found, abs=1e-6)


def test_what_would_clip_is_lowered_together():
    stored = balanced(parts(-3.0, -9.0), RATE_HZ)
    total = sum(audio.astype(int) for audio in stored.parts.values())
    assert np.abs(total).max() <= PEAK_LIMIT * 32767 + 1
    assert stored.ratio_db("part0", "part1") == pytest.approx(6.0, abs=0.05)


def test_parts_that_cancel_are_limited_one_by_one():
    audio = noise(0)
    opposite = {"one": Part(audio, CLIP, 3.0), "other": Part(-audio, CLIP, 3.0)}
    stored = balanced(opposite, RATE_HZ)
    assert max(np.abs(part.astype(int)).max() for part in stored.parts.values()) <= PEAK_LIMIT * 32767 + 1
    assert not sum(part.astype(int) for part in stored.parts.values()).any()


def test_what_goes_along_has_the_gain_of_the_first_part():
    stored = balanced(parts(-12.0, -15.0), RATE_HZ, along=[noise(0) * np.float32(0.5)])
    assert np.abs(2 * stored.along[0].astype(int) - stored.parts["part0"]).max() <= 2


def test_a_part_of_few_frames_near_the_edge_of_being_active_still_has_its_ratio():
    faint = np.zeros((1, RATE_HZ), np.float32)
    for frame in range(12):  # levels down to where they are lost
        faint[:, frame * 320 : (frame + 1) * 320] = noise(frame)[:, :320] * np.float32(10 ** (-frame * 3.4 / 20))
    stored = balanced({"loud": Part(noise(20), CLIP, -30.0), "faint": Part(faint, CLIP, -62.0)}, RATE_HZ)
    assert stored.ratio_db("loud", "faint") == pytest.approx(32.0, abs=0.1)


def test_a_silent_part_is_named():
    silent = Part(np.zeros((1, RATE_HZ), np.float32), CLIP, -20.0)
    with pytest.raises(SourceError, match=r"a\.flac \(a\): silent"):
        balanced({"part": silent}, RATE_HZ)
