import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm import weights
from lm.model import UnifiedLM
from tests.lm.made import SMALL, batch, model


@pytest.fixture
def saved(tmp_path):
    model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_model_comes_back_the_same(saved):
    made, again = model(), UnifiedLM.from_pretrained(saved)
    assert again.config == made.config and not again.training
    assert torch.equal(made(batch(["sr"], [5])).total, again(batch(["sr"], [5])).total)
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in again.parameters())
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]


def change_config(place, **fields):
    path = place / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_weights(place, change):
    tensors = load_file(place / "model.safetensors")
    change(tensors)
    save_file(tensors, place / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "config.json").unlink(), "config.json missing"),
        (lambda p: (p / "model.safetensors").unlink(), "model.safetensors missing: not a saved model"),
        (lambda p: (p / "config.json").write_text("{"), "not JSON"),
        (lambda p: change_config(p, width=3), "no field 'width'"),
        (lambda p: change_config(p, clock="running"), "saved with another configuration"),
        (lambda p: (p / "model.safetensors").write_bytes((p / "model.safetensors").read_bytes()[:-1]), "cut, damaged"),
        (lambda p: (p / "model.safetensors").write_bytes(b""), "cut, damaged"),
        (lambda p: change_weights(p, lambda t: t.pop("tasks.weight")), "tasks.weight is missing"),
        (lambda p: change_weights(p, lambda t: t.update(more=torch.ones(1))), "more is unknown"),
        (
            lambda p: change_weights(p, lambda t: t.update({"tasks.weight": torch.ones(2, 3)})),
            r"tasks.weight is \(2, 3\), not \(10, 32\)",
        ),
    ],
)
def test_a_damaged_model_says_what_is_wrong(saved, damage, message):
    damage(saved)
    with pytest.raises(ValueError, match=message):
        UnifiedLM.from_pretrained(saved)


@pytest.mark.parametrize("source", ["nowhere", "./nowhere", "/nowhere/at/all", "a/b/c"])
def test_no_folder_and_no_hub_id_is_refused(source):
    with pytest.raises(ValueError, match=re.escape(f"{source}: no folder")):
        UnifiedLM.from_pretrained(source)


def test_a_save_that_fails_leaves_the_old_model(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        model(seed=1).save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_save_cut_between_its_files_is_noticed(saved, monkeypatch):
    replaced = []
    real = weights.os.replace

    def once(source, target):
        if replaced:
            raise OSError("killed")
        replaced.append(real(source, target))

    monkeypatch.setattr(weights.os, "replace", once)
    with pytest.raises(OSError, match="killed"):
        UnifiedLM(replace(SMALL, max_positions=99)).save_pretrained(saved)
    with pytest.raises(ValueError, match="saved with another configuration"):
        UnifiedLM.from_pretrained(saved)
