from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from lm.config import DecoderConfig
from lm.decoder import Decoder, RMSNorm, Rotate, SwiGLU

CONFIG = DecoderConfig(width=64, num_layers=3, num_heads=4, feed_forward_width=96)
GROUPED = replace(CONFIG, num_kv_heads=2)


def llama_of(decoder: Decoder) -> LlamaModel:
    """A transformers Llama with the same weights."""
    config = decoder.config
    llama = LlamaModel(
        LlamaConfig(
            vocab_size=1,
            hidden_size=config.width,
            intermediate_size=config.feed_forward_width,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.kv_heads,
            rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            attn_implementation="sdpa",
        )
    ).eval()
    for theirs, ours in zip(llama.layers, decoder.layers):
        widths = [heads * config.head_width for heads in ours.attention.heads]
        query, key, value = ours.attention.qkv.weight.data.split(widths)
        gate, up = ours.feed_forward.gate_up.weight.data.chunk(2)
        attention, mlp = theirs.self_attn, theirs.mlp
        attention.q_proj.weight.data, attention.k_proj.weight.data, attention.v_proj.weight.data = query, key, value
        attention.o_proj.weight.data = ours.attention.out.weight.data
        mlp.gate_proj.weight.data, mlp.up_proj.weight.data, mlp.down_proj.weight.data = (
            gate,
            up,
            ours.feed_forward.down.weight.data,
        )
        theirs.input_layernorm.weight.data = ours.attention_norm.weight.data
        theirs.post_attention_layernorm.weight.data = ours.feed_forward_norm.weight.data
    llama.norm.weight.data = decoder.norm.weight.data
    return llama


def decoder_of(config: DecoderConfig) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(config)
    for parameter in decoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return decoder.eval()


@pytest.mark.parametrize("config", [CONFIG, GROUPED, replace(CONFIG, rope_theta=5e5, norm_eps=1e-6)])
def test_with_the_same_weights_it_equals_the_llama_of_transformers(config):
    decoder = decoder_of(config)
    llama = llama_of(decoder)
    x = torch.randn(2, 40, config.width)
    clock = torch.arange(40).expand(2, -1) + torch.tensor([[0], [7]])
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, wanted = decoder(ours, clock), llama(inputs_embeds=theirs, position_ids=clock).last_hidden_state
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    direction = torch.randn_like(found)
    found.backward(direction)
    wanted.backward(direction)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    for layer, theirs_layer in zip(decoder.layers, llama.layers):
        attention = theirs_layer.self_attn
        parts = [attention.q_proj.weight.grad, attention.k_proj.weight.grad, attention.v_proj.weight.grad]
        torch.testing.assert_close(layer.attention.qkv.weight.grad, torch.cat(parts), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            layer.feed_forward.down.weight.grad, theirs_layer.mlp.down_proj.weight.grad, atol=1e-4, rtol=1e-4
        )


def test_only_differences_of_the_clock_matter():
    decoder = decoder_of(CONFIG)
    x, clock = torch.randn(1, 20, 64), torch.arange(20.0)[None]
    torch.testing.assert_close(decoder(x, clock), decoder(x, clock + 1000), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(decoder(x, clock), decoder(x, clock * 2), atol=1e-2)


def test_what_follows_changes_nothing():
    decoder = decoder_of(CONFIG)
    x, clock = torch.randn(1, 20, 64), torch.arange(20)[None]
    torch.testing.assert_close(decoder(x, clock)[:, :11], decoder(x[:, :11], clock[:, :11]), atol=1e-6, rtol=1e-5)


def test_recomputed_activations_give_the_same_gradients():
    decoder = decoder_of(CONFIG).train()
    x, clock = torch.randn(1, 8, 64), torch.arange(8)[None]
    grads = []
    for decoder.activation_checkpointing in (False, True):
        decoder.zero_grad()
        decoder(x, clock).square().sum().backward()
        grads.append([parameter.grad.clone() for parameter in decoder.parameters()])
    assert all(map(torch.equal, *grads))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_without_padding_the_rows_and_their_gradients_are_the_same(checkpointing):
    decoder = decoder_of(GROUPED).train()
    decoder.activation_checkpointing = checkpointing
    x, lengths = torch.randn(3, 12, 64), torch.tensor([12, 1, 7])
    clock = torch.arange(12).expand(3, -1) * torch.tensor([[1], [2], [3]])
    inside = (torch.arange(12) < lengths[:, None])[..., None]
    rows = [x.clone().requires_grad_() for _ in range(2)]
    found = [decoder(rows[0], clock, lengths), decoder(rows[1], clock) * inside]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    direction = torch.randn_like(x)
    for hidden in found:
        hidden.backward(direction)
    torch.testing.assert_close(rows[0].grad, rows[1].grad, atol=1e-5, rtol=1e-4)


def test_gradients_written_by_hand_are_those_of_finite_differences():
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(2, 1, 4, 3, dtype=torch.float64)
    rotation = torch.stack([angles.cos(), angles.sin()])
    assert torch.autograd.gradcheck(lambda x: Rotate.apply(x, rotation), x)
    assert torch.autograd.gradcheck(SwiGLU.apply, x)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: RMSNorm.apply(x, weight, 1e-2), (x, weight))
