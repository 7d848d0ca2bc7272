import hashlib
import math
import os
import subprocess
import sys

import msgspec
import numpy as np
import pyroomacoustics as pra
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.acoustics.impulse_response import drr_db, measured_rt60_s, sabine_rt60_s
from simulation.acoustics.shoebox import EARLY_S, Room, early_tail, hybrid, images
from simulation.signals.convolution import convolve

OFFICE = Room(
    size_m=(6.1, 4.7, 2.9),
    microphone_m=(2.2, 1.9, 1.2),
    sources_m=((3.9, 3.1, 1.6), (1.0, 3.6, 1.5)),
    absorption=0.3,
    rt60_s=sabine_rt60_s((6.1, 4.7, 2.9), 0.3),
    method="early_tail",
    tail_seed=11,
)


@st.composite
def shoeboxes(draw) -> Room:
    """Rooms of 1 to 50 m with an RT60 of 0.1 to 1.5 s, microphone and source anywhere 0.3 m off the walls and 0.5 m apart."""
    side_m = draw(st.sampled_from([(1.5, 10), (10, 30), (30, 50)]))
    size_m = draw(st.tuples(st.floats(*side_m), st.floats(*side_m), st.floats(2, 5)))
    full_s = sabine_rt60_s(size_m, 1.0)
    absorption = draw(st.floats(max(0.15, full_s / 1.5), min(0.85, full_s / 0.1)))
    places = [tuple(draw(st.floats(0.3, side - 0.3)) for side in size_m) for _ in range(2)]
    room = Room(size_m, places[0], (places[1],), absorption, full_s / absorption, "early_tail", draw(st.integers(0, 2**53)))
    return room if 0.5 <= room.distance_m(0) <= 10 else msgspec.structs.replace(room, sources_m=(beside(room),))


def beside(room: Room) -> tuple[float, float, float]:
    """A place 0.6 m from the microphone, on the side with more space."""
    x, y, z = room.microphone_m
    return (x + math.copysign(0.6, room.size_m[0] / 2 - x), y, z)


@given(shoeboxes(), st.sampled_from([16000, 48000]))
@settings(max_examples=60, deadline=None)
def test_the_measured_rt60_is_the_requested_one_in_the_most_awkward_room(room, sample_rate_hz):
    response = early_tail(room, 0, sample_rate_hz)
    assert measured_rt60_s(response, sample_rate_hz) == pytest.approx(room.rt60_s, rel=0.2)


@given(shoeboxes())
@settings(max_examples=30, deadline=None)
def test_the_direct_path_is_one_at_sample_zero(room):
    response = early_tail(room, 0, 16000)
    assert response[0] == 1.0 and response.dtype == np.float32 and np.isfinite(response).all()


@given(shoeboxes())
@settings(max_examples=15, deadline=None)
def test_the_reflections_are_those_of_pyroomacoustics(room):
    duration_s = min(0.02, 12 * min(room.size_m) / 343)  # what 20 orders are enough for
    simulated = pra.ShoeBox(room.size_m, materials=pra.Material(room.absorption), max_order=20)
    simulated.add_source(list(room.sources_m[0]))
    simulated.add_microphone(list(room.microphone_m))
    simulated.image_source_model()
    (source,) = simulated.sources
    distances_m = np.linalg.norm(source.images.T - np.array(room.microphone_m), axis=1)
    lags_s, gains = images(room, 0, duration_s)
    heard = (source.orders > 0) & (distances_m < room.distance_m(0) + duration_s * 343)
    assert abs(len(lags_s) - heard.sum()) <= 1  # theirs are float32: one on the edge may fall either way
    theirs = source.damping[0][heard] / distances_m[heard] * room.distance_m(0)
    num = min(len(lags_s), len(theirs))
    assert np.allclose(np.sort(lags_s)[:num], np.sort(distances_m[heard] - room.distance_m(0))[:num] / 343, atol=1e-7)
    assert np.allclose(np.sort(gains)[::-1][: num - 1], np.sort(theirs)[::-1][: num - 1], rtol=1e-3, atol=1e-5)


def test_early_reflections_stand_where_pyroomacoustics_renders_them():
    simulated = pra.ShoeBox(OFFICE.size_m, 16000, materials=pra.Material(OFFICE.absorption), max_order=1)
    simulated.add_source(list(OFFICE.sources_m[0]))
    simulated.add_microphone(list(OFFICE.microphone_m))
    simulated.compute_rir()
    direct = 40 + OFFICE.distance_m(0) / 343 * 16000  # 40 samples of its filters come first
    theirs = np.abs(simulated.rir[0][0] * OFFICE.distance_m(0))
    ours = np.abs(early_tail(OFFICE, 0, 16000))
    strong = np.flatnonzero(theirs[round(direct) + 5 :] > 0.2)[:3] + 5
    assert len(strong) == 3
    for lag in strong:
        assert ours[lag - 2 : lag + 3].max() == pytest.approx(theirs[round(direct) + lag - 2 :][:5].max(), rel=0.25)


