"""Residual vector quantisation with codebooks that follow the latents by exponential moving averages (EMA).

Each layer quantises what the layers before it left (Zeghidour et al., "SoundStream", 2021); a codebook vector is the moving
mean of the vectors it stood for (van den Oord et al., "Neural discrete representation learning", 2017, appendix A).

`forward` changes nothing: it gives `Statistics`, which add up over micro-batches and ranks, and one `update` follows a whole
optimizer step. So a step can be skipped, and codebooks have the same bits on all ranks and for any cut of the batch.

Shapes: B clips, F frames (or groups of frames), D width, K layers, C codes of a codebook, M candidates, N vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.kmeans import codebook_start, nearest, sums_by_code

SMOOTHING = 1e-5  # of the counts (Laplace), as in the published family
CANDIDATES_PER_CLIP = 4  # frames of each clip that dead codes may restart from
# Shares of what each code would have if all were used alike. A code below DEAD_SHARE restarts at RESTART_SHARE, and so has
# log(DEAD_SHARE / RESTART_SHARE) / log(decay) = 91 steps to find vectors of its own. Shares, not counts: a batch may be small.
DEAD_SHARE, RESTART_SHARE = 0.02, 0.05


@dataclass
class Statistics:
    """What one batch says about the codebooks. `a + b` is the batch of both, exactly."""

    counts_KC: Tensor  # float64: vectors of each code
    sums_KCD: Tensor  # float64: their sum
    candidates_KMD: Tensor  # float32: residuals to restart dead codes from, CANDIDATES_PER_CLIP for each clip, clips in order

    def __add__(self, other: "Statistics") -> "Statistics":
        candidates_KMD = torch.cat([self.candidates_KMD, other.candidates_KMD], dim=1)
        return Statistics(self.counts_KC + other.counts_KC, self.sums_KCD + other.sums_KCD, candidates_KMD)


@dataclass
class Quantised:
    """What a quantiser makes of latents."""

    latent_BDF: Tensor  # the input's dtype; 0 past a clip's end
    codes_BKF: Tensor  # int64; 0 past a clip's end and in layers that a clip does not use
    commitment: Tensor  # scalar, float32
    statistics: Statistics | None  # None in eval mode


@dataclass(frozen=True)
class Usage:
    """How a quantiser's codes are used, a number for each layer."""

    share_K: Tensor  # of the codes that have more than RESTART_SHARE of what each would have if all were used alike
    perplexity_K: Tensor  # exp(entropy): 1 (one code does everything) to C (all alike)


def usage(counts_KC: Tensor) -> Usage:
    """From the counts of a batch or an evaluation, or a quantiser's `counts`. A layer without any vectors has 0 and 1."""
    counts_KC = counts_KC.double()
    shares_KC = counts_KC / counts_KC.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    share_K = (shares_KC * counts_KC.shape[-1] > RESTART_SHARE).double().mean(-1)
    return Usage(share_K, torch.special.entr(shares_KC).sum(-1).exp())


