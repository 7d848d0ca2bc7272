"""Token datasets of real simulated examples, made once for all tests of a process: not to be changed; what Prometheus hears."""

import pytest

from infra import metrics
from infra.storage import Store
from tests.codec.samples import FIXED, make
from tests.pipelines.conftest import write_corpus
from tests.training.token_datasets import encoded, simulated

TASKS = {  # examples and configuration; of ss some have three voices, of tta some have a reference, some do not
    "sr": (8, {"duration_s": 1.0}),
    "tse": (4, {"duration_s": 1.0}),
    "ss": (4, {"duration_s": 1.0}),
    "lass": (4, {"duration_s": 1.4, "noise_probability": 0.0}),
    "tta": (4, {}),
}


@pytest.fixture(scope="session")
def token_corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def token_codec(tmp_path_factory):
    """A published codec of random weights: 3 + 2 layers, 32 codes."""
    folder = tmp_path_factory.mktemp("codec")
    make(FIXED).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokens(token_corpus, token_codec, tmp_path_factory) -> dict[str, Store]:
    """A token dataset of each task of TASKS."""
    audio, folder = tmp_path_factory.mktemp("audio"), tmp_path_factory.mktemp("tokens")
    made = {}
    for name, (count, config) in TASKS.items():
        dataset = simulated(name, audio / name, token_corpus, count=count, **config)
        made[name] = encoded(dataset, folder / name, token_codec)
    return made


@pytest.fixture
def said(monkeypatch):
    """What would go to Ray: (name, value, tags), checked as always."""
    found = []

    class Heard:
        def __init__(self, name):
            self.name = name

        def inc(self, value, tags):
            found.append((self.name, value, tags))

        set = observe = inc

    real = metrics._metric

    def heard(name, kind, tags):
        real(name, kind, tags)
        return Heard(name)

    monkeypatch.setattr(metrics, "_metric", heard)
    return found
