"""Shards that were cut or damaged: found from the manifest row, or from the bytes alone, and never another error."""

import io
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.shards import ShardError, read
from tests.infra.made_shards import FLAC, SHA256, SHARD, tar


def test_every_cut_is_found_from_the_manifest_row_before_anything_is_read():
    for cut in np.linspace(0, len(SHARD) - 1, 200).astype(int):
        samples = read(SHARD[:cut], "out/shard-000003.tar", SHA256, 4)
        with pytest.raises(ShardError, match=r"out/shard-000003.tar: \d+ bytes whose sha256 is not the manifest's"):
            next(samples)


def test_every_cut_into_the_content_is_found_without_a_manifest_too():
    end = len(SHARD.rstrip(b"\0")) + 1024  # the rest is padding
    for cut in np.linspace(0, end - 1, 200).astype(int):
        with pytest.raises(ShardError, match="shard: "):
            list(read(SHARD[:cut], "shard"))


def test_another_number_of_examples_than_the_manifest_says_is_refused():
    with pytest.raises(ShardError, match="4 examples, its manifest says 5"):
        list(read(SHARD, "shard", SHA256, 5))


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "delete", "copy"]), st.integers(0, len(SHARD) - 1), st.binary(max_size=600)
    ),
    min_size=1,
    max_size=4,
)


def mutated(mutations: list[tuple[str, int, bytes]]) -> bytes:
    data = SHARD
    for kind, place, piece in mutations:
        place %= max(len(data), 1)
        match kind:
            case "flip":
                data = data[:place] + bytes([data[place] ^ (len(piece) % 255 + 1)]) + data[place + 1 :] if data else data
            case "cut":
                data = data[:place]
            case "insert":
                data = data[:place] + piece + data[place:]
            case "delete":
                data = data[:place] + data[place + 512 :]
            case "copy":
                data = data[:place] + data[place // 2 : place // 2 + 1024] + data[place:]
    return data


@given(MUTATIONS)
@settings(max_examples=600, deadline=None)
def test_a_damaged_shard_raises_nothing_but_shard_error_and_never_passes_its_hash(mutations):
    data = mutated(mutations)
    try:
        samples = list(read(data, "shard"))
    except ShardError as error:
        assert str(error).startswith("shard: ")
    else:
        assert all(sample.members for sample in samples)
    if data != SHARD:
        with pytest.raises(ShardError, match="sha256"):
            next(read(data, "shard", SHA256))


@given(st.binary(max_size=3000), st.sampled_from(["a.flac", "a.json", "a.npy", "a.txt"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_under_an_allowed_name_raise_nothing_but_shard_error(data, name, headed):
    magic = {"a.flac": FLAC[:60], "a.npy": b"\x93NUMPY\x01\x00", "a.json": b'{"a":', "a.txt": b""}[name]
    try:
        list(read(tar((name, magic * headed + data)), "shard"))
    except ShardError as error:
        assert str(error).startswith("shard: a.")


def test_a_bit_of_damage_to_a_header_is_found_where_tarfile_sees_the_end():
    second = SHARD.index(b"sr-000001.input.flac")
    damaged = bytearray(SHARD)
    damaged[second] ^= 1
    with tarfile.open(fileobj=io.BytesIO(bytes(damaged))) as file:
        assert len(file.getmembers()) == 4  # of 16, and no error
    with pytest.raises(ShardError, match=f"at byte {second}: not a tar header"):
        list(read(bytes(damaged), "shard"))
