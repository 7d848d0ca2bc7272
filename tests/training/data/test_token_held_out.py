import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.data.token_config import TokenData
from training.data.token_examples import Cutting
from training.data.token_held_out import batched, first_examples
from training.data.token_source import Wanted, open_token_sources


@pytest.fixture(scope="module")
def sources(tokens):
    return open_token_sources(TokenData(datasets=tuple(store.url for store in tokens.values())), Wanted(8192))


@pytest.fixture(scope="module")
def cutting(sources):
    return Cutting(sources[0].tokens, 8192, crop_s=0.5, reference_s=0.5)


def test_so_many_of_each_task_in_an_order_of_their_own(sources, cutting):
    few = first_examples(sources, cutting, 2)
    assert {name: [one.task for one in few].count(name) for name in ("sr", "tse", "lass", "ss", "tta")} == dict.fromkeys(
        ("sr", "tse", "lass", "ss", "tta"), 2
    )
    more = first_examples(sources, cutting, 3)
    assert {one.key for one in few} < {one.key for one in more}
    assert len(first_examples(sources, cutting, 1000)) == sum(source.num_clips for source in sources)
    again = {one.key: one for one in first_examples(sources[::-1], cutting, 3)}
    for one in more:
        assert np.array_equal(one.acoustic_KF, again[one.key].acoustic_KF)


def test_what_cannot_serve_is_passed_over_with_a_note(tokens, cutting, tmp_path, capsys):
    folder = Path(shutil.copytree(tokens["sr"].url, tmp_path / "sr"))
    sources = open_token_sources(TokenData(datasets=(str(folder),)), Wanted(8192))
    (folder / "shard-000000.tar").write_bytes(b"gone")
    assert len(first_examples(sources, cutting, 8)) == 4
    assert capsys.readouterr().out.count("example left out") == 4


def test_batches_are_of_like_length_and_hold_every_example(sources, cutting):
    found = first_examples(sources, replace(cutting, crop_s=60.0), 1000)
    batches = batched(found, 4)
    assert sorted(key for batch in batches for key in batch.keys) == sorted(one.key for one in found)
    lengths = {one.key: one.num_positions for one in found}
    ordered = [lengths[key] for batch in batches for key in batch.keys]
    assert ordered == sorted(ordered)
    assert batched([], 4) == []
