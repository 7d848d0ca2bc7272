"""Aligned tasks give back what came in rate, channels and length; windows are single calls; draws hang on nothing but seeds."""

import numpy as np
import pytest
import torch

from pipelines.audio_streams import ArrayAudio, Audio, whole
from pipelines.bundle import Bundle
from pipelines.generation import Options, Request
from pipelines.long_audio import Windowing, joined, windows_of
from pipelines.speaker_order import in_order
from tests.codec.samples import DYNAMIC, FIXED, SPECTRAL, noises
from tests.pipelines.model_bundles import make_bundle

RATE_HZ = 16000
SHORT = Windowing(window_s=1.0, context_s=0.2, fade_s=0.04)
DRAWN = Options(temperature=1.0, windowing=SHORT)


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    designs = {"fixed": FIXED, "dynamic": DYNAMIC, "spectral": SPECTRAL}
    made = {name: make_bundle(tmp_path_factory.mktemp(name), codec) for name, codec in designs.items()}
    made |= {
        f"{name} copies": make_bundle(tmp_path_factory.mktemp(name), designs[name], copies=True)
        for name in ("fixed", "spectral")
    }
    return {name: Bundle.open(place, device="cpu").generator for name, place in made.items()}


@pytest.fixture(scope="module")
def generator(generators):
    return generators["fixed"]


