import msgspec
import numpy as np
import pytest

from simulation.acoustics.rooms import RoomRange
from simulation.bank import Bank
from simulation.seeds import Rng
from simulation.signals.levels import active_power, from_int16
from simulation.talkers.enrolment import Enrolment, EnrolmentRange, enrol

RATE_HZ = 16000
DAMAGED = EnrolmentRange(damaged_probability=1.0)


def draw(bank, config: EnrolmentRange, index: int) -> Enrolment:
    rng = Rng(0, "tse", index)
    row = bank.row(rng("row"), "speech", bank.group(rng("row"), "speech"))
    return config.draw(bank, rng, row, RoomRange(measured_share=0.0))


def test_the_enrolment_is_as_long_as_its_clip_and_never_longer_than_asked(some_bank):
    bank, load = some_bank
    lengths = set()
    for index in range(20):
        enrolment = draw(bank, EnrolmentRange(duration_s=3.0), index)
        audio = enrol(enrolment, load, RATE_HZ).audio
        assert audio.shape == (1, enrolment.clip.num_samples(RATE_HZ))
        lengths.add(audio.shape[1])
    assert max(lengths) == 3 * RATE_HZ
    assert min(lengths) < 3 * RATE_HZ


def test_noise_room_or_both_come_in_equal_shares(tiny_bank):
    bank, _ = tiny_bank
    kinds = [(one.noise is not None, one.room is not None) for one in (draw(bank, DAMAGED, index) for index in range(150))]
    assert all(30 < kinds.count(kind) < 70 for kind in [(True, False), (False, True), (True, True)])
    assert all(draw(bank, EnrolmentRange(damaged_probability=0.0), index).noise is None for index in range(20))


def test_the_snr_found_is_the_snr_asked_for(some_bank):
    bank, load = some_bank
    found = 0
    for index in range(30):
        enrolment = draw(bank, DAMAGED, index)
        enrolled = enrol(enrolment, load, RATE_HZ)
        assert ("enrolment_snr_db" in enrolled.requested) == (enrolment.noise is not None)
        assert ("enrolment_rt60_s" in enrolled.measured) == (enrolment.room is not None)
        if enrolment.noise:
            found += 1
            assert enrolled.measured["enrolment_snr_db"] == pytest.approx(enrolment.snr_db, abs=0.1)
    assert found > 10


def test_a_clean_enrolment_is_the_clip_at_its_level(some_bank):
    bank, load = some_bank
    enrolment = draw(bank, EnrolmentRange(damaged_probability=0.0, level_db=(-30.0, -30.0)), 1)
    audio = from_int16(enrol(enrolment, load, RATE_HZ).audio)
    clip = load(enrolment.clip)
    assert 10 * np.log10(active_power(audio, RATE_HZ)) == pytest.approx(-30, abs=0.05)
    assert np.corrcoef(audio[0], clip[0])[0, 1] > 0.9999


def test_its_room_is_not_that_of_the_mixture(tiny_bank):
    bank, _ = tiny_bank
    rooms = RoomRange(measured_share=0.0)
    drawn = next(one for one in (draw(bank, DAMAGED, index) for index in range(20)) if one.room)
    assert drawn.room not in [rooms.draw(Rng(0, "tse", index), bank, num_sources=1) for index in range(20)]


def test_a_corpus_without_noise_is_refused_with_a_remedy(tiny_bank):
    bank, _ = tiny_bank
    voices = Bank(bank.table.filter(np.asarray(bank.table["role"]) == "speech"), RATE_HZ)
    with pytest.raises(ValueError, match="noisy enrolment needs noise of at least 1 group"):
        for index in range(20):
            draw(voices, DAMAGED, index)


def test_an_enrolment_survives_json(tiny_bank):
    bank, _ = tiny_bank
    for index in range(20):
        enrolment = draw(bank, DAMAGED, index)
        assert msgspec.json.decode(msgspec.json.encode(enrolment), type=Enrolment) == enrolment


@pytest.mark.parametrize("wrong", [{"duration_s": 0.0}, {"damaged_probability": 2.0}, {"snr_db": (3.0, 1.0)}])
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="enrolment: "):
        EnrolmentRange(**wrong)
