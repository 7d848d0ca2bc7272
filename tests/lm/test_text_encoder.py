import pytest
import torch
from transformers import AutoTokenizer, ClapConfig, ClapModel, ClapTextConfig, T5Config, T5EncoderModel

from lm.text_encoder import check_text, open_text_encoder, spelling

TEXTS = ["Insert 'don't' after 'I'.", "a dog barks", "", "The piano, and then rain on a roof."]


@pytest.fixture(scope="module")
def encoder():
    return open_text_encoder("minilm")


def test_a_padded_batch_equals_each_text_alone(encoder):
    together = encoder(TEXTS)
    assert together.values_BMD.shape[2] == encoder.width == 384
    for row, text in enumerate(TEXTS):
        if not text:
            assert together.lengths_B[row] == 0
            continue
        one = encoder([text])
        assert one.lengths_B.item() == together.lengths_B[row]
        torch.testing.assert_close(together.values_BMD[row, : one.lengths_B], one.values_BMD[0], atol=1e-4, rtol=1e-4)


def test_there_is_a_feature_for_each_token_and_no_gradient(encoder):
    found = encoder(["a dog barks"])
    assert found.lengths_B.tolist() == [6] and not found.values_BMD.requires_grad  # [CLS] a dog bark ##s [SEP]


def test_texts_that_mean_the_same_are_closer_than_others(encoder):
    states = encoder(["a dog is barking", "the barking of a hound", "soft piano music"])
    pooled = torch.stack([row[:n].mean(0) for row, n in zip(states.values_BMD, states.lengths_B)])
    near, far = (torch.cosine_similarity(pooled[0], pooled[other], dim=0) for other in (1, 2))
    assert near > far + 0.2


def test_no_text_at_all_gives_no_features(encoder):
    assert encoder(["", ""]).lengths_B.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("   ", "the text is empty"),
        ("a\x00b", r"control characters '\\x00'"),
        ("two\nlines", "give one line"),
        ("bark " * 200, "a text of 1000 bytes: at most 512"),
        ("Add 𓀀𓀁 here", "does not know 𓀀𓀁"),
        ("\ud800", "control characters"),
    ],
)
def test_a_text_that_cannot_be_read_says_why(encoder, text, message):
    with pytest.raises(ValueError, match=message):
        encoder([text])


def test_check_text_takes_what_people_write():
    for text in ("Insert 'don't' after 'I'.", "café, naïve: 50 %", "删除第二个词"):
        check_text(text)


def test_spelling_is_the_bytes_of_each_text():
    found = spelling(["to", "", "é"])
    assert found.values_BMD[..., 0].tolist() == [list(b"to"), [0, 0], list("é".encode())]
    assert found.lengths_B.tolist() == [2, 0, 2]


def tiny_t5(size: int):
    made = T5EncoderModel(T5Config(vocab_size=size, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2))
    return made, made


def tiny_clap(size: int):
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = ClapTextConfig(vocab_size=size, max_position_embeddings=64, **shape)
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]}
    made = ClapModel(ClapConfig(text_config=text.to_dict(), audio_config=audio, projection_dim=8))
    return made, made.text_model


@pytest.mark.parametrize("build", [tiny_t5, tiny_clap])
def test_a_t5_or_clap_by_path_gives_the_states_of_its_text_half(encoder, tmp_path, build):
    torch.manual_seed(0)
    whole, text_half = build(len(encoder.tokeniser))
    whole.eval().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(encoder.source).save_pretrained(tmp_path)
    opened = open_text_encoder(str(tmp_path))
    found = opened(["a dog barks", "rain"])
    with torch.no_grad():
        wanted = text_half(input_ids=torch.tensor([encoder.tokeniser("a dog barks").input_ids])).last_hidden_state
    assert opened.width == 16 and found.lengths_B.tolist() == [6, 3]
    torch.testing.assert_close(found.values_BMD[:1, :6], wanted, atol=1e-5, rtol=1e-4)


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a text model of transformers"):
        open_text_encoder(str(tmp_path))


def test_weights_that_are_missing_are_not_replaced_by_random_ones(encoder, tmp_path):
    whole, _ = tiny_t5(len(encoder.tokeniser))
    state = {name: tensor for name, tensor in whole.state_dict().items() if "block.0.layer.1" not in name}
    whole.save_pretrained(tmp_path, state_dict=state)
    AutoTokenizer.from_pretrained(encoder.source).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"weights of encoder\.block\.0\.layer\.1.* are missing"):
        open_text_encoder(str(tmp_path))
