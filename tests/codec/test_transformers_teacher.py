"""HuBERT, WavLM and wav2vec 2.0, tiny and random, saved and loaded for real."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from codec.config import TeacherConfig
from codec.teacher import compressed
from codec.transformers_teacher import TransformersTeacher

WIDTH, NUM_LAYERS = 16, 3
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": NUM_LAYERS, "num_attention_heads": 2, "intermediate_size": 24}
SIZES |= {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}  # as XLSR-53
NETWORKS = {"hubert": ("Hubert", {}), "wavlm": ("WavLM", {}), "wav2vec2": ("Wav2Vec2", {}), "xlsr": ("Wav2Vec2", LARGE)}


@pytest.fixture(scope="module", params=NETWORKS)
def folder(request, tmp_path_factory) -> Path:
    """A network as save_pretrained leaves it; "xlsr" as the published one, with a head for pre-training around it."""
    name, options = NETWORKS[request.param]
    config = getattr(transformers, f"{name}Config")(**SIZES, **options)
    torch.manual_seed(0)
    network = getattr(transformers, f"{name}ForPreTraining" if request.param == "xlsr" else f"{name}Model")(config)
    path = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def hubert(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("hubert-alone")
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig(**SIZES)).save_pretrained(path)
    return path


def configuration(folder: Path | str, **changes) -> TeacherConfig:
    return replace(TeacherConfig("transformers", str(folder), (), WIDTH), **changes)


def noise(num_samples: int, num_clips: int = 1) -> torch.Tensor:
    return torch.randn(num_clips, num_samples, generator=torch.Generator().manual_seed(num_samples)) * 0.1 + 0.02


def test_the_feature_is_the_compressed_mean_of_the_hidden_states(folder):
    wave_BT = noise(6400, 2)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = network(torch.nn.functional.pad(wave_BT, (160, 160)), output_hidden_states=True).hidden_states
    for layers in ((), (1, 2)):
        feature_BDF = TransformersTeacher(configuration(folder, layers=layers))(wave_BT)
        mean_BFD = sum(states[layer] for layer in layers or range(NUM_LAYERS + 1)) / (len(layers) or NUM_LAYERS + 1)
        assert feature_BDF.shape == (2, WIDTH, 20)
        torch.testing.assert_close(feature_BDF, compressed(mean_BFD.mT), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_padded_batch_equals_each_clip_alone(folder, normalise):
    teacher = TransformersTeacher(configuration(folder, normalise=normalise))
    lengths, wave_BT = (6400, 1000, 6399, 640, 1, 0), noise(6400, 6)
    wave_BT[1, 1000:] = torch.nan
    batch_BDF = teacher(wave_BT, torch.tensor(lengths))
    assert batch_BDF.shape == (6, WIDTH, 20) and not batch_BDF[5].any()
    for clip, length in enumerate(lengths[:5]):
        alone_DF = teacher(wave_BT[clip : clip + 1, :length])[0]
        num_frames = -(-length // 320)
        assert alone_DF.shape[-1] == num_frames
        # compared before the compression, which is infinitely steep at 0
        inside_DF = batch_BDF[clip, :, :num_frames]
        torch.testing.assert_close(
            inside_DF.sign() * inside_DF.abs() ** (1 / 0.3), alone_DF.sign() * alone_DF.abs() ** (1 / 0.3), rtol=1e-4, atol=1e-5
        )
        assert not batch_BDF[clip, :, num_frames:].any()


def test_normalised_waves_are_those_of_the_feature_extractor(folder):
    wave_BT = noise(6400)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    by_hand_BT = extractor(wave_BT[0].numpy(), sampling_rate=16000, return_tensors="pt").input_values
    by_itself = TransformersTeacher(configuration(folder, normalise=None))(wave_BT)  # as preprocessor_config.json says
    expected = TransformersTeacher(configuration(folder, normalise=False))(by_hand_BT)
    torch.testing.assert_close(by_itself, expected, rtol=1e-3, atol=1e-3)


def test_the_network_is_frozen_and_in_eval_mode(hubert):
    teacher = TransformersTeacher(configuration(hubert))
    assert not teacher.model.training and not any(weight.requires_grad for weight in teacher.model.parameters())
    assert not teacher(noise(640).requires_grad_()).requires_grad
    assert torch.equal(teacher(noise(640)), teacher(noise(640)))
    assert teacher(noise(640).bfloat16()).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = teacher(noise(640))
    assert torch.equal(under_autocast, teacher(noise(640)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_half_precision_on_a_gpu_is_close_to_float32(hubert):
    full = TransformersTeacher(configuration(hubert))(noise(16000))
    half = TransformersTeacher(configuration(hubert, half_precision=True))(noise(16000).cuda())
    assert half.dtype == torch.float32 and (full - half.cpu()).abs().mean() < 0.02


def test_a_width_other_than_the_codecs_is_refused(hubert):
    with pytest.raises(ValueError, match="16 wide, the codec wants 768"):
        TransformersTeacher(configuration(hubert, width=768))


def test_layers_that_are_not_there_are_refused(hubert):
    with pytest.raises(ValueError, match=r"hidden states 0 to 3, the codec wants \[11, 14\]"):
        TransformersTeacher(configuration(hubert, layers=(2, 11, 14)))


def test_another_architecture_is_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'bert' model: want hubert, wavlm or wav2vec2"):
        TransformersTeacher(configuration(tmp_path))


def test_another_frame_rate_is_refused(tmp_path):
    transformers.HubertConfig(**SIZES | {"conv_stride": (5, 2, 2, 2, 2, 2, 1)}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="each 160: want each 320"):
        TransformersTeacher(configuration(tmp_path))


def test_a_preprocessor_of_another_rate_is_refused(hubert, tmp_path):
    for file in hubert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 8000, "do_normalize": True}))
    with pytest.raises(ValueError, match="hears 8000 Hz"):
        TransformersTeacher(configuration(tmp_path, normalise=None))


def test_a_folder_without_a_preprocessor_is_told_how_to_do_without(hubert):
    with pytest.raises(ValueError, match=r"preprocessor_config\.json, say whether to normalise"):
        TransformersTeacher(configuration(hubert, normalise=None))


def test_a_missing_folder_an_empty_one_and_no_source_are_named_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        TransformersTeacher(configuration("/nowhere/hubert"))
    with pytest.raises(ValueError, match=r"folder holds \[\]"):
        TransformersTeacher(configuration(tmp_path))
    with pytest.raises(ValueError, match="needs a source"):
        TransformersTeacher(configuration(""))


def test_a_hub_id_without_a_network_connection_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"facebook/hubert-base-ls960: .*offline.*Download it"):
        TransformersTeacher(configuration("facebook/hubert-base-ls960"))


def test_weights_that_are_not_all_there_are_refused(hubert, tmp_path):
    (tmp_path / "config.json").write_bytes((hubert / "config.json").read_bytes())
    weights = load_file(hubert / "model.safetensors")
    del weights["encoder.layers.1.attention.q_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing or misshapen \(encoder.layers.1.attention.q_proj.weight\)"):
        TransformersTeacher(configuration(tmp_path))


def test_damaged_weights_are_refused(hubert, tmp_path):
    (tmp_path / "config.json").write_bytes((hubert / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((hubert / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"teacher .*: the folder holds"):
        TransformersTeacher(configuration(tmp_path))


def test_without_transformers_the_remedy_is_named(hubert, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match="pip install transformers"):
        TransformersTeacher(configuration(hubert))
