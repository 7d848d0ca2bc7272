"""Spoken sentences whose words have true times."""

import pytest

from tests.simulation import espeak_corpus


@pytest.fixture(scope="package")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("espeak")
    return root, espeak_corpus.write(root)


@pytest.fixture(scope="package")
def bank(corpus):
    return espeak_corpus.opened(*corpus)[0]
