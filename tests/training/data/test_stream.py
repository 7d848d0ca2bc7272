import json
import shutil
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from infra.command_line import TooManyRejects
from infra.s3_store import S3Store
from infra.storage import StorageError, open_store
from tests.training.data.conftest import RATE_HZ, sound, write_corpus, write_dataset
from training.data.config import DataConfig, DomainWeights
from training.data.shard_source import ShardSource
from training.data.sources import open_sources
from training.data.stream import Batching, Stream

BATCHING = Batching(seed=0, sample_rate_hz=RATE_HZ, batch_size=8, micro_batch_size=2)


@pytest.fixture(scope="session")
def mixed(config, corpus_at):
    """A configuration with shards and files of three domains."""
    return replace(config, corpora=(corpus_at,))


def opened(config, tmp_path):
    return open_sources(config, open_store(str(tmp_path / "run")))


def steps(sources, config, count, batching=BATCHING, **options):
    """The batches of some steps of one rank, and the state after them."""
    with Stream(sources, config, batching, **options) as stream:
        taken = [next(stream) for _ in range(count)]
    return [batches for batches, _ in taken], taken[-1][1]


def joined(sources, config, count, world_size, **options):
    """The batches of all ranks, in the order of the ranks, as one tuple of values a step; and their joined state."""
    ranks = [
        steps(sources, config, count, replace(BATCHING, rank=rank, world_size=world_size), **options)
        for rank in range(world_size)
    ]
    values = [flat([batch for batches, _ in ranks for batch in batches[step]]) for step in range(count)]
    return values, {number: state for _, states in ranks for number, state in states.items()}


def flat(batches):
    """Keys, waves, lengths and draws of micro-batches side by side, as comparable values."""
    tensors = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("wave_BT", "num_samples_B", "draws_BN"))
    return [key for batch in batches for key in batch.keys], *(tensor.tolist() for tensor in tensors)


def keys_of(steps):
    return [key for batches in steps for batch in batches for key in batch.keys]


def test_a_batch_is_what_its_clips_are(mixed, tmp_path):
    batches, _ = steps(opened(mixed, tmp_path), mixed, 3)
    assert [len(micro) for micro in batches] == [4, 4, 4]
    for batch in (batch for micro in batches for batch in micro):
        assert batch.wave_BT.shape == (2, 800)
        assert (batch.wave_BT.dtype, batch.num_samples_B.dtype, batch.draws_BN.dtype) == (
            torch.float32,
            torch.int64,
            torch.float32,
        )
        assert batch.num_samples_B.tolist() == [800, 800]
        peaks = batch.wave_BT.abs().amax(dim=1)
        assert ((peaks > 0.0999) & (peaks < 0.9901)).all()
        assert batch.draws_BN.shape == (2, 2)
        assert ((batch.draws_BN >= 0) & (batch.draws_BN < 1)).all()


def test_clips_shorter_than_a_crop_are_padded_with_zeros(mixed, tmp_path):
    config = replace(mixed, crop_s=0.5)
    for batch in (batch for micro in steps(opened(config, tmp_path), config, 3)[0] for batch in micro):
        for wave, num_samples in zip(batch.wave_BT, batch.num_samples_B.tolist()):
            assert num_samples in (2400, 3200, 4000)
            assert wave[num_samples - 50 : num_samples].any()
            assert not wave[num_samples:].any()


def test_stereo_batches_have_two_channels(config, tmp_path):
    config = replace(config, num_channels=2)
    assert steps(opened(config, tmp_path), config, 1)[0][0][0].wave_BT.shape == (2, 2, 800)


def test_the_joined_batch_is_the_same_for_any_number_of_ranks(mixed, tmp_path):
    sources = opened(mixed, tmp_path)
    one, state = joined(sources, mixed, 12, 1)
    for world_size in (2, 4):
        assert joined(sources, mixed, 12, world_size) == (one, state)


@pytest.mark.parametrize("done", [1, 5, 11])
def test_a_stream_goes_on_bit_equal_from_any_step_on_any_number_of_ranks(mixed, tmp_path, done):
    sources = opened(mixed, tmp_path)
    whole, last = joined(sources, mixed, 14, 1)
    _, state = joined(sources, mixed, done, 4)
    state = json.loads(json.dumps(state))
    for world_size in (1, 2):
        assert joined(sources, mixed, 14 - done, world_size, state=state) == (whole[done:], last)


def test_threads_and_reading_ahead_change_nothing(mixed, tmp_path):
    sources = opened(mixed, tmp_path)
    other = replace(mixed, threads=5, prefetch_steps=4)
    assert joined(sources, mixed, 6, 1) == joined(sources, other, 6, 1)


def test_a_state_is_a_few_integers_a_logical_worker(mixed, tmp_path):
    _, state = steps(opened(mixed, tmp_path), mixed, 5)
    assert sorted(state) == ["0", "1", "2", "3"]
    for worker in state.values():
        assert worker["clips"] == 10
        assert all(len(place) == 2 for place in worker["sources"].values())


