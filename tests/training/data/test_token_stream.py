import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infra.shards import decode_npy, read_raw
from training.data.steps import Batching
from training.data.token_config import TaskWeights, TokenData
from training.data.token_source import Wanted, open_token_sources
from training.data.token_stream import TokenStream

BATCHING = Batching(seed=0, sample_rate_hz=16000, batch_size=8, micro_batch_size=2)
MAX_POSITIONS = 400


@pytest.fixture(scope="module")
def data(tokens) -> TokenData:
    places = tuple(store.url for store in tokens.values())
    return TokenData(datasets=places, crop_s=0.6, reference_s=0.4, logical_workers=4, bucket_steps=4, prefetch_steps=1)


@pytest.fixture(scope="module")
def sources(data):
    return open_token_sources(data, Wanted(MAX_POSITIONS))


def steps(sources, data, count, batching=BATCHING, **options):
    with TokenStream(sources, data, batching, MAX_POSITIONS, **options) as stream:
        taken = [next(stream) for _ in range(count)]
    return [batches for batches, _ in taken], taken[-1][1]


def joined(sources, data, count, world_size, **options):
    """The examples of all ranks at each step, in the order of their keys; and the joined state."""
    ranks = [
        steps(sources, data, count, replace(BATCHING, rank=rank, world_size=world_size), **options)
        for rank in range(world_size)
    ]
    values = [
        sorted(example for batches, _ in ranks for batch in batches[step] for example in examples(batch))
        for step in range(count)
    ]
    return values, {number: state for _, states in ranks for number, state in states.items()}


def examples(batch):
    """Each example of a micro-batch as comparable values."""
    waves = lambda part, row: None if part[row] is None else part[row].numpy().tobytes()  # noqa: E731
    for row, key in enumerate(batch.keys):
        frames = slice(0, int(batch.num_frames_B[row]))
        codes = [part[row, :, frames].tolist() for part in (batch.acoustic_BKF, batch.semantic_BKF)]
        yield (
            key,
            batch.draws_BC[row].tolist(),
            codes,
            batch.texts[row] or "",
            str(waves(batch.inputs, row)),
            str(waves(batch.references, row)),
        )


def test_a_batch_is_what_its_examples_are(sources, data):
    batches, _ = steps(sources, data, 4)
    for batch in (batch for micro in batches for batch in micro):
        assert len(batch.keys) == 2
        assert batch.acoustic_BKF.shape == (2, 3, int(batch.num_frames_B.max()))
        assert batch.semantic_BKF.shape == (2, 2, int(batch.num_frames_B.max()))
        assert (batch.acoustic_BKF.dtype, batch.num_frames_B.dtype, batch.draws_BC.dtype) == (
            torch.int64,
            torch.int64,
            torch.float32,
        )
        for row, name in enumerate(batch.tasks):
            assert batch.keys[row].startswith(name)
            wave = batch.inputs[row]
            assert (wave is None) == (name == "tta")
            if name in ("sr", "tse", "lass"):
                assert len(wave) == 640 * int(batch.num_frames_B[row]) == 640 * 15
            if name == "ss":
                assert 2 * len(wave) == 640 * int(batch.num_frames_B[row])
            if name == "tse":
                assert len(batch.references[row]) == 6400
            assert (batch.texts[row] is not None) == (name in ("lass", "tta"))
            assert wave is None or (wave.dtype == torch.float32 and 0 < wave.abs().max() <= 1)


def test_the_joined_batch_is_the_same_for_any_number_of_ranks(sources, data):
    one, state = joined(sources, data, 6, 1)
    for world_size in (2, 4):
        assert joined(sources, data, 6, world_size) == (one, state)


@pytest.mark.parametrize("done", [1, 4, 6])
def test_a_stream_goes_on_bit_equal_from_any_step_on_any_number_of_ranks(sources, data, done):
    whole, last = joined(sources, data, 9, 1)
    _, state = joined(sources, data, done, 2)
    state = json.loads(json.dumps(state))
    for world_size in (1, 4):
        assert joined(sources, data, 9 - done, world_size, state=state) == (whole[done:], last)


def test_threads_and_reading_ahead_change_nothing(sources, data):
    other = replace(data, threads=4, prefetch_steps=3)
    assert joined(sources, data, 5, 1) == joined(sources, other, 5, 1)


def test_examples_of_a_step_are_about_equally_long(sources, data):
    def spread(data):
        batches, _ = steps(sources, data, 16, replace(BATCHING, micro_batch_size=8))
        lengths = [[int(count) for batch in micro for count in batch.num_frames_B] for micro in batches]
        return sum(len(step) * max(step) - sum(step) for step in lengths) / sum(len(step) * max(step) for step in lengths)

    assert spread(replace(data, bucket_steps=8)) < 0.6 * spread(replace(data, bucket_steps=1))


def test_tasks_come_by_their_weights(tokens):
    places = tuple(tokens[name].url for name in ("sr", "tse", "lass"))
    data = TokenData(datasets=places, weights=TaskWeights(sr=2, tse=1, lass=0), logical_workers=4, crop_s=0.2)
    sources = open_token_sources(data, Wanted(MAX_POSITIONS))
    batches, _ = steps(sources, data, 40)
    counts = Counter(name for micro in batches for batch in micro for name in batch.tasks)
    assert counts.keys() == {"sr", "tse"}
    assert abs(counts["sr"] / 320 - 2 / 3) < 0.08


def test_tokens_that_are_not_those_of_the_codec_are_rejected_with_a_row(tokens, tmp_path):
    folder = Path(shutil.copytree(tokens["sr"].url, tmp_path / "sr"))
    data = TokenData(datasets=(str(folder),), logical_workers=4, bucket_steps=2, max_reject_share=0.5)
    (source,) = open_token_sources(data, Wanted(MAX_POSITIONS))
    (folder / "shard-000000.tar").write_bytes(b"gone")
    batches, _ = steps([source], data, 4, quarantine=tmp_path / "q.jsonl")
    (row,) = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    assert (row["reason"], row["file"]) == ("changed", f"{folder}/shard-000000.tar")
    lost = set(source.table["key"].to_pylist()[:4])
    assert not lost & {key for micro in batches for batch in micro for key in batch.keys}
    again, _ = joined([source], data, 4, 1)
    assert joined([source], data, 4, 2)[0] == again


def test_codes_are_those_of_the_shard(sources, data, tokens):
    whole = replace(data, crop_s=60.0)
    wide = open_token_sources(whole, Wanted(8192))
    with TokenStream(wide, whole, BATCHING, 8192) as stream:
        batch = next(stream)[0][0]
    store = tokens[batch.tasks[0]]
    contents = {key: members for name in store.list("shard-") for key, members in read_raw(store.get(name), name)}
    members = contents[batch.keys[0]]
    roles = [name for name in members if name.endswith("_acoustic.npy")]
    stored = torch.cat([torch.from_numpy(decode_npy(members[name])) for name in roles], dim=1)
    assert torch.equal(batch.acoustic_BKF[0, :, : stored.shape[1]], stored.long())