def wave(seconds: float, channels: int = 1, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    return noises(channels, round(seconds * rate_hz), seed).numpy()


def audio(*args, rate_hz: int = RATE_HZ, **kwargs) -> ArrayAudio:
    return ArrayAudio.of(wave(*args, rate_hz=rate_hz, **kwargs), rate_hz, "x")


def made(generator, request: Request, options: Options = DRAWN) -> np.ndarray:
    return whole(generator.stream(request, options))


@pytest.mark.parametrize("design", ["fixed", "dynamic", "spectral", "fixed copies", "spectral copies"])
@pytest.mark.parametrize(
    ("name", "num_targets", "chained"),
    [("sr", 1, False), ("tse", 1, False), ("aec", 1, False), ("lass", 1, False), ("ss", 2, False), ("ss", 2, True)],
)
def test_an_aligned_target_has_the_inputs_rate_channels_and_length(generators, design, name, num_targets, chained):
    for rate_hz, channels, num_samples in ((16000, 1, 1), (44100, 2, 70001), (8000, 3, 4321)):
        given = ArrayAudio.of(noises(channels, num_samples).numpy(), rate_hz, "x")
        reference = ArrayAudio.of(noises(1, num_samples, 7).numpy(), rate_hz, "y") if name in ("tse", "aec") else None
        request = Request(name, given, reference, "a dog barks" if name == "lass" else None)
        found = made(generators[design], request, Options(chained=chained, windowing=SHORT))
        assert found.shape == (num_targets, channels, num_samples) and found.dtype == np.float32
        assert np.isfinite(found).all()


@pytest.mark.parametrize("design", ["fixed", "dynamic", "fixed copies"])
def test_a_long_files_windows_are_what_single_calls_give(generators, design):
    generator, given = generators[design], audio(4.3)
    options = Options(windowing=SHORT, batch_windows=3)
    found, per_frame = made(generator, Request("sr", given), options)[0, 0], generator.samples_per_frame
    size, context = SHORT.frames(generator.frame_rate_hz)
    windows = windows_of(-(-given.num_samples // per_frame), size, context)
    assert len(windows) > 4
    half = round(SHORT.fade_s * RATE_HZ) // 2
    for number, window in enumerate(windows):
        piece = given.wave[:, window.first * per_frame : window.last * per_frame]
        alone = made(generator, Request("sr", ArrayAudio(piece, RATE_HZ)), options)[0, 0]
        start = window.begin * per_frame + half * (number > 0)
        stop = min(window.end * per_frame - half * (number < len(windows) - 1), len(found))
        wanted = alone[start - window.first * per_frame : stop - window.first * per_frame]
        np.testing.assert_allclose(found[start:stop], wanted, atol=1e-5)


@pytest.mark.parametrize("design", ["fixed copies", "spectral copies"])
@pytest.mark.parametrize(("name", "text"), [("sr", None), ("event_edit", "remove the dog"), ("ss", None)])
def test_a_model_that_only_copies_gives_what_the_codec_makes_of_the_input(generators, design, name, text, monkeypatch):
    generator = generators[design]
    monkeypatch.setattr(generator.lm.trust, "forward", lambda hidden, _: hidden.new_full((*hidden.shape[:-1], 3), 1e4))
    given = audio(1.7, rate_hz=generator.sample_rate_hz)
    windowing = Windowing(window_s=4.0, context_s=0.2, fade_s=0.04)  # all at once
    found = made(generator, Request(name, given, None, text), Options(windowing=windowing))
    codec = generator.codec
    with torch.inference_mode():
        wanted = codec.decode(codec.encode(torch.from_numpy(given.wave)))[0].numpy()
    for signal in found:
        np.testing.assert_allclose(signal[0, : given.num_samples], wanted, atol=1e-5)


def test_the_same_seed_gives_the_same_audio_and_another_another(generator):
    request = Request("sr", audio(2.5))
    first, again = made(generator, request), made(generator, request)
    assert np.array_equal(first, again)
    other = made(generator, request, Options(seed=1, temperature=1.0, windowing=SHORT))
    assert not np.allclose(first, other, atol=1e-3)


def test_equal_channels_stay_equal_whatever_is_drawn(generator):
    both = np.repeat(wave(2.5), 2, axis=0)
    found = made(generator, Request("sr", ArrayAudio(both, RATE_HZ)))
    assert np.array_equal(found[:, 0], found[:, 1])


def test_a_channel_does_not_hear_the_others(generator):
    both = wave(2.5, channels=2)
    together = made(generator, Request("sr", ArrayAudio(both, RATE_HZ)))
    for channel in range(2):
        alone = made(generator, Request("sr", ArrayAudio(both[[channel]], RATE_HZ)))
        np.testing.assert_allclose(together[:, [channel]], alone, atol=1e-5)


def test_hours_are_read_and_given_piece_by_piece(generator):
    class Counted(ArrayAudio):
        given = 0

        def pieces(self):
            for piece in super().pieces():
                type(self).given += piece.shape[1]
                yield piece

    source = Counted(np.tile(wave(10.0), 30), RATE_HZ)
    stream = generator.stream(Request("sr", source), Options(windowing=Windowing(), batch_windows=2))
    next(stream)
    assert Counted.given < 20 * RATE_HZ


def test_a_reference_counts_and_its_loudest_stretch_is_used(generator):
    given, quiet, loud = audio(1.0), 0.001 * wave(8.0, seed=3), wave(5.0, seed=4)
    voices = [np.concatenate(parts, axis=1) for parts in ((loud, quiet), (quiet[:, : 5 * RATE_HZ], loud))]
    found = [made(generator, Request("tse", given, ArrayAudio(voice, RATE_HZ))) for voice in (*voices, wave(5.0, seed=5))]
    assert np.array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2], atol=1e-3)


def test_an_echo_reference_runs_along_with_the_input(generator):
    given, far = audio(3.0), wave(3.0, seed=6)
    changed = far.copy()
    changed[:, 2 * RATE_HZ :] = 0.1
    first, second = (made(generator, Request("aec", given, ArrayAudio(one, RATE_HZ)))[0, 0] for one in (far, changed))
    assert np.array_equal(first[: round(1.3 * RATE_HZ)], second[: round(1.3 * RATE_HZ)])
    assert not np.allclose(first[round(2.5 * RATE_HZ) :], second[round(2.5 * RATE_HZ) :], atol=1e-3)
    with pytest.raises(ValueError, match=r"1\.5 s of reference for 3\.0 s of x"):
        made(generator, Request("aec", given, ArrayAudio(far[:, :24000], RATE_HZ, "y")))


def test_separated_speakers_keep_their_places_through_a_long_file(generator):
    request, options = Request("ss", audio(6.0)), Options(windowing=SHORT)
    windows = windows_of(150, *SHORT.frames(generator.frame_rate_hz))
    parts, per_frame = list(generator._parts(request, windows, options)), generator.samples_per_frame
    fade = round(SHORT.fade_s * RATE_HZ)
    as_made = whole(joined(parts, per_frame, fade))
    in_place = whole(joined(in_order(parts, per_frame), per_frame, fade))
    found = made(generator, request, options)
    assert np.array_equal(found, in_place) and not np.array_equal(found, as_made)


def test_the_chain_is_restoration_extraction_and_the_other_speaker(generator):
    given = audio(2.5)
    options = Options(chained=True, windowing=SHORT)
    found = made(generator, Request("ss", given), options)
    plain = Options(windowing=SHORT)
    restored = made(generator, Request("sr", given), plain)
    voice = ArrayAudio(restored[0], RATE_HZ)
    for number, name in enumerate(("tse", "rtse")):
        assert np.array_equal(found[[number]], made(generator, Request(name, given, voice), plain))


@pytest.mark.filterwarnings("ignore:.*did not end by itself")
@pytest.mark.parametrize("design", ["fixed", "dynamic", "spectral"])
def test_a_free_target_ends_at_its_cap_and_all_channels_get_it(generators, design):
    generator, text = generators[design], "Insert 'not' after 'do'."
    options = Options(windowing=SHORT, max_output_s=1.5)
    found = made(generator, Request("speech_edit", audio(1.2, channels=2, rate_hz=44100), text=text), options)
    assert found.shape[:2] == (1, 2) and 0 < found.shape[2] <= 1.5 * 44100 and np.array_equal(found[:, 0], found[:, 1])
    spoken = made(generator, Request("tta", text="rain"), options)
    assert spoken.shape[:2] == (1, 1) and 0 < spoken.shape[2] <= 1.5 * generator.sample_rate_hz


def test_a_free_task_refuses_what_is_over_its_cap(generator):
    with pytest.raises(ValueError, match=r"x: 2\.0 s; task event_edit takes at most 1\.5 s at once"):
        made(generator, Request("event_edit", audio(2.0), text="Add rain."), Options(max_output_s=1.5))


@pytest.mark.parametrize(
    ("request_", "options", "said"),
    [
        (Request("tsee"), Options(), "did you mean"),
        (Request("sr"), Options(), "task sr: input missing"),
        (Request("tse", audio(1.0)), Options(), "reference missing"),
        (Request("lass", audio(1.0)), Options(), "text missing"),
        (Request("sr", audio(1.0), text="x"), Options(), "no use for text"),
        (Request("lass", audio(1.0), text=" "), Options(), "the text is empty"),
        (Request("lass", audio(1.0), text="dog " * 200), Options(), "at most 512"),
        (Request("lass", audio(1.0), text="\U00013000 barks"), Options(), "does not know"),
        (Request("lass", audio(1.0), text="a\x00dog"), Options(), "control characters"),
        (Request("sr", audio(1.0)), Options(chained=True), "chained is for the task ss"),
    ],
)
def test_what_a_task_cannot_take_is_said_before_anything_is_made(generator, request_, options, said):
    with pytest.raises(ValueError, match=said):
        generator.stream(request_, options)


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"batch_windows": 0}, {"reference_s": 0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)


def test_array_audio_is_audio():
    plain: Audio = audio(0.1)
    assert plain.num_channels == 1 and plain.num_samples == 1600
