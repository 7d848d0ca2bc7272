"""How much arithmetic a model takes: the share of a device's peak (MFU) is this over time over peak.

After Chowdhery et al. 2022 (PaLM, appendix B) and Kaplan et al. 2020: a multiplication and an addition are two FLOPs, only
matrix products count, the backward pass is twice the forward pass, and recomputed activations do not count. Of causal attention
only the half that is used counts.
"""

from lm.config import DecoderConfig, LMConfig


def layer_flops_per_position(config: DecoderConfig) -> int:
    """Of the linear maps of all layers, forward."""
    attention = config.width * config.head_width * (2 * config.num_heads + 2 * config.kv_heads)
    return 2 * config.num_layers * (attention + 3 * config.width * config.feed_forward_width)


def attention_flops(config: DecoderConfig, length: int) -> int:
    """Of scores and weighted sums of a row of `length` positions, all layers, forward."""
    return 2 * config.num_layers * 2 * config.width * length * (length + 1) // 2


def forward_flops(config: LMConfig, row_lengths: list[int], num_slots: int) -> int:
    """Of rows of these lengths without padding, and heads at `num_slots` slots in all; without adapters (below 1 %)."""
    tokens = config.tokens
    heads = 2 * tokens.num_layers * (tokens.vocab_size + 1) * config.decoder.width
    rows = sum(n * layer_flops_per_position(config.decoder) + attention_flops(config.decoder, n) for n in row_lengths)
    return rows + num_slots * heads


def training_flops(config: LMConfig, row_lengths: list[int], num_slots: int) -> int:
    """Of forward and backward pass."""
    return 3 * forward_flops(config, row_lengths, num_slots)


def mfu(flops: float, seconds: float, peak_flops_per_s: float) -> float:
    """Model FLOPs utilisation: the share of the peak that did useful work."""
    return flops / seconds / peak_flops_per_s
