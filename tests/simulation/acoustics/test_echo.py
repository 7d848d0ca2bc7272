from dataclasses import replace

import msgspec
import numpy as np
import pytest
import scipy.linalg

from simulation.acoustics.echo import (
    Change,
    EchoPath,
    Place,
    Playback,
    PlaybackRange,
    attenuation_db,
    correlation_peak,
    echo,
    late,
)
from simulation.acoustics.loudspeaker import Loudspeaker, Overdrive
from simulation.seeds import Rng, stored_noise
from simulation.signals.levels import from_int16, to_int16

RATE_HZ = 16000
SECONDS = 5
BOX = Loudspeaker(100.0, 7000.0, 0.7)
OVERDRIVEN = msgspec.structs.replace(BOX, overdrive=Overdrive("soft", -6.0, 0.2))
SILENT = np.zeros((1, SECONDS * RATE_HZ), np.float32)


def sent(seed: int = 1) -> np.ndarray:
    """Noise that swells four times a second, as loud as a voice."""
    swell = np.abs(np.sin(4 * np.pi * np.arange(SECONDS * RATE_HZ) / RATE_HZ)).astype(np.float32)
    return np.float32(0.05) * swell * stored_noise(seed, (1, SECONDS * RATE_HZ))


def place(seed: int = 0, travel_samples: int = 0, taps: int = 1600) -> Place:
    """A room of 0.1 s."""
    response = np.float32(0.3) * stored_noise(100 + seed, (taps,)) * (10 ** (-3 * np.arange(taps) / taps)).astype(np.float32)
    response[0] = 1
    return Place(response, travel_samples)


def path(speaker: Loudspeaker = BOX, change: Change | None = None, **playback) -> EchoPath:
    return EchoPath(speaker, Playback(**{"delay_samples": 1000} | playback), change)


def heard(given: EchoPath, audio: np.ndarray, *places: Place) -> np.ndarray:
    return echo(given, audio, places or (place(),), RATE_HZ).audio


def labels(given: EchoPath, audio: np.ndarray, *places: Place) -> tuple[dict, dict]:
    """As of an echo stored in 16 bit at a fifth of its level."""
    made = echo(given, audio, places or (place(),), RATE_HZ)
    return made.labels(from_int16(to_int16(made.audio * np.float32(0.2))))


def without(**gone) -> Playback:
    return Playback(delay_samples=0, **gone)


# the linear part


@pytest.mark.parametrize(
    "given",
    [
        path(),
        path(drift_ppm=80.0),
        path(slip_at_sample=30000, slip_samples=400),
        path(change=Change(40000, gain_db=-6.0)),
        path(change=Change(40000, moved=True)),
    ],
    ids=["plain", "drift", "slip", "volume", "move"],
)
def test_without_overdrive_the_echo_of_a_sum_is_the_sum_of_the_echoes(given):
    places = (place(0), place(1, 9))
    one, other, both = (heard(given, audio, *places) for audio in (sent(1), sent(2), 3 * sent(1) - sent(2)))
    assert attenuation_db(both, 3 * one - other) > 90
    assert np.abs(both).max() > 0.1


def test_with_overdrive_it_is_not():
    one, other, both = (heard(path(OVERDRIVEN), audio) for audio in (sent(1), sent(2), sent(1) + sent(2)))
    assert attenuation_db(both, one + other) < 25


def test_silence_has_no_echo_and_no_labels():
    for speaker in (BOX, OVERDRIVEN):
        made = echo(path(speaker), SILENT, (place(),), RATE_HZ)
        assert not made.audio.any()
        assert made.labels(SILENT) == ({}, {})


def test_an_impulse_arrives_after_the_delay_and_the_way():
    click = SILENT.copy()
    click[:, 2000] = 1
    bare = Place(np.ones(1, np.float32), 35)
    out = heard(path(), click, bare)[0]
    assert np.abs(out[: 2000 + 1000 + 35]).max() < 1e-7
    assert np.argmax(np.abs(out)) in (3035, 3036)  # the box turns the phase near the top of its band


def test_the_microphone_hears_all_of_the_room():
    click = SILENT.copy()
    click[:, 0] = 1
    given = path(msgspec.structs.replace(BOX, low_hz=20.0, high_hz=9000.0))
    out = heard(given, click)[0, 1000:]
    assert np.corrcoef(out[:1600], place().response)[0, 1] > 0.95


# playback


