import math

import numpy as np
import pytest

from lm.config import TokenConfig
from training.data.token_examples import TokenExample
from training.token_baselines import NO_TOKEN, Copy, Unigram, copy_scores, rows_of, unigram_scores

TOKENS = TokenConfig(num_acoustic=2, num_semantic=1, codebook_size=16)


def example(task: str = "sr", num_frames: int = 200, seed: int = 0, share: float = 0.0) -> tuple[TokenExample, tuple]:
    """Random tokens of which the lower half of the codes comes three times as often, and a copy that is right in a share."""
    rng = np.random.default_rng(seed)
    codes = [rng.choice(16, (layers, num_frames), p=[0.09375] * 8 + [0.03125] * 8) for layers in (2, 1)]
    copied = tuple(np.where(rng.random(part.shape) < share, part, rng.integers(0, 16, part.shape)) for part in codes)
    return TokenExample(f"{task}-{seed}", task, None, None, None, *codes, None, None, np.zeros(3)), copied


def fitted(task: str = "sr", share: float = 0.0) -> tuple[Unigram, Copy]:
    unigram = Unigram(TOKENS)
    pairs = [example(task, seed=seed, share=share) for seed in range(20)]
    for one, _ in pairs:
        unigram.add(one)
    copy = Copy(unigram)
    copy.fit(*zip(*pairs))
    return unigram, copy


def test_a_unigram_comes_close_to_the_entropy_of_its_source():
    unigram, _ = fitted()
    entropy = -8 * (0.09375 * math.log(0.09375) + 0.03125 * math.log(0.03125))
    scores = unigram_scores(unigram, [example(seed=seed)[0] for seed in range(100, 110)])
    assert scores.loss() == pytest.approx(entropy, abs=0.03)
    assert scores.num_targets == 10 * 200 * 3
    assert scores.present() == ["sr"]


def test_tokens_and_tasks_that_were_never_seen_are_possible():
    unigram, _ = fitted()
    loss = unigram_scores(unigram, [example("lass")[0]]).loss()
    assert loss == pytest.approx(math.log(17))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_a_copy_is_trusted_as_far_as_it_was_right(share):
    unigram, copy = fitted(share=share)
    assert all(trust == pytest.approx(share, abs=0.05) for trust in copy.trust.values())
    held_out = [example(seed=seed, share=share) for seed in range(100, 105)]
    scores, alone = copy_scores(copy, *zip(*held_out)), unigram_scores(unigram, [one for one, _ in held_out])
    assert scores.num_targets == alone.num_targets
    assert (scores.loss() < alone.loss() - 0.1) == (share > 0)
    assert scores.loss() < alone.loss() + 0.01
    if share == 0.8:
        right = share + 0.2 / 16
        assert scores.accuracy() == pytest.approx(right, abs=0.03)


def test_a_perfect_copy_is_nearly_certain_and_never_impossible():
    _, copy = fitted(share=1.0)
    scores = copy_scores(copy, *zip(example(seed=100, share=1.0)))
    assert scores.loss() < 0.01 and scores.accuracy() == 1.0
    assert math.isfinite(copy_scores(copy, *zip(example(seed=100, share=0.0))).loss())


def test_rows_of_a_free_target_have_its_end_and_two_targets_the_input_twice():
    one, copied = example("event_edit", num_frames=5)
    rows = {row.place: row for row in rows_of(one, TOKENS, tuple(part[:, :3] for part in copied))}
    first = rows["event_edit", 0, 0]
    assert first.symbols.tolist() == [*one.acoustic_KF[0].tolist(), TOKENS.end]
    assert first.copied.tolist() == [*copied[0][0, :3].tolist(), TOKENS.end, TOKENS.end, TOKENS.end]
    assert rows["event_edit", 0, 1].copied[3:].tolist() == [NO_TOKEN] * 2
    longer = {row.place: row for row in rows_of(one, TOKENS, tuple(np.tile(part, 2) for part in copied))}
    assert longer["event_edit", 0, 0].copied.tolist() == np.tile(copied[0][0], 2)[:6].tolist()
    both, copied = example("ss", num_frames=6)
    halves = tuple(part[:, :3] for part in copied)
    assert {row.place: row for row in rows_of(both, TOKENS, halves)}["ss", 1, 0].copied.tolist() == 2 * halves[1][0].tolist()
    assert all((row.copied == NO_TOKEN).all() for row in rows_of(both, TOKENS))
