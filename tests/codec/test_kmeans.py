"""Nearest codes, exact sums, k-means."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import kmeans as module
from codec.kmeans import codebook_start, kmeans, nearest, sums_by_code


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(num_blobs: int, num_each: int, width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (N, D) in tight clusters far from each other, and the clusters' middles."""
    middles_CD = torch.randn(num_blobs, width, generator=seeded(1)) * 20
    spread_ND = torch.randn(num_blobs * num_each, width, generator=seeded(2)) * 0.1
    return middles_CD.repeat_interleave(num_each, 0) + spread_ND, middles_CD


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 20), st.integers(0, 1000))
def test_the_nearest_code_is_the_one_with_the_least_distance(num_vectors, num_codes, width, seed):
    vectors_ND = torch.randn(num_vectors, width, generator=seeded(seed))
    codes_CD = torch.randn(num_codes, width, generator=seeded(seed + 1))
    distances_NC = (vectors_ND[:, None].double() - codes_CD.double()).norm(dim=-1)
    found_N = nearest(vectors_ND, codes_CD)
    torch.testing.assert_close(distances_NC.gather(1, found_N[:, None])[:, 0], distances_NC.min(1).values, atol=1e-5, rtol=1e-6)


def test_of_equal_codes_the_lowest_index_wins():
    codes_CD = torch.randn(40, 4, generator=seeded())[torch.arange(40) % 7]
    assert torch.equal(nearest(codes_CD, codes_CD), torch.arange(40) % 7)


def test_a_search_in_pieces_is_the_search_in_one_piece(monkeypatch):
    vectors_ND, codes_CD = torch.randn(1000, 16, generator=seeded()), torch.randn(64, 16, generator=seeded(1))
    whole_N = nearest(vectors_ND, codes_CD)
    monkeypatch.setattr(module, "SEARCH_ROWS", 37)
    assert torch.equal(nearest(vectors_ND, codes_CD), whole_N)


def test_the_search_is_in_float32_under_autocast():
    vectors_ND, codes_CD = torch.randn(500, 64, generator=seeded()), torch.randn(256, 64, generator=seeded(1))
    with torch.autocast("cpu", torch.bfloat16):
        found_N = nearest(vectors_ND, codes_CD)
    assert torch.equal(found_N, nearest(vectors_ND, codes_CD))


def test_no_vectors_have_no_codes():
    assert nearest(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0,)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-4, 1e4))
def test_sums_have_the_same_bits_in_any_order_and_any_cut(seed, scale):
    vectors_ND = torch.randn(300, 3, generator=seeded(seed)) * scale
    codes_N = torch.randint(5, (300,), generator=seeded(seed))
    order_N = torch.randperm(300, generator=seeded(seed + 1))
    whole_CD = sums_by_code(vectors_ND, codes_N, 5)
    assert torch.equal(sums_by_code(vectors_ND[order_N], codes_N[order_N], 5), whole_CD)
    assert torch.equal(sum(sums_by_code(v, c, 5) for v, c in zip(vectors_ND.split(7), codes_N.split(7))), whole_CD)
    exact_CD = torch.zeros(5, 3, dtype=torch.float64).index_add_(0, codes_N, vectors_ND.double())
    torch.testing.assert_close(whole_CD, exact_CD, atol=300 * 2.0**-29, rtol=0)


def test_k_means_finds_separate_clusters():
    vectors_ND, middles_CD = blobs(num_blobs=12, num_each=30)
    centres_CD, counts_C = kmeans(vectors_ND, 12, seeded())
    assert counts_C.tolist() == [30.0] * 12
    assert float((middles_CD[:, None] - centres_CD).norm(dim=-1).min(1).values.max()) < 0.2


def test_k_means_lowers_the_error_of_its_start():
    vectors_ND = torch.randn(2000, 6, generator=seeded())
    errors = []
    for num_iterations in (0, 1, 5, 50):
        centres_CD, _ = kmeans(vectors_ND, 32, seeded(3), num_iterations)
        errors.append(float((vectors_ND - centres_CD[nearest(vectors_ND, centres_CD)]).square().mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.9 * errors[0]


def test_the_same_key_gives_the_same_bits_and_another_key_another_start():
    vectors_ND = torch.randn(3000, 6, generator=seeded())
    first, again, other = (kmeans(vectors_ND, 16, seeded(key))[0] for key in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_vector_is_a_centre_where_there_are_fewer_vectors_than_codes():
    vectors_ND = torch.randn(5, 6, generator=seeded())
    centres_CD, counts_C = kmeans(vectors_ND, 16, seeded())
    assert centres_CD.shape == (16, 6)
    assert {tuple(row) for row in centres_CD.tolist()} == {tuple(row) for row in vectors_ND.tolist()}
    assert counts_C.sum() == 5 and counts_C.max() == 1


def test_a_start_from_many_vectors_is_k_means():
    vectors_ND = torch.randn(64, 6, generator=seeded())
    for found, expected in zip(codebook_start(vectors_ND, 16, seeded(3)), kmeans(vectors_ND, 16, seeded(3))):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("num_vectors", [1, 3, 30, 48])
def test_a_start_from_few_vectors_does_not_know_them_by_heart(num_vectors):
    vectors_ND = torch.randn(num_vectors, 6, generator=seeded())
    codes_CD, counts_C = codebook_start(vectors_ND, 16, seeded(3))
    again_CD, _ = codebook_start(vectors_ND, 16, seeded(3))
    assert torch.equal(codes_CD, again_CD) and codes_CD.shape == (16, 6) and codes_CD.isfinite().all()
    assert torch.equal(counts_C, nearest(vectors_ND, codes_CD).bincount(minlength=16).float())
    if num_vectors > 3:
        known_CD, _ = kmeans(vectors_ND, 16, seeded(3))
        ours, by_heart = (float((vectors_ND - codes[nearest(vectors_ND, codes)]).norm()) for codes in (codes_CD, known_CD))
        assert by_heart < ours < 0.9 * float((vectors_ND - vectors_ND.mean(0)).norm())


def test_a_centre_without_vectors_moves_to_the_worst_served_one():
    vectors_ND = torch.cat([torch.zeros(200, 2), torch.tensor([[9.0, 9.0]])])  # a start of four zeros has three empty centres
    centres_CD, _ = kmeans(vectors_ND, 4, seeded())
    assert [9.0, 9.0] in centres_CD.tolist()


@pytest.mark.parametrize("num_vectors", [500, 5000])
def test_k_means_looks_at_a_bounded_number_of_vectors(num_vectors):
    _, counts_C = kmeans(torch.randn(num_vectors, 3, generator=seeded()), 16, seeded())
    assert counts_C.sum() == min(num_vectors, 16 * module.VECTORS_PER_CODE)
