from dataclasses import replace

import torch
from torch.nn import functional

from lm.segment_discriminator import SegmentDiscriminatorConfig
from lm.window_discriminator import Judged, WindowDiscriminator
from tests.lm.made import SMALL, alone, batch
from tests.lm.test_window import LENGTHS, TASKS, WINDOW, window

CONFIG = SegmentDiscriminatorConfig(segments=2, embedding_width=6, kernels=(1, 2), channels=5, features=7)
OF_CLIPS = ("task_B", "time_BF", "context_B", "num_frames_B")
VOCAB_SIZE = SMALL.tokens.vocab_size


def judged(context_frames=2):
    return Judged.of(batch(TASKS, LENGTHS), window(), context_frames, VOCAB_SIZE)


def random_window(seed=0):
    codes = torch.randint(VOCAB_SIZE, (len(TASKS), 8, WINDOW), generator=torch.Generator().manual_seed(seed))
    return functional.one_hot(codes, VOCAB_SIZE).float()


def test_written_tokens_come_after_the_true_context():
    one, x_BCFV = judged(), random_window()
    found_BCFV = one.with_written(x_BCFV)
    for row, context in enumerate((2, 0, 2, 1)):
        assert int(one.view.context_B[row]) == context
        assert torch.equal(found_BCFV[row, :, :context], one.real_BCFV[row, :, :context])
        assert torch.equal(found_BCFV[row, :, context : context + WINDOW], x_BCFV[row])


def test_the_true_window_in_its_place_is_what_is_real():
    one, data = judged(), batch(TASKS, LENGTHS)
    codes = torch.cat([data.acoustic_BKF, data.semantic_BKF], dim=1)
    first_B = window().first_B
    for row in range(len(TASKS)):
        begin, end = int(first_B[row] - one.view.context_B[row]), int(first_B[row]) + WINDOW
        assert torch.equal(one.real_BCFV[row, :, : end - begin].argmax(-1), codes[row, :, begin:end])


def test_time_starts_anew_with_each_signal():
    assert judged().view.time_BF[2].tolist()[:6] == [2, 3, 0, 1, 2, 3]  # ss: two signals of four frames


def test_conditions_are_seen_and_those_of_another_clip_are_not():
    torch.manual_seed(0)
    discriminator = WindowDiscriminator(CONFIG, SMALL)
    one = judged()
    both = torch.cat([one.real_BCFV, one.with_written(random_window())])
    logits_SBN, features_SBND = discriminator(both, one.view)
    assert logits_SBN.shape == (2, 8, 8) and features_SBND.shape == (2, 8, 8, 7)
    for conditions, is_the_same in ((alone(one.view.conditions, 0), True), (alone(one.view.conditions, 1), False)):
        first = replace(one.view, conditions=conditions, **{name: getattr(one.view, name)[:1] for name in OF_CLIPS})
        found, _ = discriminator(both[[0, 4]], first)
        assert torch.allclose(found, logits_SBN[:, [0, 4]], atol=1e-5) == is_the_same