@pytest.mark.parametrize("domain", ["shards", "corpora"])
def test_every_clip_comes_once_an_epoch_in_another_order_each_time(config, corpus_at, tmp_path, domain):
    speech = DomainWeights(music=0, event=0)
    config = (
        replace(config, weights=speech)
        if domain == "shards"
        else replace(config, weights=speech, shards=(), corpora=(corpus_at,))
    )
    (source,) = opened(config, tmp_path)
    per_epoch = source.num_clips // 8  # 32 clips and 24: both a whole number of steps
    batches, _ = steps([source], config, 3 * per_epoch)
    epochs = [keys_of(batches[number * per_epoch : (number + 1) * per_epoch]) for number in range(3)]
    for keys in epochs:
        assert sorted(keys) == sorted(source.table["key"].to_pylist())
    assert len({tuple(keys) for keys in epochs}) == 3


@pytest.mark.parametrize("sizes", [(1,), (3,), (2, 1), (50,)])
def test_fewer_shards_or_clips_than_logical_workers_will_do(config, tmp_path, sizes):
    write_dataset(open_store(str(tmp_path / "sr-0")), sizes)
    config = replace(config, shards=(str(tmp_path / "sr-0"),), roles=("target",), logical_workers=8)
    sources = opened(config, tmp_path)
    one, _ = joined(sources, config, 8, 1)
    assert joined(sources, config, 8, 4)[0] == one
    counts = Counter(key for keys, *_ in one for key in keys)
    assert len(counts) == sum(sizes)


def test_crops_of_a_clip_differ_from_epoch_to_epoch(config, tmp_path):
    sources = opened(config, tmp_path)
    starts: dict[str, set] = {}
    for batches in steps(sources, config, 12)[0]:
        for batch in batches:
            for key, wave, draws in zip(batch.keys, batch.wave_BT, batch.draws_BN):
                starts.setdefault(key, set()).add((float(wave[0]), *draws.tolist()))
    assert all(len(values) == 3 for values in starts.values())


def test_domains_come_by_their_weights(mixed, tmp_path):
    config = replace(mixed, shards=())
    keys = keys_of(steps(opened(config, tmp_path), config, 60)[0])
    shares = Counter(key.partition("/")[0] for key in keys)
    assert abs(shares["speech"] / len(keys) - 0.5) < 0.08
    assert abs(shares["music"] / len(keys) - 0.25) < 0.08


class Watched:
    """A source that notes which clips are fetched."""

    def __init__(self, source):
        self.source, self.fetched = source, set()

    def __getattr__(self, name):
        return getattr(self.source, name)

    def fetch(self, clips):
        self.fetched |= set(clips.tolist())
        return self.source.fetch(clips)


def test_a_restart_does_not_read_what_is_behind(config, tmp_path):
    write_dataset(open_store(str(tmp_path / "sr-0")), (2,) * 64)
    config = replace(config, shards=(str(tmp_path / "sr-0"),), window_shards=1)
    (source,) = opened(config, tmp_path)
    _, state = steps([source], config, 28)  # 224 of 256 clips
    watched = Watched(source)
    steps([watched], config, 1, state=state)
    assert len(watched.fetched) < 64