@pytest.mark.parametrize("size_m", [(4.0, 3.0, 2.5), (6.1, 4.7, 2.9), (9.0, 7.0, 4.0)])
def test_rt60_and_drr_agree_with_the_full_simulation_of_a_compact_room(size_m):
    room = msgspec.structs.replace(OFFICE, size_m=size_m, sources_m=((1.0, 1.2, 1.5), (3.1, 2.0, 1.1)))
    room = msgspec.structs.replace(room, rt60_s=sabine_rt60_s(size_m, room.absorption))
    for source, simulated in enumerate(hybrid(msgspec.structs.replace(room, method="hybrid"), 16000)):
        ours = early_tail(room, source, 16000)
        assert simulated[0] == 1.0
        assert measured_rt60_s(ours, 16000) == pytest.approx(measured_rt60_s(simulated, 16000), rel=0.2)
        assert drr_db(ours, 16000) == pytest.approx(drr_db(simulated, 16000), abs=2.5)


def test_the_tail_goes_on_with_the_energy_of_the_last_reflections():
    reflected, tail = 0.0, 0.0
    for seed in range(60):
        size_m, rng = (9.0, 8.0, 5.0), np.random.default_rng(seed)
        microphone_m, source_m = (tuple(place) for place in rng.uniform(0.5, 4.5, (2, 3)).round(3).tolist())
        room = Room(size_m, microphone_m, (source_m,), 0.2, sabine_rt60_s(size_m, 0.2), "early_tail", seed)
        lags_s, gains = images(room, 0, EARLY_S)
        start = round(EARLY_S * 16000)
        scale, decay = room.distance_m(0) ** -2, 10 ** (6 * 0.02 / room.rt60_s)
        reflected += scale * np.square(gains[lags_s >= EARLY_S - 0.02]).sum()
        tail += scale * decay * np.square(early_tail(room, 0, 16000)[start : start + 320], dtype=np.float64).sum()
    assert 10 * np.log10(tail / reflected) == pytest.approx(0, abs=1)


def test_sources_in_one_room_have_responses_of_their_own():
    first, second = (early_tail(OFFICE, source, 16000) for source in (0, 1))
    num = min(len(first), len(second))
    assert abs(np.corrcoef(first[1:num], second[1:num])[0, 1]) < 0.2
    assert not np.array_equal(first[800:num], second[800:num])


def test_the_same_room_sounds_the_same_at_both_rates():
    low, high = (early_tail(OFFICE, 0, rate_hz) for rate_hz in (16000, 48000))
    assert drr_db(low, 16000) == pytest.approx(drr_db(high, 48000), abs=1)
    assert len(high) == pytest.approx(3 * len(low), abs=3)


def digest() -> str:
    """Of everything that reaches the samples: responses of some rooms and the sound through them."""
    found, dry = hashlib.sha256(), early_tail(OFFICE, 1, 16000)[np.newaxis]
    for seed in range(5):
        room = msgspec.structs.replace(OFFICE, tail_seed=seed, size_m=(6.1 + 3.7 * seed, 4.7 + seed, 2.9))
        response = early_tail(room, 0, 16000)
        found.update(response.tobytes() + b"".join(wet.tobytes() for wet in convolve(dry, [response, response[:800]])))
    return found.hexdigest()


def test_a_processor_without_fused_or_wide_instructions_gets_the_same_bits():
    features = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))
    if not features:
        pytest.skip("this processor has no more than numpy's baseline")
    code = "from tests.simulation.acoustics.test_shoebox import digest; print(digest())"
    plain = os.environ | {"NPY_DISABLE_CPU_FEATURES": features, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"}
    found = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digest()


def test_the_full_simulation_is_the_same_again_and_cannot_be_written_over():
    room = msgspec.structs.replace(OFFICE, method="hybrid")
    first = hybrid(room, 16000)
    hybrid.cache_clear()
    again = hybrid(room, 16000)
    assert [part.tobytes() for part in first] == [part.tobytes() for part in again]
    assert hybrid(msgspec.structs.replace(room, tail_seed=12), 16000)[0].tobytes() != first[0].tobytes()
    with pytest.raises(ValueError, match="read-only"):
        again[0][0] = 2


def test_only_what_is_built_to_it_requests_an_rt60():
    assert OFFICE.requested() == {"rt60_s": OFFICE.rt60_s}
    assert msgspec.structs.replace(OFFICE, method="hybrid").requested() == {}


def test_a_room_survives_json():
    assert msgspec.json.decode(msgspec.json.encode(OFFICE), type=Room) == OFFICE
