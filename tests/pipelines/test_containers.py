"""Files are really written, then really cut."""

import io
import struct

import numpy as np
import pytest
import soundfile

from pipelines.containers import fault

RATE_HZ = 16000
KINDS = {
    "wav": {"format": "WAV"},
    "wav float": {"format": "WAV", "subtype": "FLOAT"},
    "rf64": {"format": "RF64"},
    "vorbis": {"format": "OGG"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}


def encoded(kind: str, seconds: float = 1.5) -> bytes:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * RATE_HZ))
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, RATE_HZ, **KINDS[kind])
    return buffer.getvalue()


def without_tag(mp3: bytes) -> bytes:
    """The MP3 stream without its first frame, which holds the Xing tag."""
    second = mp3.index(mp3[:2], 4)
    return mp3[second:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_has_no_fault(kind):
    assert fault(encoded(kind)) is None


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_truncated_wherever_it_was_cut(kind, cut):
    whole = encoded(kind)
    reason, _ = fault(whole[: int(cut * len(whole))])
    assert reason == "truncated"


def test_an_ogg_file_cut_between_two_pages_is_truncated():
    whole = encoded("vorbis")
    last = whole.rindex(b"OggS")
    assert fault(whole[:last]) == ("truncated", f"the last of {whole[:last].count(b'OggS')} OGG pages does not end the stream")


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_a_flipped_bit_in_an_ogg_page_is_found(kind):
    data = bytearray(encoded(kind))
    data[len(data) // 2] ^= 1
    reason, detail = fault(bytes(data))
    assert (reason, "checksum of OGG page" in detail) == ("undecodable", True)


def test_an_mp3_without_a_tag_is_truncated_if_its_last_frame_is():
    whole = without_tag(encoded("mp3"))
    assert fault(whole) is None
    assert fault(whole[:-5])[0] == "truncated"
    assert fault(b"ID3\x04\0\0\0\0\0\x04abcd" + whole[:-5])[0] == "truncated"


def test_tags_behind_an_mp3_do_no_harm():
    assert fault(encoded("mp3") + b"TAG" + bytes(125)) is None
    assert fault(without_tag(encoded("mp3")) + b"TAG" + bytes(125)) is None


def test_chunks_before_and_behind_the_audio_of_a_wav_do_no_harm():
    whole = encoded("wav")
    listed = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    assert fault(whole[:12] + listed + whole[12:] + listed) is None
    assert fault(whole[:12] + listed + whole[12:-9])[0] == "truncated"


def test_a_wav_written_to_a_pipe_states_no_size_and_is_left_to_the_decoder():
    data = bytearray(encoded("wav"))
    at = data.index(b"data")
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    assert fault(bytes(data)) is None


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"hello", b"fLaC", b"\xff", b"\xff\xfb\x90", b"ID3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f"]
)
def test_what_is_none_of_them_is_left_to_the_decoder(data):
    assert fault(data) is None


@pytest.mark.parametrize("data", [b"OggS", b"OggS" + bytes(22) + b"\xff", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt "])
def test_a_bare_beginning_is_truncated(data):
    assert fault(data)[0] == "truncated"
