import math
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.acoustics import rooms
from simulation.acoustics.impulse_response import direct_index, measured_rt60_s, sabine_rt60_s
from simulation.acoustics.rooms import AnyRoom, MeasuredRoom, RoomRange, responses
from simulation.acoustics.shoebox import Room
from simulation.bank import Bank
from simulation.example import Clip, SourceError
from simulation.seeds import Rng
from tests.simulation.conftest import opened

SYNTHETIC = RoomRange(measured_share=0.0)
MEASURED = RoomRange(measured_share=1.0)


def recorded(response: np.ndarray, num_sources: int = 1) -> tuple[MeasuredRoom, rooms.Load]:
    """A measured room of one file that holds this response, and what loads it."""
    clip = Clip("r", "r.flac", "rir", 16000, 0, len(response), "CC0 1.0", "")
    return MeasuredRoom((clip,) * num_sources), lambda clip: response[np.newaxis].astype(np.float32)


@given(st.integers(0, 2**31), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_a_drawn_room_keeps_to_the_ranges(tiny_bank, index, num_sources):
    room = SYNTHETIC.draw(Rng(0, "test", index), tiny_bank[0], num_sources)
    assert isinstance(room, Room) and len(room.sources_m) == num_sources
    assert min(room.size_m[:2]) >= 1 and max(room.size_m[:2]) <= 50 and 2 <= room.size_m[2] <= 5
    assert 0.2 <= room.absorption <= 0.8 and 0.099 <= room.rt60_s <= 1.51
    assert room.rt60_s == sabine_rt60_s(room.size_m, room.absorption)
    for position in (room.microphone_m, *room.sources_m):
        assert all(
            min(0.3, 0.4 * side) - 1e-3 <= x <= side - min(0.3, 0.4 * side) + 1e-3 for x, side in zip(position, room.size_m)
        )
    assert all(room.distance_m(source) <= 10.01 for source in range(num_sources))
    assert len(set(room.sources_m)) == num_sources


def test_the_kinds_of_rooms_come_evenly_and_sources_stand_apart(tiny_bank):
    drawn = [SYNTHETIC.draw(Rng(1, "test", index), tiny_bank[0], 2) for index in range(600)]
    kinds = Counter("small" if max(r.size_m[:2]) <= 10 else "medium" if max(r.size_m[:2]) <= 30 else "large" for r in drawn)
    assert all(150 < count < 250 for count in kinds.values())
    roomy = [room for room in drawn if min(room.size_m[:2]) > 2]
    assert all(math.dist(*room.sources_m) >= 0.5 for room in roomy)
    assert all(room.distance_m(source) >= 0.499 for room in roomy for source in (0, 1))
    assert np.ptp([room.distance_m(0) for room in drawn]) > 8


def test_shares_choose_the_kind(tiny_bank):
    only_medium = RoomRange(kind_shares=(0, 1, 0), measured_share=0)
    sizes_m = [only_medium.draw(Rng(1, "test", index), tiny_bank[0], 1).size_m[:2] for index in range(50)]
    assert all(10 <= side <= 30 for size_m in sizes_m for side in size_m)


def test_drawn_rooms_have_the_rt60_they_ask_for(tiny_bank):
    for index in range(120):
        room = SYNTHETIC.draw(Rng(2, "test", index), tiny_bank[0], 1)
        for rate_hz in (16000, 48000):
            (response,) = responses(room, tiny_bank[1], rate_hz)
            assert measured_rt60_s(response.full, rate_hz) == pytest.approx(room.rt60_s, rel=0.12), room


@pytest.mark.parametrize("method", ["early_tail", "hybrid"])
def test_a_response_starts_with_its_parts(tiny_bank, method):
    room = RoomRange(measured_share=0, method=method, medium_m=(10, 12), kind_shares=(1, 1, 0)).draw(
        Rng(0, "t", 3), tiny_bank[0], 2
    )
    for response in responses(room, tiny_bank[1], 16000):
        assert response.direct.tolist() == [1.0] and response.full[0] == 1.0
        assert np.array_equal(response.early, response.full[:800])
        assert np.square(response.full[1:]).sum() > np.square(response.early[1:]).sum() > 0


def test_the_same_draw_is_the_same_room_and_the_same_bits(tiny_bank):
    bank, load = tiny_bank
    room, again = (SYNTHETIC.draw(Rng(7, "test", 5), bank, 2) for _ in range(2))
    stored = msgspec.json.decode(msgspec.json.encode(room), type=AnyRoom)
    assert room == again == stored
    first, second = responses(room, load, 16000), responses(stored, load, 16000)
    assert [r.full.tobytes() for r in first] == [r.full.tobytes() for r in second]
    assert first[0].full.tobytes() != first[1].full.tobytes()


def test_another_source_moves_nothing_that_was_there(tiny_bank):
    two, three = (SYNTHETIC.draw(Rng(7, "test", 5), tiny_bank[0], num) for num in (2, 3))
    assert two == msgspec.structs.replace(three, sources_m=three.sources_m[:2])


def test_a_set_of_rooms_is_drawn_from_again_and_again(tiny_bank):
    few = RoomRange(measured_share=0, num_rooms=5)
    drawn = Counter(few.draw(Rng(1, "test", index), tiny_bank[0], 2) for index in range(100))
    assert len(drawn) == 5


def test_measured_rooms_come_in_their_share_and_only_if_there_are_any(tiny_corpus, tiny_bank):
    found = [isinstance(RoomRange().draw(Rng(1, "test", index), tiny_bank[0], 1), MeasuredRoom) for index in range(400)]
    assert 50 < sum(found) < 110
    _, table = tiny_corpus
    without = Bank(table.filter([role != "rir" for role in table["role"].to_pylist()]), 16000)
    assert isinstance(MEASURED.draw(Rng(1, "test", 0), without, 1), Room)


def test_sources_in_a_measured_room_have_files_of_its_own_while_there_are_any(real_corpus):
    bank, _ = opened(*real_corpus, 16000)
    groups = dict(zip(real_corpus[1]["id"].to_pylist(), real_corpus[1]["group"].to_pylist()))
    sizes = Counter(
        groups[i] for i, role in zip(*(real_corpus[1][name].to_pylist() for name in ("id", "role"))) if role == "rir"
    )
    for index in range(60):
        room = MEASURED.draw(Rng(1, "test", index), bank, 3)
        (group,) = {groups[clip.id] for clip in room.clips}
        assert len({clip.id for clip in room.clips}) == min(3, sizes[group])
        assert all(clip.start_frame == 0 for clip in room.clips)


def test_a_measured_response_starts_at_its_direct_path_with_unit_energy(real_bank):
    bank, load = real_bank
    for index in range(40):
        room = MEASURED.draw(Rng(3, "test", index), bank, 1)
        (response,) = responses(room, load, 16000)
        assert direct_index(response.full, 16000) == 0
        assert response.full[0] > 0 and len(response.direct) == 40 and len(response.early) <= 800
        assert np.square(response.direct, dtype=np.float64).sum() == pytest.approx(1, rel=1e-4)
        assert np.array_equal(response.early, response.full[:800])


def test_one_file_for_several_sources_is_read_once():
    response = np.concatenate(
        [np.zeros(50), [1.0], 0.1 * np.random.default_rng(0).normal(size=4000) * np.linspace(1, 0, 4000) ** 4]
    )
    room, load = recorded(response, num_sources=3)
    calls = []
    found = responses(room, lambda clip: calls.append(clip) or load(clip), 16000)
    assert len(found) == 3 and len(calls) == 1
    assert room.requested() == {}


def test_travel_time_and_noise_of_a_recording_are_cut_off():
    rng = np.random.default_rng(0)
    decay = rng.normal(size=16000) * 10 ** (-3 * np.arange(16000) / 3200)
    response = np.concatenate([np.zeros(700), [-1.0], np.zeros(50), 0.1 * decay]) + 1e-5 * rng.normal(size=16751)
    (found,) = responses(*recorded(response), 16000)
    assert found.full[0] == pytest.approx(1, abs=1e-3)
    assert 2400 < len(found.full) < 6000


def test_a_silent_recording_is_a_source_error_that_names_the_file():
    room, load = recorded(np.zeros(8000))
    with pytest.raises(SourceError, match=r"r\.flac .* silent.*no direct path"):
        responses(room, load, 16000)


@pytest.mark.parametrize(
    "options", [{"height_m": (3, 2)}, {"absorption": (0.5, 1.2)}, {"measured_share": 1.5}, {"rt60_s": (0, 1)}]
)
def test_ranges_that_make_no_sense_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RoomRange(**options)
