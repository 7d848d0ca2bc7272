import msgspec
import pytest

from simulation.example import REASONS, Clip, SourceError


def clip(**changes) -> Clip:
    values = {"id": "a", "path": "a.flac", "role": "speech", "sample_rate_hz": 44100, "start_frame": 0, "num_frames": 44100}
    return Clip(**(values | {"licence": "CC0", "sha256": ""} | changes))


@pytest.mark.parametrize(("num_frames", "num_samples"), [(44100, 16000), (1, 1), (44101, 16001), (0, 0)])
def test_a_resampled_clip_is_rounded_up_to_whole_samples(num_frames, num_samples):
    assert clip(num_frames=num_frames).num_samples(16000) == num_samples


def test_a_clip_comes_back_from_json():
    assert msgspec.json.decode(msgspec.json.encode(clip(text="hello")), type=Clip) == clip(text="hello")


def test_a_source_error_names_file_reason_and_finding():
    error = SourceError("id1", "a/b.wav", "truncated", "7 of 9 frames")
    assert all(part in str(error) for part in ("id1", "a/b.wav", "truncated", "7 of 9 frames"))
    assert error.reason in REASONS
