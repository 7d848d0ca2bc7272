"""Nearest codes, sums of what fell on each code, and k-means.

Shapes: N vectors, C codes, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

SEARCH_ROWS = 4096  # vectors compared at once: bounds the memory of a search to SEARCH_ROWS x C scores
VECTORS_PER_CODE = 64  # k-means looks at no more: further vectors cost time and move the centres hardly at all
GRID = 2.0**28


def nearest(vectors_ND: Tensor, codes_CD: Tensor) -> Tensor:
    """Index (N,) of the code with the least Euclidean distance; the lowest index where several tie. float32 in.

    ||x - c||^2 less ||x||^2, which is the same for all codes: one matrix product, and no (N, C, D) differences.
    """
    with torch.autocast(vectors_ND.device.type, enabled=False):
        norms_C = codes_CD.square().sum(-1)
        scores = (torch.addmm(norms_C, rows, codes_CD.T, alpha=-2) for rows in vectors_ND.split(SEARCH_ROWS))
        return torch.cat([score_NC.argmin(-1) for score_NC in scores])


def sums_by_code(vectors_ND: Tensor, codes_N: Tensor, num_codes: int) -> Tensor:
    """Sum (C, D) in float64 of the vectors of each code: the same bits in whatever order they are added.

    Vectors are rounded to multiples of 2^-28, so every sum below 2^25 is exact, and neither the number of ranks, nor the
    cut into micro-batches, nor the order of a GPU's atomic additions can show.
    """
    rounded_ND = (vectors_ND.double() * GRID).round() / GRID
    return rounded_ND.new_zeros(num_codes, vectors_ND.shape[-1]).index_add_(0, codes_N, rounded_ND)


def kmeans(vectors_ND: Tensor, num_codes: int, generator: torch.Generator, num_iterations: int = 50) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from a k-means++ start: centres (C, D), and how many vectors each has (C,), both float32.

    `generator` lives on the CPU. A centre that lost its vectors moves to the vector that is worst served. With fewer
    different vectors than codes, each is a centre and the rest are copies, which have no vectors.
    """
    vectors_ND = _sample(vectors_ND.detach().float(), num_codes * VECTORS_PER_CODE, generator)
    centres_CD = _spread(vectors_ND, num_codes, generator)
    codes_N = nearest(vectors_ND, centres_CD)
    for _ in range(num_iterations):
        centres_CD = _centres(vectors_ND, codes_N, centres_CD)
        previous_N, codes_N = codes_N, nearest(vectors_ND, centres_CD)
        if torch.equal(codes_N, previous_N):
            break
    return centres_CD, codes_N.bincount(minlength=num_codes).float()


def _sample(vectors_ND: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    if len(vectors_ND) <= limit:
        return vectors_ND
    return vectors_ND[torch.randperm(len(vectors_ND), generator=generator)[:limit].to(vectors_ND.device)]


def _spread(vectors_ND: Tensor, num_codes: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next centre (C, D) is a vector drawn in proportion to its squared distance from the centres so far.

    (Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.) A plain sample would spend many
    centres on what there is most of, such as silence.
    """
    draws_C = torch.rand(num_codes, generator=generator, dtype=torch.float64).to(vectors_ND.device)
    errors_N = vectors_ND.new_ones(len(vectors_ND))
    chosen = []
    for draw in draws_C:
        ladder_N = errors_N.double().cumsum(0)
        chosen.append(torch.searchsorted(ladder_N, draw * ladder_N[-1], right=True).clamp(max=len(vectors_ND) - 1))
        centre_1D = vectors_ND[chosen[-1]][None]
        distances_N = torch.cdist(vectors_ND, centre_1D, compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        errors_N = torch.minimum(errors_N, distances_N.square()) if len(chosen) > 1 else distances_N.square()
    return vectors_ND[torch.stack(chosen)]


def _centres(vectors_ND: Tensor, codes_N: Tensor, centres_CD: Tensor) -> Tensor:
    """Means of the vectors of each code; the empty ones take the vectors that are farthest from their own centre."""
    num_codes = len(centres_CD)
    counts_C = codes_N.bincount(minlength=num_codes)
    means_CD = (sums_by_code(vectors_ND, codes_N, num_codes) / counts_C.clamp(min=1)[:, None]).float()
    means_CD = torch.where(counts_C[:, None] > 0, means_CD, centres_CD)
    empty_C = (counts_C == 0).nonzero()[:, 0]
    if len(empty_C) and len(vectors_ND) > num_codes:
        errors_N = (vectors_ND - functional.embedding(codes_N, means_CD)).square().sum(-1)
        farthest_N = errors_N.argsort(descending=True, stable=True)[: len(empty_C)]
        means_CD[empty_C] = vectors_ND[farthest_N]
    return means_CD