class ResidualQuantiser(nn.Module):
    """K codebooks of C vectors, all in float32 whatever the dtype of the model around them. No parameters, only buffers."""

    def __init__(self, num_layers: int, codebook_size: int, width: int, decay: float = 0.99):
        super().__init__()
        self.decay = decay
        generator = torch.Generator().manual_seed(0)
        codebooks_KCD = torch.randn(num_layers, codebook_size, width, generator=generator, device="cpu")
        self.register_buffer("codebooks", codebooks_KCD)  # (K, C, D)
        self.register_buffer("counts", torch.ones(num_layers, codebook_size))  # (K, C): EMA of vectors of each code in a step
        self.register_buffer("sums", codebooks_KCD.clone())  # (K, C, D): EMA of their sum
        self.register_buffer("initialised", torch.zeros(num_layers, dtype=torch.bool))  # (K,): had its k-means start

    @property
    def num_layers(self) -> int:
        return self.codebooks.shape[0]

    @property
    def codebook_size(self) -> int:
        return self.codebooks.shape[1]

    def forward(self, latent_BDF: Tensor, num_frames_B: Tensor | None = None, num_layers_B: Tensor | None = None) -> Quantised:
        """Quantise frames inside each clip (all, if None) with the first `num_layers_B` layers (all, if None or more).

        Gradients pass straight through to `latent_BDF`. The commitment is the squared distance of the latent from what each
        used layer has reached: first the mean of each clip (over its frames, its layers and D), then of those. So the mean over
        equally many clips of micro-batches or ranks is that of the whole batch.
        """
        (num_clips, width, num_frames), device = latent_BDF.shape, latent_BDF.device
        frames_B = torch.full((num_clips,), num_frames, device=device) if num_frames_B is None else num_frames_B
        layers_B = torch.full((num_clips,), self.num_layers, device=device) if num_layers_B is None else num_layers_B
        inside_BF1 = (torch.arange(num_frames, device=device) < frames_B[:, None])[..., None]
        residual_BFD = latent_BDF.transpose(1, 2).float().contiguous()
        residual_BFD = residual_BFD if num_frames_B is None else residual_BFD.masked_fill(~inside_BF1, 0.0)
        straight_BFD = residual_BFD - residual_BFD.detach()  # 0, and the gradient of the latent
        sum_BFD, error_B, codes, statistics = torch.zeros_like(straight_BFD), 0.0, [], []
        for layer, codebook_CD in enumerate(self.codebooks):
            active_BF1 = inside_BF1 & (layer < layers_B)[:, None, None]
            code_BF = nearest(residual_BFD.detach().flatten(0, 1), codebook_CD).view(num_clips, num_frames)
            if self.training:
                statistics.append(self._statistics(residual_BFD.detach(), code_BF, active_BF1[..., 0], frames_B))
            embedding_BFD = functional.embedding(code_BF, codebook_CD)
            residual_BFD = residual_BFD - embedding_BFD
            error_B = error_B + (residual_BFD.square() * active_BF1).sum((1, 2))
            sum_BFD = sum_BFD + embedding_BFD * active_BF1
            codes.append(code_BF * active_BF1[..., 0])
        used_B = frames_B.clamp(min=1) * layers_B.clamp(max=self.num_layers)
        commitment = (error_B / (used_B * width)).mean()
        quantised_BDF = (sum_BFD + straight_BFD).transpose(1, 2).to(latent_BDF.dtype)
        parts = [torch.stack(part) for part in zip(*statistics)]
        return Quantised(quantised_BDF, torch.stack(codes, 1), commitment, Statistics(*parts) if parts else None)

    def _statistics(self, residual_BFD: Tensor, code_BF: Tensor, active_BF: Tensor, frames_B: Tensor) -> tuple[Tensor, ...]:
        """Counts, sums and candidates of one layer. Candidates are spread evenly over every clip, layer used or not.

        What is not active counts as 0: to pick what is would make a GPU wait for the CPU.
        """
        codes_N, active_N = code_BF.flatten(), active_BF.flatten().double()
        counts_C = active_N.new_zeros(self.codebook_size).index_add_(0, codes_N, active_N)
        active_BFD = residual_BFD.masked_fill(~active_BF[..., None], 0.0)
        sums_CD = sums_by_code(active_BFD.flatten(0, 1), codes_N, self.codebook_size)
        spread_M = (torch.arange(CANDIDATES_PER_CLIP, device=code_BF.device) + 0.5) / CANDIDATES_PER_CLIP
        frame_BM = (frames_B[:, None] * spread_M).long()
        candidates_BMD = residual_BFD.take_along_dim(frame_BM[..., None], dim=1)
        return counts_C, sums_CD, candidates_BMD.flatten(0, 1)

    @torch.no_grad()
    def encode(self, latent_BDF: Tensor, num_layers: int | None = None) -> Tensor:
        """Codes (B, K, F) of the first `num_layers` layers."""
        residual_BFD = latent_BDF.transpose(1, 2).float().contiguous()
        codes = []
        for codebook_CD in self.codebooks[:num_layers]:
            codes.append(nearest(residual_BFD.flatten(0, 1), codebook_CD).view(residual_BFD.shape[:2]))
            residual_BFD = residual_BFD - functional.embedding(codes[-1], codebook_CD)
        return torch.stack(codes, 1)

    def decode(self, codes_BKF: Tensor) -> Tensor:
        """Latents (B, D, F) in float32, of as many layers as there are codes."""
        assert codes_BKF.shape[1] <= self.num_layers, (codes_BKF.shape, self.num_layers)
        layers = zip(codes_BKF.unbind(1), self.codebooks)
        return sum(functional.embedding(code_BF, codebook_CD) for code_BF, codebook_CD in layers).transpose(1, 2)

    @torch.no_grad()
    def update(self, statistics: Statistics, key: int) -> None:
        """One step of the moving averages. Codes that fell out of use restart from candidates that `key` draws.

        A layer without any vector in the batch (quantiser dropout) stays as it is.
        """
        generator = torch.Generator().manual_seed(key)
        for layer, num_vectors in enumerate(statistics.counts_KC.sum(-1).tolist()):
            candidates_MD = statistics.candidates_KMD[layer]
            order_M = torch.randperm(len(candidates_MD), generator=generator).to(candidates_MD.device)
            if num_vectors > 0:
                counts_C, sums_CD = statistics.counts_KC[layer], statistics.sums_KCD[layer]
                self._update_layer(layer, counts_C, sums_CD, candidates_MD[order_M])

    def _update_layer(self, layer: int, counts_C: Tensor, sums_CD: Tensor, candidates_MD: Tensor) -> None:
        """Averages in float64, then rounded once. Where candidates are few, some dead codes wait for the next step."""
        counts_C = torch.lerp(self.counts[layer].double(), counts_C, 1 - self.decay)
        sums_CD = torch.lerp(self.sums[layer].double(), sums_CD, 1 - self.decay)
        fair = counts_C.mean()
        dead_C = (counts_C < DEAD_SHARE * fair).nonzero()[: len(candidates_MD), 0]
        counts_C[dead_C] = RESTART_SHARE * fair
        sums_CD[dead_C] = candidates_MD[: len(dead_C)].double() * counts_C[dead_C, None]
        smoothed_C = (counts_C + SMOOTHING) / (counts_C.sum() + len(counts_C) * SMOOTHING) * counts_C.sum()
        self.codebooks[layer] = sums_CD / smoothed_C[:, None]
        self.codebooks[layer, dead_C] = candidates_MD[: len(dead_C)]
        self.counts[layer], self.sums[layer] = counts_C, sums_CD

    @torch.no_grad()
    def initialise(self, latents_ND: Tensor, key: int, num_steps: int = 1) -> None:
        """k-means of each layer's residuals in turn; the same latents and key give the same codebooks.

        The latents are those of `num_steps` optimizer steps: the moving averages start with the weight of one, or else a
        start from much data would hold the codebooks back while the latents move fastest.
        """
        residual_ND = latents_ND.detach().float().to(self.codebooks.device)
        generator = torch.Generator().manual_seed(key)
        for layer, codebook_CD in enumerate(self.codebooks):
            codes_CD, counts_C = codebook_start(residual_ND, self.codebook_size, generator)
            counts_C = counts_C * (len(latents_ND) / num_steps / float(counts_C.sum()))
            # What has no vectors yet is next to dead: candidates of the next steps show better where codes are wanted.
            counts_C = counts_C.clamp(min=DEAD_SHARE * float(counts_C.mean()))
            codebook_CD.copy_(codes_CD)
            self.counts[layer].copy_(counts_C)
            self.sums[layer].copy_(codes_CD * counts_C[:, None])
            residual_ND = residual_ND - functional.embedding(nearest(residual_ND, codebook_CD), codebook_CD)
        self.initialised.fill_(True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Moves to other devices with the model, but keeps its dtypes: `model.bfloat16()` must not round the averages."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            if self._buffers[name].dtype != buffer.dtype:
                self._buffers[name] = buffer.to(self._buffers[name].device)
        return self
