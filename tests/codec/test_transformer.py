import math

import pytest
import torch

from codec.transformer import RecurrentAttention, Transformer, rotary_FE, rotate


def test_attention_is_softmax_over_rotated_queries_and_keys_of_the_lstm():
    torch.manual_seed(0)
    attention = RecurrentAttention(8, 2)
    x_BFD = torch.randn(1, 5, 8)
    hidden_BFD, _ = attention.lstm(x_BFD)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        query_FE, key_FE, value_FE = (
            layer(hidden_BFD)[0, :, part] for layer in (attention.query, attention.key, attention.value)
        )
        query_FE, key_FE = _naively_rotated(query_FE), _naively_rotated(key_FE)
        heads.append((query_FE @ key_FE.T / 2).softmax(-1) @ value_FE)
    wanted_BFD = attention.out(torch.cat(heads, -1))[None]
    torch.testing.assert_close(attention(x_BFD, rotary_FE(5, 4, x_BFD.device), None), wanted_BFD)


def _naively_rotated(x_FE):
    """Channels i and i + 2 of each head turn together, by position * 10000^(-i / 2)."""
    rows = []
    for position, x_E in enumerate(x_FE):
        angles = [position * 10000 ** (-i / 2) for i in range(2)]
        first = [x_E[i] * math.cos(a) - x_E[i + 2] * math.sin(a) for i, a in enumerate(angles)]
        second = [x_E[i + 2] * math.cos(a) + x_E[i] * math.sin(a) for i, a in enumerate(angles)]
        rows.append(torch.stack(first + second))
    return torch.stack(rows)


def test_products_of_rotated_vectors_depend_on_their_distance_only():
    rotary = rotary_FE(40, 16, torch.device("cpu"))
    query_E, key_E = torch.randn(2, 16)
    queries, keys = (rotate(x_E.expand(1, 1, 40, 16), rotary)[0, 0] for x_E in (query_E, key_E))
    torch.testing.assert_close(queries[10] @ keys[3], queries[37] @ keys[30], rtol=1e-4, atol=1e-4)


def test_a_padded_batch_equals_each_clip_alone():
    torch.manual_seed(0)
    transformer = Transformer(8, 2, 16, 2)
    x_BDF, lengths_B = torch.randn(3, 8, 9), torch.tensor([9, 1, 5])
    for row, length in enumerate(lengths_B):
        x_BDF[row, :, length:] = torch.nan
    y_BDF = transformer(x_BDF, lengths_B)
    for row, length in enumerate(lengths_B.tolist()):
        torch.testing.assert_close(y_BDF[row : row + 1, :, :length], transformer(x_BDF[row : row + 1, :, :length]))


def test_every_frame_reads_every_other():
    torch.manual_seed(0)
    x_BDF = torch.randn(1, 8, 6, requires_grad=True)
    Transformer(8, 2, 16, 1)(x_BDF)[0, :, 0].sum().backward()
    assert (x_BDF.grad[0].abs().sum(0) > 0).all()


def test_heads_of_odd_width_are_refused():
    with pytest.raises(ValueError, match="width 12 cannot have 4 heads"):
        Transformer(12, 4, 16, 1)


def test_the_lstm_is_in_float32_under_autocast():
    torch.manual_seed(0)
    attention, x_BFD, seen = RecurrentAttention(8, 2), torch.randn(1, 5, 8).bfloat16(), []
    wanted_BFD, _ = attention.lstm(x_BFD.float())
    attention.lstm.register_forward_hook(lambda _, inputs, outputs: seen.extend([inputs[0], outputs[0]]))
    with torch.autocast("cpu", torch.bfloat16):
        mixed_BFD = attention(x_BFD, rotary_FE(5, 4, x_BFD.device), None)
    assert mixed_BFD.dtype == torch.bfloat16  # autocast was on around it
    assert [tensor.dtype for tensor in seen] == [torch.float32] * 2
    assert torch.equal(seen[1], wanted_BFD)
