from dataclasses import replace

import numpy as np
import pytest

from infra.dataset import DESCRIPTION
from infra.storage import open_store
from tests.training.data.conftest import sound, write_corpus, write_dataset
from training.data.config import DataConfig, DomainWeights
from training.data.sources import Mixture, open_sources


@pytest.fixture
def run(tmp_path):
    """The folder of a run."""
    return open_store(str(tmp_path / "run"))


def test_corpora_and_datasets_are_opened_and_domains_without_weight_left_out(corpus_at, dataset_at, run):
    config = DataConfig(corpora=(corpus_at,), shards=(str(dataset_at),), weights=DomainWeights(music=0))
    assert [source.domain for source in open_sources(config, run)] == ["event", "speech", "speech"]
    noise = DataConfig(corpora=(corpus_at,), weights=DomainWeights(0, 0, 0, noise=1))
    with pytest.raises(ValueError, match=r"no data to train on \(event, music, speech\)"):
        open_sources(noise, run)


def test_a_folder_of_datasets_is_all_of_them(tmp_path, run):
    for name, task in (("sr-0", "sr"), ("lass-0", "lass")):
        write_dataset(open_store(str(tmp_path / "data" / name)), (2,), task)
    sources = open_sources(DataConfig(shards=(str(tmp_path / "data"),)), run)
    assert [source.domain for source in sources] == ["event", "speech"]
    assert {source.domain for source in open_sources(DataConfig(shards=(f"music={tmp_path}/data",)), run)} == {"music"}


def test_nothing_named_and_nothing_there_are_refused_with_a_remedy(tmp_path, own_dataset, run):
    with pytest.raises(ValueError, match="name --corpus or --data of a domain"):
        open_sources(DataConfig(), run)
    with pytest.raises(ValueError, match=r"no finished dataset here.*speech="):
        open_sources(DataConfig(shards=(f"{tmp_path}/none",)), run)
    (own_dataset / DESCRIPTION).unlink()
    with pytest.raises(ValueError, match="no finished dataset here"):
        open_sources(DataConfig(shards=(str(own_dataset),)), run)
    with pytest.raises(ValueError, match="did you mean 'music'"):
        open_sources(DataConfig(shards=("musik=data",)), run)


def test_the_same_data_twice_are_refused(dataset_at, own_dataset, run):
    with pytest.raises(ValueError, match="are the same data"):
        open_sources(DataConfig(shards=(str(dataset_at), str(own_dataset))), run)


def test_a_dataset_of_held_out_speakers_is_not_trained_on(tmp_path, run):
    store = write_dataset(open_store(str(tmp_path / "sr-0")), (2,), split="test")
    with pytest.raises(ValueError, match="of the split 'test' of their corpus, train is wanted here"):
        open_sources(DataConfig(shards=(store.url,)), run)
    assert open_sources(DataConfig(shards=(store.url,)), run, ("test", "valid"))[0].num_clips == 4


def test_tars_of_others_are_never_held_out(dataset_at, run):
    tars = DataConfig(shards=(f"speech={dataset_at}/shard-{{000000..000002}}.tar",))
    assert open_sources(tars, run)[0].num_clips == 32
    with pytest.raises(ValueError, match="test is wanted here"):
        open_sources(tars, run, ("test",))


def test_domains_are_drawn_by_their_weights_and_sources_of_one_by_their_clips(corpus_at, tmp_path, run):
    more = write_corpus(tmp_path / "more", {f"speech/{number}": sound(number) for number in range(8)})
    sources = open_sources(DataConfig(corpora=(corpus_at, more)), run)
    mixture = Mixture(sources, DomainWeights(), 0)
    drawn = np.bincount([mixture(0, number) for number in range(8000)], minlength=4) / 8000
    assert [source.domain for source in sources] == ["event", "music", "speech", "speech"]
    assert np.abs(drawn - [0.25, 0.25, 0.5 * 24 / 32, 0.5 * 8 / 32]).max() < 0.02


def test_missing_domains_drop_out_with_a_note(corpus_at, run, capsys):
    sources = [source for source in open_sources(DataConfig(corpora=(corpus_at,)), run) if source.domain != "music"]
    mixture = Mixture(sources, DomainWeights(), 0)
    assert "no clips of music are there: 33% event, 67% speech instead" in capsys.readouterr().out
    drawn = np.bincount([mixture(0, number) for number in range(4000)]) / 4000
    assert np.abs(drawn - [1 / 3, 2 / 3]).max() < 0.03


def test_a_draw_depends_on_seed_worker_and_number_only(corpus_at, run):
    sources = open_sources(DataConfig(corpora=(corpus_at,)), run)

    def draws(seed, worker):
        mixture = Mixture(sources, DomainWeights(), seed)
        return [mixture(worker, number) for number in range(50)]

    assert draws(0, 0) == draws(0, 0)
    assert len({tuple(draws(seed, worker)) for seed in range(2) for worker in range(2)}) == 4


def test_a_rate_limit_holds_for_every_kind_of_source(corpus_at, dataset_at, run):
    config = DataConfig(corpora=(corpus_at,), min_source_rate_hz=16000)
    with pytest.raises(ValueError, match="no data to train on"):
        open_sources(config, run)
    with pytest.raises(ValueError, match="at least 16000 Hz"):
        open_sources(replace(config, corpora=(), shards=(str(dataset_at),)), run)
