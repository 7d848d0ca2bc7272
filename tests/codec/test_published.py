import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from codec import published
from codec.model import Codec
from codec.presets import PRESETS
from tests.codec import golden, samples

VERSIONS = ["1.0", "1.5", "2.0"]


@golden.needs_reference
@pytest.mark.parametrize("version", VERSIONS)
def test_every_tensor_of_the_published_checkpoint_has_its_place_and_shape(version):
    config = PRESETS[f"hcodec-{version}"]
    with torch.device("meta"):
        state = Codec(config).state_dict()
    ours = [pair for key, tensor in state.items() for pair in published.layout(key, tuple(tensor.shape), config)]
    assert len(ours) == len(dict(ours))
    assert dict(ours) == golden.shapes(version)


@golden.needs_reference
@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_imported_weights_answer_as_the_published_network(version, monkeypatch):
    """Latents and reconstruction to 1e-4 relative, at least 99 % of the codes."""
    want, config = golden.arrays(version), golden.config(version)
    codec = published.from_published(golden.weights(version), config)
    feature_BDF, wave_BT = torch.tensor(want["ssl_feature"])[None], torch.tensor(want["wave"])[None]
    monkeypatch.setattr(codec, "feature", lambda *_: feature_BDF)
    threshold = golden.threshold(version) if config.grouping else None
    with torch.no_grad():
        _close(codec.encoder(wave_BT)[0], want["acoustic_latent"])
        _close(codec.semantic_encoder(feature_BDF)[0], want["semantic_latent"])
    codes = codec.encode(wave_BT, threshold=threshold)
    for found, wanted in ((codes.acoustic_BKF[0], want["acoustic_codes"]), (codes.semantic_BKF[0], want["semantic_codes"])):
        assert found.shape == wanted.shape
        assert np.mean(found.numpy() == wanted) >= 0.99
    streams = {name: torch.tensor(want[name.replace("BKF", "codes")])[None] for name in ("acoustic_BKF", "semantic_BKF")}
    _close(codec.decode(replace(codes, **streams))[0], want["reconstruction"])


def _close(found: torch.Tensor, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found.numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.fixture(scope="module", params=sorted(samples.DESIGNS))
def exported(request):
    """A codec, and its tensors in the published layout."""
    codec = samples.make(samples.DESIGNS[request.param])
    tensors = {}
    for key, tensor in codec.state_dict().items():
        places = published.layout(key, tuple(tensor.shape), codec.config)
        parts = tensor.float().unbind(0) if len(places) > 1 else [tensor.float()]
        tensors |= {name: part.reshape(shape).clone() for (name, shape), part in zip(places, parts)}
    return codec, tensors


@pytest.mark.parametrize("wrap", [None, "state_dict"])
@pytest.mark.parametrize("name", ["model.pt", "old.pt", "model.safetensors"])
def test_a_file_in_the_published_layout_becomes_the_same_codec(exported, tmp_path, name, wrap):
    codec, tensors = exported
    path = tmp_path / name
    if name.endswith(".pt"):
        tensors = {**tensors, "decoder.head.istft.window": torch.ones(1280)}
        torch.save({wrap: tensors} if wrap else tensors, path, _use_new_zipfile_serialization=name != "old.pt")
    else:
        save_file(tensors, path)
    imported = published.import_published(path, codec.config)
    ours, theirs = codec.state_dict(), imported.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)
    wave_BT = samples.noises(1, codec.config.samples_per_frame * 3)
    assert torch.equal(imported.encode(wave_BT).acoustic_BKF, codec.encode(wave_BT).acoustic_BKF)


def test_keys_that_are_missing_unknown_or_of_another_shape_are_named(exported):
    codec, tensors = exported
    tensors = dict(tensors)
    del tensors["quantizer.layers.1._codebook.embed"]
    tensors["decoder.norm.scale"] = torch.ones(1)
    tensors["decoder.head.out.bias"] = torch.ones(7)
    with pytest.raises(ValueError) as error:
        published.from_published(tensors, codec.config)
    for part in (
        "1 missing (quantizer.layers.1._codebook.embed)",
        "1 unknown (decoder.norm.scale)",
        "1 of another shape (decoder.head.out.bias (7,) instead of",
    ):
        assert part in str(error.value)


def test_files_that_are_not_tensors_alone_are_refused(tmp_path):
    broken, code, numbers = tmp_path / "broken.pt", tmp_path / "code.pt", tmp_path / "numbers.pt"
    broken.write_bytes(b"PK nothing")
    torch.save({"weights": re.compile("x")}, code)
    torch.save({"a": torch.zeros(1), "step": 3}, numbers)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing at all")
    for name, message in (
        ("absent.pt", "there is no such file"),
        ("broken.pt", "damaged"),
        ("broken.safetensors", "damaged"),
        ("code.pt", "no file of tensors alone"),
        ("numbers.pt", r"\['Tensor', 'int'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            published.read(tmp_path / name)


def test_the_command_writes_a_codecs_folder(exported, tmp_path, monkeypatch, capsys):
    codec, tensors = exported
    save_file(tensors, tmp_path / "published.safetensors")
    monkeypatch.setitem(PRESETS, "hcodec-1.0", codec.config)
    monkeypatch.setattr("sys.argv", ["published", "hcodec-1.0", str(tmp_path / "published.safetensors"), str(tmp_path / "out")])
    published.main()
    assert "out: hcodec-1.0" in capsys.readouterr().out
    assert Codec.from_pretrained(tmp_path / "out").config == codec.config


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["published", "hcodec-1.0", str(tmp_path / "absent.pt"), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        published.main()
    assert stop.value.code == 2 and "there is no such file" in capsys.readouterr().err
