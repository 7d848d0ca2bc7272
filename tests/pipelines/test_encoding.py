"""Token shards: the codec's own codes of each target, whatever else is in the batch; conditions untouched."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from codec.model import Codec
from infra.dataset import open_dataset
from infra.shards import ShardError, decode_member, read, read_raw
from lm.audio_encoder import LogMel
from pipelines.encoding import Item, Networks, Recipe, batches, encode_shard, target_roles

RECIPE = Recipe(threshold=None, batch_s=10.0)


@pytest.fixture
def codec(codec_folder) -> Codec:
    return Codec.from_pretrained(codec_folder).eval()


@pytest.fixture
def shard(dataset):
    """Bytes and manifest rows of the first shard."""
    rows = [row for row in open_dataset(dataset).manifest.to_pylist() if row["shard"] == "shard-000000.tar"]
    return dataset.get("shard-000000.tar"), rows


def test_the_tokens_are_the_codes_of_each_target_alone(codec, shard):
    audio, rows = shard
    data, described = encode_shard(Networks(codec, "codec-id"), RECIPE, audio, rows)
    sources = {sample.key: sample for sample in read(audio, "audio")}
    samples = list(read(data, "tokens", described.sha256, len(rows)))
    assert [sample.key for sample in samples] == [row["key"] for row in rows]
    for sample, row in zip(samples, described.examples):
        target, _ = sources[sample.key].members["target.flac"]
        with torch.inference_mode():
            codes = codec.encode(torch.from_numpy(target.astype(np.float32) / 32768))
        found = sample.members["target_acoustic.npy"], sample.members["target_semantic.npy"]
        for part, alone in zip(found, (codes.acoustic_BKF[0], codes.semantic_BKF[0])):
            assert part.dtype == np.int16
            assert (part == alone.numpy()).mean() > 0.99  # a near tie may fall the other way in another batch
        assert row["num_frames"] == found[0].shape[1] == sample.members["json"]["num_frames"]["target"]
        assert sample.members["json"]["codec"] == "codec-id"


def test_conditions_are_the_bytes_they_were_and_targets_are_not_kept(codec, shard):
    audio, rows = shard
    data, _ = encode_shard(Networks(codec, "codec-id"), RECIPE, audio, rows)
    before = dict(read_raw(audio, "audio"))
    for key, members in read_raw(data, "tokens"):
        assert members["input.flac"] == before[key]["input.flac"]
        assert "target.flac" not in members
        assert decode_member("json", members["json"], key)["texts"] == decode_member("json", before[key]["json"], key)["texts"]


def test_kept_features_are_those_of_each_whole_condition(codec, shard):
    audio, rows = shard
    recipe = replace(RECIPE, features="log-mel")
    data, _ = encode_shard(Networks(codec, "codec-id", LogMel()), recipe, audio, rows)
    assert {"input_features.npy"} <= {name for _, members in read_raw(data, "tokens") for name in members}
    for sample in read(data, "tokens"):
        wave, sample_rate_hz = sample.members["input.flac"]
        assert sample_rate_hz == 16000
        alone = LogMel()(torch.from_numpy(wave[:1].astype(np.float32) / 32768))[0].numpy()
        found = sample.members["input_features.npy"]
        assert found.dtype == np.float16 and found.shape == alone.shape
        np.testing.assert_allclose(found, alone, atol=2e-3)


def test_kept_tokens_of_the_inputs_are_their_codes_and_change_no_other(codec, shard):
    audio, rows = shard
    recipe = replace(RECIPE, input_codes=True)
    found = list(read(encode_shard(Networks(codec, "id"), recipe, audio, rows)[0], "tokens"))
    plain = list(read(encode_shard(Networks(codec, "id"), RECIPE, audio, rows)[0], "tokens"))
    for sample, other in zip(found, plain):
        wave, _ = sample.members["input.flac"]
        with torch.inference_mode():
            alone = codec.encode(torch.from_numpy(wave.astype(np.float32) / 32768))
        for stream, codes in (("acoustic", alone.acoustic_BKF[0]), ("semantic", alone.semantic_BKF[0])):
            assert (sample.members[f"input_{stream}.npy"] == codes.numpy()).mean() > 0.99
            assert (sample.members[f"target_{stream}.npy"] == other.members[f"target_{stream}.npy"]).mean() > 0.99
        assert sample.members["json"]["num_frames"] == other.members["json"]["num_frames"]
        assert "input_acoustic.npy" not in other.members


def test_the_same_shard_has_the_same_bytes(codec, shard):
    audio, rows = shard
    assert encode_shard(Networks(codec, "id"), RECIPE, audio, rows) == encode_shard(Networks(codec, "id"), RECIPE, audio, rows)


def test_a_damaged_shard_and_another_rate_are_refused(codec, shard):
    audio, rows = shard
    with pytest.raises(ShardError, match="sha256"):
        encode_shard(Networks(codec, "id"), RECIPE, audio[:-1], rows)
    codec.config = replace(codec.config, teacher=codec.config.teacher)
    object.__setattr__(codec.config, "sample_rate_hz", 48000)
    with pytest.raises(ShardError, match=r"at 16000 Hz, the codec takes 48000 Hz"):
        encode_shard(Networks(codec, "id"), RECIPE, audio, rows)


def test_batches_hold_every_item_once_within_the_limit():
    rng = np.random.default_rng(0)
    items = [Item(str(n), "target", np.zeros((1, int(rng.integers(1, 90))), np.int16)) for n in range(50)]
    found = list(batches(items, 200))
    assert sorted(item.key for batch in found for item in batch) == sorted(item.key for item in items)
    assert all(len(batch) * max(item.audio.shape[1] for item in batch) <= 200 for batch in found)
    assert len(list(batches([Item("long", "target", np.zeros((1, 999), np.int16))], 200))) == 1


def test_targets_are_the_target_or_each_source():
    assert target_roles(["input", "target", "source1", "reference"]) == ["target"]
    assert target_roles(["input", "source1", "source2", "noise"]) == ["source1", "source2"]