def test_a_slip_puts_silence_in_or_drops_a_stretch():
    audio = sent()
    under, over = (without(slip_at_sample=20000, slip_samples=by).slipped(audio)[0] for by in (300, -300))
    assert np.array_equal(under[:20000], audio[0, :20000]) and np.array_equal(over[:20000], audio[0, :20000])
    assert not under[20000:20300].any()
    assert np.array_equal(under[20300:], audio[0, 20000:-300])
    assert np.array_equal(over[20000:-300], audio[0, 20300:])
    assert under.shape == over.shape == audio[0].shape


@pytest.mark.parametrize("ppm", [-100.0, 100.0])
def test_a_faster_clock_plays_earlier_and_earlier(ppm):
    audio = np.apply_along_axis(np.convolve, 1, sent(), np.ones(8) / 8, "same").astype(np.float32)
    played = without(drift_ppm=ppm).drifted(audio)
    assert played.shape == audio.shape

    def lag(start: int) -> int:
        return correlation_peak(played[:, start - 50 : start + 4050], audio[:, start : start + 4000]) - 50

    assert lag(100) == 0
    assert lag(75000) == pytest.approx(-ppm * 1e-6 * 77000, abs=1)


def test_late_moves_and_keeps_the_length():
    audio = sent()
    assert np.array_equal(late(audio, 7)[:, 7:], audio[:, :-7]) and not late(audio, 7)[:, :7].any()
    assert late(audio, 0) is audio
    assert np.array_equal(late(audio, -7), audio[:, 7:])


def test_draws_keep_to_their_ranges():
    drawn = [PlaybackRange(drift_probability=0.5, slip_probability=0.5).draw(Rng(0, "t", n), RATE_HZ, 9000) for n in range(300)]
    assert all(0 <= each.delay_samples <= 4800 and each.delay_samples + each.slip_samples >= 0 for each in drawn)
    assert all(80 <= abs(each.slip_samples) <= 800 and each.slip_at_sample == 9000 for each in drawn if each.slip_samples)
    assert 100 < sum(each.drift_ppm != 0 for each in drawn) < 200
    assert 100 < sum(each.slip_samples != 0 for each in drawn) < 200
    assert any(each.slip_samples < 0 for each in drawn)
    assert not any(PlaybackRange(slip_probability=1.0).draw(Rng(0, "t", n), RATE_HZ, None).slip_samples for n in range(20))


@pytest.mark.parametrize("wrong", [{"delay_s": (0.3, 0.1)}, {"delay_s": (0.0, 0.6)}, {"slip_s": (0.0, 0.2)}])
def test_delays_beyond_what_is_measured_are_refused(wrong):
    with pytest.raises(ValueError, match="playback: "):
        PlaybackRange(**wrong)


# changes


def test_a_change_of_volume_scales_what_comes_after_and_nothing_before():
    changed, plain = heard(path(change=Change(30000, gain_db=6.0)), sent()), heard(path(), sent())
    assert np.allclose(changed[:, :31000], plain[:, :31000], atol=1e-6)
    assert np.allclose(changed[:, 36000:], plain[:, 36000:] * np.float32(10 ** (6 / 20)), atol=1e-4)


def test_louder_is_more_distorted():
    louder = path(OVERDRIVEN, Change(30000, gain_db=12.0))
    made = echo(louder, sent(), (place(),), RATE_HZ)
    before = made._linear((10000, 28000), made.places[0])
    after = made._linear((40000, 58000), made.places[0])
    fits = []
    for linear, start in ((before, 11000), (after, 41000)):
        part = made.audio[:, start : start + 18000]
        fits.append(attenuation_db(part, linear * np.float32((part * linear).sum() / (linear * linear).sum())))
    assert fits[1] < fits[0] - 3


def test_a_moved_loudspeaker_is_heard_from_its_second_place_and_what_was_radiated_before_dies_away():
    one, other = place(0), place(1, 20)
    moved = heard(path(change=Change(30000, moved=True)), sent(), one, other)
    assert attenuation_db(moved[:, :31000], heard(path(), sent(), one)[:, :31000]) > 90
    assert attenuation_db(moved[:, 36000:], heard(path(), sent(), other)[:, 36000:]) > 60


# labels


@pytest.mark.parametrize("speaker", [BOX, OVERDRIVEN], ids=["linear", "overdriven"])
@pytest.mark.parametrize("delay", [0, 1, 777, 4800])
def test_the_delay_is_found_to_the_sample(speaker, delay):
    requested, measured = labels(path(speaker, delay_samples=delay), sent(), place(0, 12))
    assert requested == {"echo_delay_samples": delay + 12} == {"echo_delay_samples": measured["echo_delay_samples"]}


def test_reflections_louder_than_the_direct_path_are_not_taken_for_it():
    loud = place()
    loud.response[700] = 3.0
    assert labels(path(), sent(), loud)[1]["echo_delay_samples"] == 1000


