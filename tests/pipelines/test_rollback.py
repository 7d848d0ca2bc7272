"""`make rollback` changes the champion and prints the history; what cannot be is an error of a person."""

import pytest

from infra.registry import BOOTSTRAP, PROMOTION, Entry, Registry
from infra.storage import open_store
from pipelines.rollback import main
from tests.pipelines.conftest import command, finished


@pytest.fixture
def registry(tmp_path) -> Registry:
    """With two champions."""
    found = Registry(str(tmp_path / "registry"))
    for number in range(2):
        source = open_store(str(tmp_path / f"model{number}"))
        source.put("lm/model.safetensors", str(number).encode())
        was = found.champion()
        kind = PROMOTION if was else BOOTSTRAP
        found.change(Entry(kind, found.models.add(source, {}), was.model if was else "", f"reason {number}"), was)
    return found


def test_the_champion_before_is_champion_again_with_the_reason(registry, capsys):
    first = registry.history()[0].model
    assert main(["--registry", registry.url, "--reason", "clicks in the field"]) == 0
    printed = capsys.readouterr().out
    assert f"champion: {first}" in printed and "rollback" in printed and "clicks in the field" in printed
    assert registry.champion().model == first and len(registry.history()) == 3


def test_to_names_one(registry):
    last = registry.champion().model
    main(["--registry", registry.url])
    assert main(["--registry", registry.url, "--to", last[:6]]) == 0
    assert registry.champion().model == last


def test_show_changes_nothing(registry, capsys, tmp_path):
    assert main(["--registry", registry.url, "--show"]) == 0
    assert "reason 1" in capsys.readouterr().out and len(registry.history()) == 2
    assert main(["--registry", str(tmp_path / "none"), "--show"]) == 0
    assert "none yet" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_says_what_is_wrong(tmp_path):
    code, output = finished(command("pipelines.rollback", "--registry", tmp_path / "none"))
    assert code == 2 and "there is no champion here" in output, output
