import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray
import soundfile

from pipelines.check_audio import FOUND, STATED, Reject, Stated, check, check_all
from pipelines.file_batches import FILES_PER_TASK
from tests.pipelines.formats.conftest import sound

RATE_HZ = 16000
NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, 8000)


def encoded(audio: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, RATE_HZ, **({"format": "WAV", "subtype": "FLOAT"} | options))
    return buffer.getvalue()


def reason(data: bytes, **stated) -> str:
    with pytest.raises(Reject) as error:
        check(data, Stated(**stated))
    return error.value.reason


def with_value(value: float, at: int = 100) -> np.ndarray:
    audio = NOISE.copy()
    audio[at] = value
    return audio


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subtype": "PCM_16"},
        {"format": "FLAC", "subtype": "PCM_24"},
        {"format": "OGG", "subtype": "VORBIS"},
        {"format": "OGG", "subtype": "OPUS"},
        {"format": "MP3", "subtype": None},
    ],
)
def test_a_sound_file_gives_its_rate_length_channels_and_hash(options):
    data = encoded(NOISE, **options)
    found = check(data, Stated(rate_hz=RATE_HZ, frames=8000, duration_s=0.5))
    assert (found.sample_rate_hz, found.num_frames, found.num_channels) == (RATE_HZ, 8000, 1)
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_stereo_is_accepted():
    assert check(encoded(np.stack([NOISE, NOISE], axis=1)), Stated()).num_channels == 2


@pytest.mark.parametrize(
    "kind", [{"format": "FLAC", "subtype": None}, {}, {"format": "OGG", "subtype": None}, {"format": "MP3", "subtype": None}]
)
@pytest.mark.parametrize("cut", [0.5, 0.98])
def test_a_cut_file_is_rejected(kind, cut):
    data = encoded(NOISE, **kind)
    expected = "undecodable" if kind.get("format") == "FLAC" else "truncated"
    assert reason(data[: int(cut * len(data))]) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -5.0])
def test_values_that_are_no_sound_are_rejected(value):
    assert reason(encoded(with_value(value))) == "not_finite"


def test_a_value_that_is_no_sound_is_found_behind_the_first_block(monkeypatch):
    monkeypatch.setattr("pipelines.check_audio.FRAMES_PER_BLOCK", 1000)
    assert reason(encoded(with_value(np.nan, at=7999))) == "not_finite"
    assert check(encoded(NOISE), Stated()).num_frames == 8000


def test_float_files_may_go_somewhat_beyond_full_scale():
    assert check(encoded(with_value(1.5)), Stated()).num_frames == 8000


def test_no_samples_are_rejected():
    assert reason(encoded(np.zeros(0))) == reason(b"") == "empty"


def test_silence_is_below_90_dbfs():
    assert reason(encoded(np.zeros(8000))) == "silent"
    assert reason(encoded(NOISE * 1e-4 * 0.99)) == "silent"  # the peak is 0.3
    assert check(encoded(NOISE * 1.2e-4), Stated()).num_frames == 8000


def test_more_than_a_thousandth_of_samples_in_runs_at_full_scale_is_clipped():
    runs = NOISE.copy()
    runs[1000:1008] = 1.0
    assert check(encoded(runs), Stated()).num_frames == 8000
    runs[2000:2002] = -1.0
    assert reason(encoded(runs)) == "clipped"
    assert reason(encoded(np.clip(10 * NOISE, -1, 1), subtype="PCM_16")) == "clipped"


def test_single_samples_at_full_scale_are_not_clipping():
    peaks = NOISE.copy()
    peaks[::20] = 1.0
    assert check(encoded(peaks), Stated()).num_frames == 8000


@pytest.mark.parametrize(
    "stated, expected",
    [
        ({"rate_hz": 8000}, "wrong_rate"),
        ({"frames": 8001}, "truncated"),
        ({"frames": 7999}, "changed"),
        ({"duration_s": 0.52}, "truncated"),
        ({"duration_s": 0.4}, "changed"),
        ({"sha256": "0" * 64}, "changed"),
    ],
)
def test_a_file_that_is_not_as_stated_is_rejected(stated, expected):
    assert reason(encoded(NOISE), **stated) == expected


def test_a_duration_may_be_rounded_to_hundredths():
    assert check(encoded(NOISE), Stated(duration_s=0.505)).num_frames == 8000


def test_a_flac_file_that_states_no_length_is_rejected_with_the_remedy():
    data = bytearray(encoded(NOISE, format="FLAC", subtype=None))
    data[21] &= 0xF0  # STREAMINFO: the 36 bits of the number of samples
    data[22:26] = bytes(4)
    with pytest.raises(Reject, match="encode it again"):
        check(bytes(data), Stated())


def stated(paths: list[str]) -> pa.Table:
    columns = {"path": paths, "stated_sha256": [""] * len(paths)}
    columns |= {name: [0] * len(paths) for name in ("stated_rate_hz", "stated_frames")} | {
        "stated_duration_s": [0.0] * len(paths)
    }
    return pa.table({name: columns[name] for name in STATED.names}, schema=STATED)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, list[str]]:
    """More files than one task takes; the third is missing, the fifth damaged, the seventh a folder."""
    root = tmp_path_factory.mktemp("files")
    names = [sound(root / f"{number:03d}.wav", seconds=0.01).name for number in range(FILES_PER_TASK + 6)]
    (root / names[2]).unlink()
    (root / names[4]).write_bytes(b"no audio")
    (root / names[6]).unlink()
    (root / names[6]).mkdir()
    return str(root), names


def test_every_file_has_a_row_in_its_place(files):
    root, names = files
    found = check_all(root, stated(names), workers=0)
    assert found.schema.equals(FOUND)
    reasons = found["reason"].to_pylist()
    assert {place: code for place, code in enumerate(reasons) if code} == {2: "missing", 4: "undecodable", 6: "missing"}
    data = (Path(root) / names[-1]).read_bytes()
    assert found["sha256"].to_pylist()[-1] == hashlib.sha256(data).hexdigest()


def test_no_files_give_no_rows(tmp_path):
    assert check_all(str(tmp_path), stated([])).num_rows == 0


def dies_at_the_eighth(data: bytes, wanted: Stated):
    """A check that takes its process with it at one of the files."""
    if wanted.frames == 7:
        os._exit(1)
    return check(data, Stated())


@pytest.fixture
def own_ray():
    was_up = ray.is_initialized()
    yield
    if not was_up:
        ray.shutdown()


@pytest.mark.cluster
@pytest.mark.slow
def test_on_ray_the_rows_are_the_same_and_a_file_that_kills_its_worker_is_named(files, own_ray):
    root, names = files
    here = check_all(root, stated(names), workers=0)
    assert check_all(root, stated(names), workers=2).equals(here)
    rows = stated(names[:10]).set_column(2, STATED.field(2), pa.array(range(10), pa.int64()))
    deadly = check_all(root, rows, workers=2, check=dies_at_the_eighth)
    reasons = deadly["reason"].to_pylist()  # of the ten, in their places
    assert {place: code for place, code in enumerate(reasons) if code} == {
        2: "missing",
        4: "undecodable",
        6: "missing",
        7: "crash",
    }