def test_the_delay_is_that_of_the_sent_signal_itself():
    """Found without knowing the room, where the direct path is all there is."""
    bare = Place(np.ones(1, np.float32), 0)
    out = heard(path(msgspec.structs.replace(BOX, low_hz=20.0, high_hz=9000.0)), sent(), bare)
    assert correlation_peak(out[:, 16000:40000], sent()[:, 16000:32000]) == 1000


def test_after_a_slip_and_after_a_move_the_delay_is_measured_again():
    for by in (-500, 500):
        requested, measured = labels(path(slip_at_sample=40000, slip_samples=by), sent())
        assert requested == {"echo_delay_samples": 1000, "echo_delay2_samples": 1000 + by}
        assert measured.items() >= requested.items()
    requested, measured = labels(path(change=Change(40000, moved=True)), sent(), place(0, 5), place(1, 60))
    assert requested == {"echo_delay_samples": 1005, "echo_delay2_samples": 1060}
    assert measured.items() >= requested.items()


def test_drift_costs_a_sample_at_most():
    for ppm in (-100.0, 100.0):
        requested, measured = labels(path(drift_ppm=ppm), sent())
        assert measured["echo_delay_samples"] == pytest.approx(requested["echo_delay_samples"], abs=1)


def test_what_is_not_sent_is_not_measured():
    early, never = sent(), sent()
    early[:, 20000:] = 0
    never[:] = 0
    never[:, 30000:60000] = sent()[:, 30000:60000]
    assert set(labels(path(slip_at_sample=30000, slip_samples=99), early)[0]) == {"echo_delay_samples"}
    assert set(labels(path(slip_at_sample=29000, slip_samples=99), never)[0]) == {"echo_delay2_samples"}


def test_a_linear_path_is_cancelled_to_the_last_bit_an_overdriven_one_is_not():
    linear, driven = (labels(path(speaker), sent())[1]["linear_erle_db"] for speaker in (BOX, OVERDRIVEN))
    assert linear > 40
    assert 5 < driven < 25


@pytest.mark.parametrize("overdrive", [Overdrive("soft", -8.0), Overdrive("hard", -6.0, 0.2), Overdrive("sigmoid", -15.0)])
def test_no_linear_filter_does_much_better_than_the_label_says(overdrive):
    """Least squares over 2,000 taps on the whole echo, against the label's gain on half a second."""
    given = path(msgspec.structs.replace(BOX, overdrive=overdrive), delay_samples=0)
    audio = sent()
    audio[:, -2500:] = 0  # so that no echo leaves at the end
    out = heard(given, audio)
    label = labels(given, audio)[1]["linear_erle_db"]
    size, taps = 2**18, 2000
    x, y = np.fft.rfft(audio[0].astype(float), size), np.fft.rfft(out[0].astype(float), size)
    correlations = [np.fft.irfft(product, size)[:taps] for product in (x * x.conj(), y * x.conj())]
    best = scipy.linalg.solve_toeplitz(*correlations)
    cancelled = np.fft.irfft(x * np.fft.rfft(best, size), size)[: out.shape[1]]
    assert label - 1 < attenuation_db(out.astype(float), cancelled[np.newaxis]) < label + 3


def test_a_canceller_that_missed_the_change_fails():
    volume = labels(path(change=Change(40000, gain_db=9.0)), sent())[1]
    move = labels(path(change=Change(40000, moved=True)), sent(), place(0), place(1))[1]
    for measured in (volume, move):
        assert measured["linear_erle_db"] > 40
        assert measured["stale_erle_db"] < 5
    assert "stale_erle_db" not in labels(path(), sent())[1]


def test_halving_the_volume_leaves_the_stale_canceller_at_0_db():
    given = path(change=Change(40000, gain_db=-6.02))
    assert labels(given, sent())[1]["stale_erle_db"] == pytest.approx(0.0, abs=0.1)


def test_a_path_is_plain_json():
    given = path(OVERDRIVEN, Change(40000, moved=True), drift_ppm=3.5)
    again = msgspec.json.decode(msgspec.json.encode(given), type=EchoPath)
    assert again == given
    places = (place(0), place(1, 20))
    assert np.array_equal(heard(again, sent(), *places), heard(given, sent(), *places))


def test_a_response_is_not_changed_by_what_it_is_used_for():
    given = place()
    before = given.response.copy()
    heard(path(OVERDRIVEN), sent(), given)
    assert np.array_equal(given.response, before)
    assert replace(given, travel_samples=3).response is given.response
