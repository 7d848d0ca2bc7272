import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.chunked import Chunking, decode_long, decode_pieces, encode_long, encode_pieces
from codec.codes import join
from tests.codec import samples

DESIGNS = sorted(samples.DESIGNS)
CHUNKING = Chunking(chunk_s=1.2, context_s=0.4, fade_s=0.04)


@pytest.fixture(scope="module", params=DESIGNS)
def codec(request):
    return samples.make(samples.DESIGNS[request.param])


def seconds(codec, duration_s: float, num_clips: int = 1):
    return samples.noises(num_clips, int(duration_s * codec.config.sample_rate_hz), seed=7)


def test_audio_that_fits_into_one_chunk_is_coded_as_without(codec):
    wave_BT = seconds(codec, 1.5, 2)
    whole = codec.encode(wave_BT)
    chunked = encode_long(codec, wave_BT, chunking=CHUNKING)
    assert torch.equal(chunked.acoustic_BKF, whole.acoustic_BKF) and torch.equal(chunked.semantic_BKF, whole.semantic_BKF)
    assert torch.equal(decode_long(codec, whole, chunking=CHUNKING), codec.decode(whole))


@settings(max_examples=6, deadline=None)
@given(duration_s=st.floats(0.01, 6), cuts=st.lists(st.floats(0.01, 0.99), max_size=5))
def test_the_pieces_that_audio_comes_in_do_not_matter(codec, duration_s, cuts):
    wave_BT = seconds(codec, duration_s)
    num_samples = wave_BT.shape[1]
    edges = [0, *sorted(int(cut * num_samples) for cut in cuts), num_samples]
    pieces = [wave_BT[:, start:stop] for start, stop in itertools.pairwise(edges)]
    whole = encode_long(codec, wave_BT, chunking=CHUNKING)
    parts = join(list(encode_pieces(codec, pieces, chunking=CHUNKING)))
    assert torch.equal(parts.acoustic_BKF, whole.acoustic_BKF) and torch.equal(parts.semantic_BKF, whole.semantic_BKF)
    num_frames = -(-num_samples // codec.config.samples_per_frame)
    assert int(whole.durations_BF.sum()) == num_frames and whole.num_samples_B.tolist() == [num_samples]
    assert decode_long(codec, whole, chunking=CHUNKING).shape == wave_BT.shape


def test_codes_are_those_of_the_whole_where_nothing_reaches_further_than_the_context():
    """Without LSTMs and attention the encoders, and the log-mel teacher, see less than the second of context."""
    codec = samples.make(replace(samples.FIXED, seanet=replace(samples.FIXED.seanet, num_layers=0)))
    wave_BT = seconds(codec, 7.3)
    whole, chunked = codec.encode(wave_BT), encode_long(codec, wave_BT, chunking=Chunking(chunk_s=1.2))
    assert torch.equal(chunked.acoustic_BKF, whole.acoustic_BKF) and torch.equal(chunked.semantic_BKF, whole.semantic_BKF)


def test_what_does_reach_further_changes_few_codes():
    codec = samples.make(samples.FIXED)
    wave_BT = seconds(codec, 20)
    whole, chunked = codec.encode(wave_BT), encode_long(codec, wave_BT)
    assert (chunked.acoustic_BKF == whole.acoustic_BKF)[:, 0].float().mean() > 0.95
    assert (chunked.semantic_BKF == whole.semantic_BKF).float().mean() > 0.99


def test_decoded_chunks_stay_close_to_the_whole_and_have_no_seams(codec):
    codes = codec.encode(seconds(codec, 8))
    whole_T, chunked_T = codec.decode(codes)[0], decode_long(codec, codes, chunking=CHUNKING)[0]
    error_T = (whole_T - chunked_T).abs()
    assert 10 * torch.log10(whole_T.square().sum() / error_T.square().sum()) > 10
    chunk = CHUNKING.frames(codec)[0] * codec.config.samples_per_frame
    steps_T = chunked_T.diff().abs()
    at_cuts = [steps_T[cut - 3 : cut + 3].max() for cut in range(chunk, len(chunked_T) - 3, chunk)]
    assert len(at_cuts) >= 5 and max(at_cuts) < steps_T.max()
    fade = round(CHUNKING.fade_s * codec.config.sample_rate_hz)
    near = torch.stack([error_T[cut - fade : cut + fade].mean() for cut in range(chunk, len(chunked_T) - fade, chunk)])
    assert near.mean() < 2 * error_T.mean()


def test_memory_is_bounded_by_the_chunk(codec, monkeypatch):
    longest = []
    for name in ("encode", "decode"):
        original = getattr(codec, name)

        def watched(given, *arguments, original=original, **options):
            longest.append(given.shape[-1] if isinstance(given, torch.Tensor) else int(given.num_samples_B.max()))
            return original(given, *arguments, **options)

        monkeypatch.setattr(codec, name, watched)
    pieces = list(decode_pieces(codec, encode_long(codec, seconds(codec, 9), chunking=CHUNKING), chunking=CHUNKING))
    chunk, context = CHUNKING.frames(codec)
    assert max(longest) <= (chunk + 2 * context) * codec.config.samples_per_frame
    assert len(longest) == 2 * len(pieces) > 12


def test_long_stereo_comes_back_as_stereo(codec):
    wave_B2T = seconds(codec, 4, 2)[None]
    codes = encode_long(codec, wave_B2T, chunking=CHUNKING)
    assert codes.num_channels == 2
    assert decode_long(codec, codes, chunking=CHUNKING).shape == wave_B2T.shape


@pytest.mark.parametrize("options", [{"chunk_s": 0}, {"context_s": -1}, {"context_s": 0.01}, {"fade_s": -1}, {"chunk_s": 0.05}])
def test_chunks_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="must be above 0"):
        Chunking(**options)


def test_no_audio_and_clips_of_several_lengths_are_refused(codec):
    with pytest.raises(ValueError, match="no audio"):
        list(encode_pieces(codec, []))
    codes = codec.encode(seconds(codec, 1, 2), torch.tensor([9000, 5000]))
    with pytest.raises(ValueError, match="one length"):
        decode_long(codec, codes)
