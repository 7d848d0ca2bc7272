"""A test set that is not the one that was named is refused, whatever has changed of it."""

from dataclasses import replace

import pytest

from pipelines.frozen import check, main, pinned
from pipelines.retrain_config import Frozen, JudgingConfig


def test_what_is_printed_is_what_is_accepted(dataset, capsys):
    (found,) = pinned((dataset.url,))
    assert check(JudgingConfig(datasets=(found,), split="train"))[0].store.url == dataset.url
    assert main([dataset.url]) == 0
    printed = capsys.readouterr().out
    assert f'place = "{dataset.url}"\nid = "{found.id}"\nmanifest_sha256 = "{found.manifest_sha256}"' in printed


def test_another_set_in_its_place_is_refused(dataset):
    (found,) = pinned((dataset.url,))
    for changed in (replace(found, id="0" * 64), replace(found, manifest_sha256="0" * 64)):
        with pytest.raises(ValueError, match="models are compared on a set that never changes"):
            check(JudgingConfig(datasets=(changed,), split="train"))
    dataset.put("manifest.parquet", dataset.get("manifest.parquet") + b"x")
    with pytest.raises(ValueError, match="changed or truncated"):
        check(JudgingConfig(datasets=(found,), split="train"))


def test_a_set_of_training_data_or_none_at_all_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match=r"of the split 'train', judging\.split is 'test'"):
        check(JudgingConfig(datasets=tuple(pinned((dataset.url,)))))
    with pytest.raises(ValueError, match=r"judging\.datasets is empty"):
        check(JudgingConfig())
    with pytest.raises(ValueError, match="no finished dataset here"):
        pinned((str(tmp_path / "none"),))
    with pytest.raises(ValueError, match="not a dataset"):
        check(JudgingConfig(datasets=(Frozen(str(tmp_path / "none"), "", ""),)))
