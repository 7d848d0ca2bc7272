import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

from lm.audio_encoder import LogMel, SpeechModel, open_audio_encoder

TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8,) * 7}
TINY |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
LENGTHS = [3200, 4001, 320, 1, 2880]


@pytest.fixture(scope="module", params=["log-mel", "group", "layer"])
def encoder(request, tmp_path_factory):
    if request.param == "log-mel":
        return open_audio_encoder("log-mel")
    torch.manual_seed(0)
    shape = TINY | {"feat_extract_norm": request.param}
    made = HubertModel(HubertConfig(**shape)) if request.param == "group" else Wav2Vec2Model(Wav2Vec2Config(**shape))
    place = tmp_path_factory.mktemp("speech-model")
    made.save_pretrained(place)
    return open_audio_encoder(str(place))


def waves():
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(length, generator=generator) for length in LENGTHS]


def test_a_padded_batch_equals_each_clip_alone(encoder):
    padded = torch.nn.utils.rnn.pad_sequence(waves(), batch_first=True, padding_value=9.0)
    together = encoder(padded, torch.tensor(LENGTHS))
    for row, wave in enumerate(waves()):
        one = encoder(wave[None])
        assert one.shape == (1, -(-len(wave) // 320), encoder.width)
        torch.testing.assert_close(together[row, : one.shape[1]], one[0], atol=1e-5, rtol=1e-4)


def test_features_have_no_gradient(encoder):
    assert not encoder(torch.randn(1, 3200)).requires_grad


def test_a_tone_is_in_the_band_of_its_frequency():
    encoder = LogMel()
    time_s = torch.arange(16000) / 16000
    tones = torch.stack([torch.sin(2 * torch.pi * f * time_s) for f in (200.0, 1000.0, 4000.0)])
    bands = encoder(tones)[:, 20, :80].argmax(-1).tolist()
    assert bands == sorted(bands) and len(set(bands)) == 3
    assert abs(bands[1] - 80 * 968 / 2808) < 2  # 1000 Hz are 1000 mel, of 32 to 2840


def test_both_halves_of_a_frame_follow_each_other():
    encoder, wave = LogMel(), torch.zeros(1, 3200)
    wave[0, 5 * 320 + 170 : 5 * 320 + 310] = 1.0  # in the second half of frame 5
    features = encoder(wave)[0]
    assert features[5, 80:].sum() > features[5, :80].sum()
    assert torch.equal(features[0, :80], features[0, 80:])  # silence


def test_the_scale_is_about_one_for_audio_at_usual_levels():
    features = LogMel()(0.05 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0)))
    assert features.abs().max() < 4 and LogMel()(torch.zeros(1, 3200)).abs().max() < 4


def test_only_the_named_layers_are_averaged(tmp_path):
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(tmp_path)
    wave = torch.randn(1, 3200)
    each = [SpeechModel(str(tmp_path), (layer,))(wave) for layer in range(3)]
    torch.testing.assert_close(SpeechModel(str(tmp_path), (0, 2))(wave), (each[0] + each[2]) / 2)
    torch.testing.assert_close(SpeechModel(str(tmp_path))(wave), sum(each) / 3)
    with pytest.raises(ValueError, match=r"layers \(3,\); it has hidden states 0 to 2"):
        SpeechModel(str(tmp_path), (3,))


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a speech model of transformers"):
        open_audio_encoder(str(tmp_path))
