"""Nearest codes, sums of what fell on each code, k-means, and the start of a codebook.

Shapes: N vectors, C codes, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

SEARCH_ROWS = 4096  # vectors compared at once: bounds the memory of a search to SEARCH_ROWS x C scores
VECTORS_PER_CODE = 64  # k-means looks at no more: further vectors cost time and move the centres hardly at all
VECTORS_PER_CENTRE = 4  # at the least, where a codebook starts
STREWN = 0.5  # of a vector's distance from its centre, the distance of the codes strewn there
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


def codebook_start(vectors_ND: Tensor, num_codes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The codes (C, D) that a layer starts from, and how many vectors each has (C,): k-means, if there are vectors enough.

    With a centre for each vector the layer would know them by heart, and those after it would start from residuals of
    nothing but rounding. So from few vectors there are fewer centres, and the other codes are strewn around them, as far
    as vectors lie and in directions in which vectors lie, but not where they lie.
    """
    num_centres = min(num_codes, max(1, len(vectors_ND) // VECTORS_PER_CENTRE))
    centres_CD, counts_C = kmeans(vectors_ND, num_centres, generator)
    if num_centres == num_codes:
        return centres_CD, counts_C
    vectors_ND = vectors_ND.detach().float()
    codes_CD = torch.cat([centres_CD, _strewn(vectors_ND, centres_CD, num_codes - num_centres, generator)])
    return codes_CD, nearest(vectors_ND, codes_CD).bincount(minlength=num_codes).float()


def _strewn(vectors_ND: Tensor, centres_CD: Tensor, num_codes: int, generator: torch.Generator) -> Tensor:
    """Codes (C, D): the centre of a drawn vector, and from there in the direction of another drawn vector from its own."""
    near_ND = functional.embedding(nearest(vectors_ND, centres_CD), centres_CD)
    errors_ND = vectors_ND - near_ND
    at_C, like_C = torch.randint(len(vectors_ND), (2, num_codes), generator=generator).to(vectors_ND.device)
    return near_ND[at_C] + STREWN * errors_ND[at_C].norm(dim=-1, keepdim=True) * functional.normalize(errors_ND[like_C], dim=-1)


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
