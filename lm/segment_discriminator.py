"""A discriminator of token sequences and of their prefixes: one convolutional network for all segments and codebooks.

The network is the one of text GANs (Nie et al., "RelGAN", ICLR 2019, section 2.3): a few embeddings of the same tokens, the
representations, each judged by the same convolutions with a maximum over time. Here every codebook is a representation (or
several), seen beside what the tokens were made from.

Shapes: B clips, C codebooks, F frames, V symbols, S segments, N representations of all codebooks, E width, D features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lm.segments import prefix_lengths


@dataclass(frozen=True)
class SegmentDiscriminatorConfig:
    """How wide, and what is judged."""

    segments: int = 4
    """Nested prefixes that are judged, the whole among them; 1: the whole alone, as any GAN."""
    representations: int = 1
    """Embeddings of each codebook."""
    embedding_width: int = 32
    kernels: tuple[int, ...] = (2, 3, 4, 5)
    """Frames that a convolution sees."""
    channels: int = 64
    """Of each of them."""
    features: int = 128

    def __post_init__(self) -> None:
        for name in ("segments", "representations", "embedding_width", "channels", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"discriminator: {name} is {getattr(self, name)}: give 1 or more")
        if not self.kernels or min(self.kernels) < 1:
            raise ValueError(f"discriminator: kernels are {self.kernels}: give one or more, each of 1 frame at least")


class SegmentDiscriminator(nn.Module):
    """One-hots (B, C, F, V) to the opinions on their prefixes. With `averages_features` the segments have one opinion."""

    def __init__(
        self, config: SegmentDiscriminatorConfig, num_codebooks: int, vocab_size: int, averages_features: bool = False
    ):
        super().__init__()
        self.config, self.averages_features = config, averages_features
        width = config.embedding_width
        self.embeddings = nn.Parameter(torch.randn(num_codebooks, vocab_size, config.representations * width))
        self.convolutions = nn.ModuleList(nn.Conv1d(width, config.channels, kernel) for kernel in config.kernels)
        self.hidden = nn.Linear(config.channels * len(config.kernels), config.features)
        self.opinion = nn.Linear(config.features, 1)

    def forward(
        self,
        tokens_BCFV: Tensor,
        num_frames_B: Tensor,
        condition_BFE: Tensor | None = None,
        *,
        context_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (S, B, N) of being real, and features (S, B, N, D) behind them; what stands past a clip's end is not read.

        The condition is what is known of each frame, whoever made its tokens; the first `context_B` frames, likewise, belong to
        all segments.
        """
        embedded_BFNE = self._embed(tokens_BCFV)
        if condition_BFE is not None:
            embedded_BFNE = embedded_BFNE + condition_BFE[:, :, None]
        before_B = 0 if context_B is None else context_B
        lengths_SB = before_B + prefix_lengths(num_frames_B - before_B, self.config.segments)
        features_SBND = self._features(embedded_BFNE, lengths_SB)
        if self.averages_features:
            features_SBND = features_SBND.mean(0, keepdim=True)
        return self.opinion(features_SBND)[..., 0], features_SBND

    def _embed(self, tokens_BCFV: Tensor) -> Tensor:
        num_clips, num_codebooks, num_frames, _ = tokens_BCFV.shape
        rows_CRV = tokens_BCFV.transpose(0, 1).flatten(1, 2)
        embedded = torch.bmm(rows_CRV.to(self.embeddings.dtype), self.embeddings)
        parts = embedded.view(num_codebooks, num_clips, num_frames, self.config.representations, self.config.embedding_width)
        return parts.permute(1, 2, 0, 3, 4).flatten(2, 3)

    def _features(self, embedded_BFNE: Tensor, lengths_SB: Tensor) -> Tensor:
        """A convolution sees the frames that it has, none past a segment's end: so a segment is judged as it is alone.

        And so what lies inside several segments is computed once, and segments cost next to nothing.
        """
        rows_REF = embedded_BFNE.permute(0, 2, 3, 1).flatten(0, 1)
        maxima = []
        for kernel, convolution in zip(self.config.kernels, self.convolutions):
            found_RDF = convolution(functional.pad(rows_REF, (0, max(kernel - rows_REF.shape[-1], 0))))
            maxima.append(_maxima(found_RDF.unflatten(0, embedded_BFNE.shape[:3:2]), lengths_SB - kernel + 1))
        return functional.leaky_relu(self.hidden(torch.cat(maxima, dim=-1)), 0.2)


def _maxima(found_BNDF: Tensor, ends_SB: Tensor) -> Tensor:
    """(S, B, N, D) the largest of so many first positions, at least 0. The gradient goes to one of the largest."""
    positions_F = torch.arange(found_BNDF.shape[-1], device=ends_SB.device)
    with torch.no_grad():
        outside_SBF = positions_F >= ends_SB[..., None]
        places = [found_BNDF.masked_fill(outside_BF[:, None, None], -torch.inf).argmax(-1) for outside_BF in outside_SBF]
    largest_BNDS = found_BNDF.gather(-1, torch.stack(places, dim=-1)).relu()
    return largest_BNDS.movedim(-1, 0) * (ends_SB > 0)[..., None, None]
