from dataclasses import replace

import numpy as np
import pytest

from infra.shards import encode_flac, encode_npy
from lm.config import TokenConfig
from training.data.quarantine import Rejected
from training.data.token_examples import Cutting, Encoded, decode, num_prefix

TOKENS = TokenConfig(num_acoustic=3, num_semantic=2, codebook_size=32)
DYNAMIC = replace(TOKENS, max_duration_frames=4)
WHOLE = Cutting(TOKENS, max_positions=8192, crop_s=60.0, reference_s=60.0)


def parts(clip: int = 0, epoch: int = 0) -> tuple:
    return (0, "source", epoch, clip)


def frames_of(wave: np.ndarray) -> list[int]:
    """The number that every frame of `made` is filled with."""
    return wave.reshape(-1, 640)[:, 320].tolist()


def numbered(num_frames: int, rate_hz: int = 16000) -> np.ndarray:
    return np.repeat(np.arange(num_frames, dtype=np.int16), rate_hz // 25)[None]


def made(task: str = "sr", num_frames: int = 20, *, rate_hz: int = 16000, targets=("target",), **changes) -> Encoded:
    """An example whose input and first codes say the number of each frame (below 32)."""
    codes = np.tile(np.arange(num_frames, dtype=np.int16) % 32, (3, 1))
    members = {
        f"{role}_{stream}.npy": encode_npy(codes[:layers])
        for role in targets
        for stream, layers in (("acoustic", 3), ("semantic", 2))
    }
    row = {"key": "key", "task": task, "text": None, "sample_rate_hz": rate_hz, "target_roles": list(targets)}
    for role, count in (("input", num_frames), ("reference", changes.pop("reference_frames", 0))):
        row[f"{role}_num_samples"] = count * rate_hz // 25
        if count:
            members[f"{role}.flac"] = encode_flac(numbered(count, rate_hz), rate_hz)
    return Encoded(row | changes, members, "shard/key")


def test_a_short_example_is_whole():
    example = decode(WHOLE, made(), parts())
    assert frames_of(example.input) == list(range(20))
    assert example.acoustic_KF.shape == (3, 20) and example.semantic_KF.shape == (2, 20)
    assert example.acoustic_KF.dtype == np.int64 and example.input.dtype == np.int16
    assert example.reference is None and example.text is None
    assert ((example.draws_C >= 0) & (example.draws_C < 1)).all() and example.draws_C.shape == (3,)


def test_input_and_tokens_are_cut_together_at_a_frame():
    cutting, starts = replace(WHOLE, crop_s=0.2), set()
    for clip in range(40):
        example = decode(cutting, made(), parts(clip))
        assert frames_of(example.input) == example.acoustic_KF[0].tolist() == example.semantic_KF[1].tolist()
        assert example.acoustic_KF.shape[1] == 5
        starts.add(int(example.acoustic_KF[0, 0]))
    assert {0, 15} <= starts <= set(range(16))


def test_a_cut_is_that_of_example_and_epoch():
    cutting = replace(WHOLE, crop_s=0.2)
    found = [decode(cutting, made(), parts(clip, epoch)) for clip in range(4) for epoch in range(4)]
    again = [decode(cutting, made(), parts(clip, epoch)) for clip in range(4) for epoch in range(4)]
    for one, other in zip(found, again):
        assert np.array_equal(one.acoustic_KF, other.acoustic_KF) and np.array_equal(one.draws_C, other.draws_C)
    assert len({one.draws_C.tobytes() for one in found}) == 16


def test_the_model_s_positions_are_a_limit_too():
    for task, targets in (("sr", ("target",)), ("ss", ("source1", "source2"))):
        cutting = replace(WHOLE, max_positions=30)
        example = decode(cutting, made(task, targets=targets), parts())
        assert 22 <= example.num_positions <= 30
        assert frames_of(example.input) == example.acoustic_KF[0, : len(example.input) // 640].tolist()


def test_two_targets_are_cut_alike_one_after_the_other():
    example = decode(replace(WHOLE, crop_s=0.2), made("ss", targets=("source1", "source2")), parts())
    assert example.acoustic_KF[0].tolist() == 2 * frames_of(example.input)


def test_the_reference_of_echo_is_cut_with_the_input_and_others_for_themselves():
    cutting = replace(WHOLE, crop_s=0.2, reference_s=0.12)
    echo = decode(cutting, made("aec", reference_frames=20), parts())
    assert frames_of(echo.reference) == frames_of(echo.input)
    starts = set()
    for clip in range(40):
        voice = decode(cutting, made("tse", reference_frames=30), parts(clip)).reference
        assert len(voice) == 3 * 640
        starts.add(int(voice[0]))
    assert len(starts) > 10


def with_input_codes(found: Encoded, num_frames: int = 20) -> Encoded:
    codes = np.tile(np.arange(num_frames, dtype=np.int16) % 32, (3, 1))
    members = {"input_acoustic.npy": encode_npy(codes), "input_semantic.npy": encode_npy(codes[:2])}
    return Encoded(found.row | {"has_input_codes": True}, found.members | members, found.where)


@pytest.mark.parametrize("crop_s", [0.2, 60.0])
def test_the_input_s_tokens_are_cut_with_it(crop_s):
    for clip in range(10):
        example = decode(replace(WHOLE, crop_s=crop_s), with_input_codes(made()), parts(clip))
        assert example.input_codes.shape == (example.acoustic_KF.shape[1], 5) and example.input_codes.dtype == np.int64
        assert example.input_codes[:, 0].tolist() == example.input_codes[:, 4].tolist() == frames_of(example.input)
    assert decode(WHOLE, made(), parts()).input_codes is None


def test_an_input_s_tokens_that_are_missing_or_of_another_length_are_rejected():
    with pytest.raises(Rejected, match="tokens of 19 frames, an input of 20"):
        decode(WHOLE, with_input_codes(made(), 19), parts())
    with pytest.raises(Rejected, match=r"no input_acoustic\.npy"):
        decode(WHOLE, replace(made(), row=made().row | {"has_input_codes": True}), parts())


def with_features(found: Encoded) -> Encoded:
    """Features that say the number of their frame of the codec, for each wave."""
    members = dict(found.members)
    for role in ("input", "reference"):
        count = found.row[f"{role}_num_samples"] // 320
        members[f"{role}_features.npy"] = encode_npy(np.repeat(np.arange(count, dtype=np.float16)[:, None] // 2, 3, axis=1))
    return Encoded(found.row | {"has_features": True}, members, found.where)


@pytest.mark.parametrize("task", ["aec", "tse"])
def test_kept_features_are_cut_with_their_waves(task):
    cutting = replace(WHOLE, crop_s=0.2, reference_s=0.11)  # no whole number of frames
    for clip in range(20):
        example = decode(cutting, with_features(made(task, reference_frames=20)), parts(clip))
        for wave, features in (
            (example.input, example.input_features),
            (example.reference, example.reference_features),
        ):
            assert features.dtype == np.float16 and features.shape == (-(-len(wave) // 320), 3)
            assert features[:, 0].tolist() == wave[::320].tolist()


def test_features_are_there_only_where_they_were_kept_and_as_long_as_the_audio():
    plain = decode(WHOLE, made("tse", reference_frames=5), parts())
    assert plain.input_features is None and plain.reference_features is None
    found = with_features(made())
    found.members["input_features.npy"] = encode_npy(np.zeros((39, 3), np.float16))
    with pytest.raises(Rejected, match=r"features \(39, 3\) of 12800 samples"):
        decode(WHOLE, found, parts())


def test_a_dynamic_rate_is_cut_between_groups():
    durations = np.array([3, 1, 4, 2, 2, 4, 1, 3])  # 20 frames
    codes = ((durations - 1) * 32 + np.arange(8)).astype(np.int16)
    found = made()
    found.members["target_acoustic.npy"] = encode_npy(np.tile(codes, (3, 1)))
    found.members["target_semantic.npy"] = encode_npy(np.tile(codes, (2, 1)))
    ends, cutting = np.cumsum(durations), Cutting(DYNAMIC, 8192, 0.3, 60.0)
    for clip in range(40):
        example = decode(cutting, found, parts(clip))
        groups = example.acoustic_KF[0] % 32
        begin, end = int(ends[groups[0]] - durations[groups[0]]), int(ends[groups[-1]])
        assert groups.tolist() == list(range(groups[0], groups[-1] + 1))
        assert 4 <= end - begin <= 7
        assert frames_of(example.input) == list(range(begin, end))


@pytest.mark.parametrize("rate_hz", [48000, 8000])
def test_other_rates_are_brought_to_that_of_the_encoders(rate_hz):
    example = decode(replace(WHOLE, crop_s=0.2), made(rate_hz=rate_hz), parts())
    assert len(example.input) == 5 * 640
    assert np.abs(np.array(frames_of(example.input)) - example.acoustic_KF[0]).max() <= 1


def test_several_channels_are_averaged():
    found = made()
    both = np.concatenate([numbered(20), numbered(20) + 2])
    found.members["input.flac"] = encode_flac(both.astype(np.int16), 16000)
    assert frames_of(decode(WHOLE, found, parts()).input) == list(range(1, 21))


def test_a_free_target_is_never_cut():
    cutting = replace(WHOLE, crop_s=0.2)
    example = decode(cutting, made("event_edit", text="Remove the dog."), parts())
    assert example.acoustic_KF.shape[1] == 20 and len(example.input) == 20 * 640
    speech = decode(cutting, made("tta", text="Hello.", input_num_samples=0), parts())
    assert speech.input is None and speech.acoustic_KF.shape[1] == 20


def test_positions_are_counted_from_above():
    example = decode(WHOLE, made("event_edit", text="Remove."), parts())
    assert example.num_positions == 1 + (1 + 2 * 7 + 2) + (1 + 40) + (40 + 2)
    assert num_prefix(None, []) == 1


@pytest.mark.parametrize(
    ("member", "content", "reason"),
    [
        ("target_acoustic.npy", encode_npy(np.full((3, 20), 32, np.int16)), "wrong_tokens"),  # no such code
        ("target_acoustic.npy", encode_npy(np.full((3, 20), -1, np.int16)), "wrong_tokens"),
        ("target_acoustic.npy", encode_npy(np.zeros((4, 20), np.int16)), "wrong_tokens"),  # a layer too many
        ("target_semantic.npy", encode_npy(np.zeros((2, 19), np.int16)), "wrong_tokens"),
        ("target_semantic.npy", b"no array", "undecodable"),
        ("input.flac", b"no audio", "undecodable"),
        ("input.flac", encode_flac(numbered(20)[:, :-1], 16000), "wrong_length"),
        ("input.flac", encode_flac(numbered(20), 8000), "wrong_rate"),
        ("input.flac", None, "missing"),
    ],
)
def test_what_cannot_serve_is_rejected_with_a_reason(member, content, reason):
    found = made()
    found.members[member] = content
    if content is None:
        del found.members[member]
    with pytest.raises(Rejected) as caught:
        decode(WHOLE, found, parts())
    assert (caught.value.reason, caught.value.key, caught.value.file) == (reason, "key", "shard/key")


def test_durations_that_differ_between_layers_and_targets_of_other_length_are_rejected():
    found = made()
    found.members["target_semantic.npy"] = encode_npy(np.full((2, 20), 33, np.int16))
    with pytest.raises(Rejected, match="wrong_tokens"):
        decode(replace(WHOLE, tokens=DYNAMIC), found, parts())
    with pytest.raises(Rejected, match="targets of \\[20\\] frames, an input of 25"):
        longer = made()
        longer.members["input.flac"] = encode_flac(numbered(25), 16000)
        decode(WHOLE, replace(longer, row=longer.row | {"input_num_samples": 16000}), parts())
