import errno
import json
import os
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from codec import weights
from codec.model import Codec
from tests.codec import samples


@pytest.fixture(scope="module")
def codec():
    return samples.make(samples.DYNAMIC)


@pytest.fixture
def folder(codec, tmp_path):
    codec.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_codec_comes_back_exactly(codec, folder):
    back = Codec.from_pretrained(str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert back.config == codec.config and not back.training
    ours, theirs = codec.state_dict(), back.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    wave_BT = samples.noises(1, 3000)
    codes = codec.encode(wave_BT)
    assert torch.equal(back.encode(wave_BT).acoustic_BKF, codes.acoustic_BKF)
    assert torch.equal(back.decode(codes), codec.decode(codes))


def test_a_loaded_codec_can_be_trained_and_saved_again(folder, tmp_path):
    codec = Codec.from_pretrained(folder).train()
    wave_BT = samples.noises(1, 3000)
    codec(wave_BT, codec.feature(wave_BT)).reconstruction_BT.abs().mean().backward()
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter -= 0.01 * torch.ones_like(parameter)
    codec.save_pretrained(folder)
    again = Codec.from_pretrained(folder)
    assert all(torch.equal(a, b) for a, b in zip(codec.parameters(), again.parameters()))


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_flipped_byte_does_not_load(folder, name, place):
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 0x04
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        Codec.from_pretrained(folder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_cut_file_does_not_load(folder, share):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match="damaged"):
        Codec.from_pretrained(folder)


CHANGES = {
    "missing": (lambda tensors: tensors.pop("decoder.vocoder.head.out.bias"), r"1 missing \(decoder.vocoder.head.out.bias\)"),
    "unknown": (lambda tensors: tensors.update(extra=torch.zeros(1)), r"1 unknown \(extra\)"),
    "shape": (
        lambda tensors: tensors.update({"decoder.vocoder.head.out.bias": torch.zeros(3)}),
        r"decoder.vocoder.head.out.bias \(3,\) instead of \(1282,\)",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_tensors_of_another_network_are_named(folder, case):
    change, message = CHANGES[case]
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        Codec.from_pretrained(folder)


def test_an_unknown_field_of_the_configuration_is_named_with_the_nearest(folder):
    values = json.loads((folder / "config.json").read_text())
    values["decoder"]["num_block"] = values["decoder"].pop("num_blocks")
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"config\.json: unknown field 'decoder\.num_block', did you mean 'num_blocks'"):
        Codec.from_pretrained(folder)


def test_weights_beside_another_configuration_do_not_load(folder):
    """The same shapes, but another threshold: a save that was interrupted between its two files."""
    config = replace(samples.DYNAMIC, grouping=replace(samples.DYNAMIC.grouping, threshold=0.9))
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    with pytest.raises(ValueError, match="not the configuration"):
        Codec.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: there is no such file"):
        Codec.from_pretrained(folder)


def test_a_full_disk_at_save_leaves_the_codec_that_was_there(codec, folder, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(weights.os, "fsync", full)
    other = samples.make(samples.DYNAMIC, seed=1)
    with pytest.raises(OSError, match="No space"):
        other.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("source", ["no/such/folder", "/no/folder", "name", "../up"])
def test_what_is_no_folder_and_no_hub_id_is_refused(source):
    with pytest.raises(ValueError, match="no such folder, and it is no hub id"):
        Codec.from_pretrained(source)


def test_a_hub_id_without_a_network_is_a_clear_error(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="nobody/nothing: there is no such folder, and the hub did not give it"):
        Codec.from_pretrained("nobody/nothing")


def test_the_hash_of_tensors_depends_on_every_part_and_not_on_the_order():
    a, b = torch.zeros(2, 3), torch.ones(4, dtype=torch.bool)
    hashes = [
        weights.tensors_sha256(tensors)
        for tensors in (
            {"a": a, "b": b},
            {"b": b, "a": a},
            {"a": a},
            {"a": a, "c": b},
            {"a": a.T, "b": b},
            {"a": a.double(), "b": b},
        )
    ]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 5
    assert weights.tensors_sha256({"a": torch.tensor(1.0), "b": torch.zeros(0).bfloat16()})
