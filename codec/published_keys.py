"""How the keys of our state dict are called in the published checkpoints of H-Codec 1.0, 1.5 and 2.0.

Rules (pattern, replacement) are applied to our key in turn, as by `re.sub`. Codebooks are apart: see codec/published.py.
"""

import re

from codec.config import CodecConfig

Rules = tuple[tuple[str, str], ...]

SEMANTIC: Rules = (
    (r"^semantic_encoder\.conv_in\.", "semantic_encoder.conv.conv."),
    (r"^semantic_decoder\.conv_in\.", "semantic_decoder.conv1.conv."),
    (r"^(semantic_\w+)\.conv_out\.", r"\1.conv2.conv."),
    (r"^(semantic_\w+\.)blocks\.(\d+)\.units\.(\d)\.wide\.", r"\1conv_blocks.\2.res_units.\3.conv1.conv."),
    (r"^(semantic_\w+\.)blocks\.(\d+)\.units\.(\d)\.point\.", r"\1conv_blocks.\2.res_units.\3.conv2."),
    (r"^(semantic_\w+\.)blocks\.(\d+)\.conv\.", r"\1conv_blocks.\2.conv.conv."),
)
SEANET: Rules = (
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"^encoder\.conv_in\.", "encoder.model.0.conv.conv."),
    *((rf"^encoder\.blocks\.{stage}\.", f"encoder.model.{3 * stage + 1}.") for stage in range(4)),
    *((rf"^encoder\.downs\.{stage}\.", f"encoder.model.{3 * stage + 3}.conv.conv.") for stage in range(4)),
    (r"^(encoder\.model\.\d+\.)narrow\.", r"\1block.1.conv.conv."),
    (r"^(encoder\.model\.\d+\.)wide\.", r"\1block.3.conv.conv."),
    (r"^(encoder\.model\.\d+\.)shortcut\.", r"\1shortcut.conv.conv."),
    (r"^encoder\.transformer\.", "encoder.model.14."),
    (r"^encoder\.conv_out\.", "encoder.model.17.conv.conv."),
)
SPECTRAL: Rules = (
    (r"^encoder\.conv_in\.", "encoder.embed.conv."),
    (r"^encoder\.norm_in\.", "encoder.norm."),
    (r"^encoder\.convnext\.blocks\.", "encoder.prior_net."),
    (r"^encoder\.transformer\.", "encoder.post_net.1."),
    (r"^encoder\.norm_out\.", "encoder.final_layer_norm."),
    (r"^encoder\.conv_out\.", "encoder.out.conv."),
)
DECODER: Rules = (
    (r"^decoder\.up\.up\.", "decoder.embed.up."),
    (r"^decoder\.up\.depthwise\.", "decoder.embed.dw."),
    (r"^decoder\.conv_in\.", "decoder.embed.conv."),
    (r"^decoder\.vocoder\.before\.", "decoder.prior_net."),
    (r"^decoder\.vocoder\.transformer\.", "decoder.prior_net.3."),
    (r"^decoder\.vocoder\.after\.0\.", "decoder.prior_net.5."),
    (r"^decoder\.vocoder\.after\.1\.", "decoder.prior_net.6."),
    (r"^decoder\.vocoder\.group_norm\.", "decoder.prior_net.7."),
    (r"^decoder\.vocoder\.norm_in\.", "decoder.norm."),
    (r"^decoder\.vocoder\.convnext\.blocks\.", "decoder.post_net."),
    (r"^decoder\.vocoder\.norm_out\.", "decoder.final_layer_norm."),
    (r"^decoder\.vocoder\.head\.", "decoder.head."),
    (r"^(decoder\.prior_net\.\d+\.)norms\.0\.", r"\1norm1."),
    (r"^(decoder\.prior_net\.\d+\.)norms\.1\.", r"\1norm2."),
    (r"^(decoder\.prior_net\.\d+\.)convs\.0\.", r"\1conv1.conv."),
    (r"^(decoder\.prior_net\.\d+\.)convs\.1\.", r"\1conv2.conv."),
)
CONVNEXT: Rules = (
    (r"(_net\.\d+\.)depthwise\.", r"\1dwconv.conv."),
    (r"(_net\.\d+\.)up\.", r"\1pwconv1.linear."),
    (r"(_net\.\d+\.)down\.", r"\1pwconv2.linear."),
    (r"(_net\.\d+\.)scale$", r"\1gamma"),
)
TRANSFORMER: Rules = (  # with the LSTM, of the encoders and decoders
    (r"\.attention_norm\.", ".input_layernorm."),
    (r"\.feed_forward_norm\.", ".post_attention_layernorm."),
    (r"\.attention\.lstm\.", ".self_attn.rnn."),
    (r"\.attention\.query\.", ".self_attn.q_proj."),
    (r"\.attention\.key\.", ".self_attn.k_proj."),
    (r"\.attention\.value\.", ".self_attn.v_proj."),
    (r"\.attention\.out\.", ".self_attn.o_proj."),
    (r"\.feed_forward\.gate\.", ".mlp.w1."),
    (r"\.feed_forward\.down\.", ".mlp.w2."),
    (r"\.feed_forward\.up\.", ".mlp.w3."),
)
GROUPING: Rules = (
    (r"^(\w+_aggregator)\.query$", r"\1.query_embedding"),
    (r"^(\w+_aggregator)\.transformer\.layers\.", r"\1.transformer.transformer.layers."),
    (r"^bottleneck\.layers\.", "bottleneck_transformer.transformer.layers."),
    (r"(\.transformer\.layers\.\d+)\.query_key_value\.", r"\1.self_attn.in_proj_"),
    (r"(\.transformer\.layers\.\d+)\.attention_out\.", r"\1.self_attn.out_proj."),
    (r"(\.transformer\.layers\.\d+)\.attention_norm\.", r"\1.norm1."),
    (r"(\.transformer\.layers\.\d+)\.feed_forward_norm\.", r"\1.norm2."),
    (r"(\.transformer\.layers\.\d+)\.feed_forward_in\.", r"\1.linear1."),
    (r"(\.transformer\.layers\.\d+)\.feed_forward_out\.", r"\1.linear2."),
    (r"(\.transformer\.layers\.\d+)\.attention_scale$", r"\1.layer_scale_1.scale"),
    (r"(\.transformer\.layers\.\d+)\.feed_forward_scale$", r"\1.layer_scale_2.scale"),
)


def published_key(key: str, config: CodecConfig) -> str:
    """The published name of one of our parameters."""
    if key.startswith(("acoustic_aggregator.", "semantic_aggregator.", "bottleneck.")):
        return _renamed(key, GROUPING)
    key = _renamed(key, (*SEMANTIC, *(SEANET if config.seanet else SPECTRAL), *DECODER, *CONVNEXT, *TRANSFORMER))
    # Where a block of the semantic decoder doubles the frames, its convolution is called otherwise.
    up = re.fullmatch(r"(semantic_decoder\.conv_blocks\.(\d+)\.conv\.)conv(\..*)", key)
    return f"{up[1]}deconv{up[3]}" if up and config.semantic.strides[int(up[2])] > 1 else key


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
