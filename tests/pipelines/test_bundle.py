"""A bundle holds a codec and a language model that belong together, whole, and is used in three lines."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.model_folder import model_id
from infra.storage import open_store
from lm.config import ConditionConfig
from lm.model import UnifiedLM
from pipelines.bundle import Bundle, MakeBundle, card_of
from pipelines.generation import Options
from tests.codec.samples import FIXED, make, noises
from tests.pipelines.conftest import command, contents, finished
from tests.pipelines.model_bundles import make_bundle, make_parts


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Path, Path]:
    return make_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def bundle(parts, tmp_path_factory) -> Path:
    """Not to be changed."""
    place = tmp_path_factory.mktemp("bundle") / "bundle"
    Bundle.create(*parts, place)
    return place


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_three_lines_restore_a_recording(bundle):
    wave = noises(1, 20000)[0].numpy()
    model = Bundle.open(str(bundle))
    clean = model("sr", wave, 16000)
    assert clean.shape == wave.shape and clean.dtype == np.float32 and not np.allclose(clean, wave, atol=0.01)


def test_audio_comes_back_in_the_shape_it_was_given(bundle):
    model, stereo = Bundle.open(bundle, device="cpu"), noises(2, 8000).numpy()
    assert model("sr", stereo, 8000).shape == (2, 8000)
    assert model("sr", stereo[:1], 8000).shape == (1, 8000)
    assert model("ss", stereo, 8000).shape == (2, 2, 8000)
    assert model("ss", stereo[0], 8000).shape == (2, 8000)
    assert model("vc", stereo[0], 8000, reference=stereo[1]).shape == (8000,)
    with pytest.warns(UserWarning, match="did not end by itself"):
        assert model("tta", text="rain", options=Options(max_output_s=0.2)).ndim == 1


def test_audio_that_is_unusable_is_refused(bundle):
    model, wave = Bundle.open(bundle, device="cpu"), noises(1, 8000)[0].numpy()
    for bad, said in ((np.zeros(0), "zero length"), (np.zeros(100), "silent"), (np.full(100, np.nan), "not finite")):
        with pytest.raises(ValueError, match=f"the input: .*{said}"):
            model("sr", bad, 16000)
    with pytest.raises(ValueError, match="the reference: silent"):
        model("tse", wave, 16000, reference=np.zeros(100))


def test_a_bundle_says_what_it_is(bundle, parts):
    about = json.loads((bundle / "bundle.json").read_text())
    assert about["codec"]["id"] == about["lm"]["codec"] == model_id(parts[0])
    assert about["lm"]["id"] == model_id(parts[1])
    assert about["encoders"]["audio"] == {"id": "log-mel", "place": "embedded"}
    assert Bundle.open(bundle).tasks == tuple(about["tasks"])
    assert "| sr | speech restoration" in (bundle / "README.md").read_text()


def test_making_the_same_bundle_again_changes_nothing_and_another_is_refused(copy, parts, tmp_path):
    before = contents(copy)
    Bundle.create(*parts, copy)
    assert contents(copy) == before
    others = make_parts(tmp_path / "others", tasks=("sr",))
    with pytest.raises(ValueError, match="holds another bundle; choose another place"):
        Bundle.create(*others, copy)
    assert contents(copy) == before


def test_a_codec_and_a_language_model_of_other_tokens_are_refused(parts, tmp_path):
    retrained = tmp_path / "retrained"
    make(FIXED, seed=1).save_pretrained(retrained)
    with pytest.raises(ValueError, match="do not belong together: tokens of another codec: codec '"):
        Bundle.create(retrained, parts[1], tmp_path / "out")
    larger = tmp_path / "larger"
    make(replace(FIXED, quantiser=replace(FIXED.quantiser, codebook_size=16))).save_pretrained(larger)
    with pytest.raises(ValueError, match="codebook_size 16, the model has 32"):
        Bundle.create(larger, parts[1], tmp_path / "out")
    nameless, lm = tmp_path / "nameless", UnifiedLM.from_pretrained(parts[1])
    lm.config = replace(lm.config, tokens=replace(lm.config.tokens, codec=""))
    lm.save_pretrained(nameless)
    with pytest.raises(ValueError, match="does not say which codec"):
        Bundle.create(parts[0], nameless, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bundle_whose_codec_was_changed_for_another_does_not_open(copy):
    make(FIXED, seed=1).save_pretrained(copy / "codec")
    about = json.loads((copy / "bundle.json").read_text())
    about["codec"]["id"] = model_id(copy / "codec")
    (copy / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="do not belong together"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["codec/model.safetensors", "lm/model.safetensors", "lm/config.json", "bundle.json"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {Path(name).name} here"):
        Bundle.open(copy)


@pytest.mark.parametrize("part", ["codec", "lm"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_flipped_byte_does_not_load(copy, part, name):
    path = copy / part / name
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{part}: not the files that bundle\.json names, or damaged"):
        Bundle.open(copy)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_description_that_cannot_be_read_is_named(copy, text):
    (copy / "bundle.json").write_text(text)
    with pytest.raises(ValueError, match=r"bundle\.json: "):
        Bundle.open(copy)


def test_encoders_are_opened_where_the_bundle_or_the_caller_says(tmp_path):
    missing = ConditionConfig(audio_encoder=str(tmp_path / "ssl"))
    place = make_bundle(tmp_path, conditions=missing)
    assert json.loads((place / "bundle.json").read_text())["encoders"]["audio"]["place"] == str(tmp_path / "ssl")
    with pytest.raises(ValueError, match=r"audio encoder .*ssl"):
        Bundle.open(place)
    assert Bundle.open(place, audio_encoder="log-mel")("sr", noises(1, 2000)[0].numpy(), 16000).shape == (2000,)


def test_an_encoder_of_another_width_is_refused(tmp_path):
    place = make_bundle(tmp_path, conditions=ConditionConfig(audio_width=24))
    with pytest.raises(ValueError, match="audio encoder 'log-mel' is 160 wide, the model wants 24"):
        Bundle.open(place)


def test_the_card_counts_licences_of_the_training_data(dataset, tmp_path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"DNSMOS": 3.2}')
    card = card_of(MakeBundle("codec", "lm", "out", data=dataset.url, metrics=str(metrics), licence="CC0"))
    assert [one["examples"] for one in card.data] == [8] and card.metrics == {"DNSMOS": 3.2}
    with pytest.raises(ValueError, match="no finished dataset here"):
        card_of(MakeBundle("codec", "lm", "out", data=str(tmp_path / "none")))
    metrics.write_text('{"DNSMOS": [1]}')
    with pytest.raises(ValueError, match="give one JSON object of names and values"):
        card_of(MakeBundle("codec", "lm", "out", metrics=str(metrics)))


@pytest.mark.slow
def test_the_command_makes_a_bundle(parts, bundle, tmp_path):
    words = ("pipelines.bundle", "--codec", parts[0], "--lm", parts[1], "--out", tmp_path / "made", "--licence", "CC0 1.0")
    code, output = finished(command(*words))
    assert code == 0 and "language model" in output, output
    assert contents(tmp_path / "made") | {"README.md": ""} == contents(bundle) | {"README.md": ""}
    code, output = finished(command("pipelines.bundle", "--codec", parts[1], "--lm", parts[0], "--out", tmp_path / "wrong"))
    assert code == 2 and "error: " in output, output


@pytest.mark.s3
@pytest.mark.slow
def test_a_bundle_lies_on_s3_as_in_a_folder(parts, bundle, s3):
    Bundle.create(*parts, f"{s3}/bundle")
    assert open_store(f"{s3}/bundle").get("bundle.json") == (bundle / "bundle.json").read_bytes()
    wave = noises(1, 4000)[0].numpy()
    remote, local = (Bundle.open(place, device="cpu")("sr", wave, 16000) for place in (f"{s3}/bundle", bundle))
    assert np.array_equal(remote, local)
