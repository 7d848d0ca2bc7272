import pytest

from codec.published_keys import published_key
from tests.codec import samples

KEYS = [
    ("1.0", "encoder.conv_in.bias", "encoder.model.0.conv.conv.bias"),
    ("1.0", "encoder.blocks.2.narrow.parametrizations.weight.original1", "encoder.model.7.block.1.conv.conv.weight_v"),
    ("1.0", "encoder.downs.3.parametrizations.weight.original0", "encoder.model.12.conv.conv.weight_g"),
    ("1.5", "encoder.transformer.layers.0.attention.lstm.bias_hh_l0", "encoder.model.14.layers.0.self_attn.rnn.bias_hh_l0"),
    (
        "1.5",
        "bottleneck.layers.7.query_key_value.weight",
        "bottleneck_transformer.transformer.layers.7.self_attn.in_proj_weight",
    ),
    ("1.5", "semantic_aggregator.query", "semantic_aggregator.query_embedding"),
    ("2.0", "encoder.convnext.blocks.9.scale", "encoder.prior_net.9.gamma"),
    ("2.0", "encoder.transformer.layers.1.feed_forward.down.weight", "encoder.post_net.1.layers.1.mlp.w2.weight"),
    ("2.0", "decoder.conv_in.weight", "decoder.embed.conv.weight"),
    ("1.0", "decoder.vocoder.after.1.norms.0.bias", "decoder.prior_net.6.norm1.bias"),
    ("1.0", "decoder.vocoder.convnext.blocks.11.up.weight", "decoder.post_net.11.pwconv1.linear.weight"),
    ("1.0", "semantic_encoder.blocks.0.units.1.wide.weight", "semantic_encoder.conv_blocks.0.res_units.1.conv1.conv.weight"),
    ("1.0", "semantic_decoder.blocks.0.conv.weight", "semantic_decoder.conv_blocks.0.conv.deconv.weight"),
    ("2.0", "semantic_decoder.blocks.1.conv.weight", "semantic_decoder.conv_blocks.1.conv.conv.weight"),
]


@pytest.mark.parametrize(("version", "ours", "theirs"), KEYS)
def test_keys_have_their_published_names(version, ours, theirs):
    assert published_key(ours, samples.DESIGNS[version]) == theirs