def quarantined(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_damaged_shard_is_passed_over_and_other_logical_workers_do_not_notice(config, own_dataset, tmp_path):
    config = replace(config, shards=(str(own_dataset),), max_reject_share=0.5)
    sources = opened(config, tmp_path)
    sound_steps, _ = joined(sources, config, 4, 1)
    (own_dataset / "shard-000001.tar").write_bytes(b"gone")
    with Stream(sources, config, BATCHING, quarantine=tmp_path / "q.jsonl") as stream:
        hurt = [next(stream) for _ in range(4)]
    (row,) = quarantined(tmp_path / "q.jsonl")
    assert (row["reason"], row["key"]) == ("changed", "")
    assert row["file"].endswith("shard-000001.tar")
    lost = {f"sr-s0-{index:08d}.{role}" for index in range(6, 9) for role in ("input", "target")}
    assert not lost & set(keys_of([batches for batches, _ in hurt]))
    for worker in range(4):  # each follows its own order, without what is lost
        clips = slice(2 * worker, 2 * worker + 2)
        before = [key for keys, *_ in sound_steps for key in keys[clips]]
        after = [key for batches, _ in hurt for key in flat(batches)[0][clips]]
        kept = [key for key in before if key not in lost]
        assert after[: len(kept)] == kept
        assert len(after) == 8
    assert joined(sources, config, 4, 2)[0] == [flat(batches) for batches, _ in hurt]
    state = hurt[1][1]
    assert joined(sources, config, 2, 2, state=state)[0] == [flat(batches) for batches, _ in hurt[2:]]


def test_each_clip_that_cannot_serve_has_a_row_and_the_next_takes_its_place(config, tmp_path):
    files = {f"speech/{number:02d}": sound(number) for number in range(16)}
    nan = sound(0) / 2**15
    nan[:] = np.nan
    place = write_corpus(tmp_path / "corpus", files | {"speech/03": np.zeros(2400, np.int16)}, num_frames={
        name: 2399 if name == "speech/07" else 2400 for name in files})  # fmt: skip
    (tmp_path / "corpus" / "speech" / "05.wav").unlink()
    soundfile.write(tmp_path / "corpus" / "speech" / "09.wav", nan, RATE_HZ, subtype="FLOAT")
    whole = (tmp_path / "corpus" / "speech" / "11.wav").read_bytes()
    (tmp_path / "corpus" / "speech" / "11.wav").write_bytes(whole[:2000])
    soundfile.write(tmp_path / "corpus" / "speech" / "13.wav", sound(13), 16000)
    config = replace(config, shards=(), corpora=(place,), max_reject_share=0.5)
    batches, _ = steps(opened(config, tmp_path), config, 6, quarantine=tmp_path / "q.jsonl")
    found = {row["key"]: row["reason"] for row in quarantined(tmp_path / "q.jsonl")}
    assert found == {
        "speech/03": "silent",
        "speech/05": "missing",
        "speech/07": "wrong_length",
        "speech/09": "not_finite",
        "speech/11": "wrong_length",
        "speech/13": "wrong_rate",
    }
    assert set(keys_of(batches)) == set(files) - set(found)


def test_too_many_rejects_end_the_stream_and_its_threads(config, own_dataset, tmp_path):
    config = replace(config, shards=(str(own_dataset),), max_reject_share=0.1)
    sources = opened(config, tmp_path)
    shutil.rmtree(own_dataset)
    stream = Stream(sources, config, BATCHING)
    with pytest.raises(TooManyRejects, match="4 of 32 clips cannot serve"):
        next(stream)
    assert threads() == set()


def test_a_source_of_which_nothing_can_serve_does_not_hang(config, corpus_at, tmp_path):
    place = write_corpus(tmp_path / "corpus", {"music/0": np.zeros(2400, np.int16)})
    config = replace(config, corpora=(place,), max_reject_share=1.0)
    with pytest.raises(TooManyRejects, match="none of its 1 clips of music can serve"):
        steps(opened(config, tmp_path), config, 20)


def test_a_lost_store_ends_the_stream_with_its_name(config, dataset_at, tmp_path, monkeypatch):
    monkeypatch.setattr(S3Store.__init__, "__defaults__", (0.1,))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    source = ShardSource.of_dataset(open_store(str(dataset_at)), config)
    lost = replace(source, shards=source.shards.assign(url="s3://bucket/sr-0/" + source.shards["url"].str[-16:]))
    stream = Stream([lost], config, BATCHING, quarantine=tmp_path / "q.jsonl")
    with pytest.raises(StorageError, match=r"s3://bucket/sr-0/shard-00000.*cannot be reached"):
        next(stream)
    assert not (tmp_path / "q.jsonl").exists()  # it is not the clips' fault: after a restart they are there
    assert threads() == set()


def threads():
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(("fetch", "decode", "assemble"))}


def test_no_thread_is_left_when_a_stream_is_closed_at_any_time(mixed, tmp_path):
    sources = opened(mixed, tmp_path)
    for count in (0, 1, 3):
        with Stream(sources, mixed, BATCHING) as stream:
            for _ in range(count):
                next(stream)
            assert threads()
        assert threads() == set()


def test_the_time_a_step_waited_is_told(config, tmp_path):
    with Stream(opened(config, tmp_path), config, BATCHING) as stream:
        next(stream)
        assert stream.wait_s > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 6}, "batch size 6: give a multiple of --clips.logical-workers, which is 4"),
        ({"world_size": 3}, "3 ranks do not divide --clips.logical-workers, which is 4"),
        ({"micro_batch_size": 3}, "micro-batch size 3 does not divide the 8 clips of a rank"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(config, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Stream(opened(config, tmp_path), config, replace(BATCHING, **options))


def test_a_state_of_other_data_or_other_workers_is_refused(config, mixed, tmp_path):
    _, state = steps(opened(config, tmp_path), config, 1)
    with pytest.raises(ValueError, match="not those of the checkpoint"):
        Stream(opened(mixed, tmp_path), mixed, BATCHING, state=state)
    other = DataConfig(shards=config.shards, crop_s=0.1, logical_workers=8)
    with pytest.raises(ValueError, match=r"state is of 4 logical workers, not of 8: keep the option logical-workers"):
        Stream(opened(other, tmp_path), other, BATCHING, state=state)


@pytest.mark.s3
def test_batches_from_s3_are_those_of_a_folder(mixed, dataset_at, tmp_path, s3):
    remote = open_store(f"{s3}/sr-0")
    for path in sorted(dataset_at.rglob("*")):
        if path.is_file():
            remote.put(path.relative_to(dataset_at).as_posix(), path.read_bytes())
    there = replace(mixed, shards=(remote.url,))
    assert joined(opened(there, tmp_path), there, 6, 2) == joined(opened(mixed, tmp_path), mixed, 6, 1)
