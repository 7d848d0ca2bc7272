"""The losses of codec training. Each is the mean over clips of a clip's own loss.

So the mean over equally many clips of micro-batches or ranks is that of the whole batch, and padding, which no loss reads,
changes nothing: a clip counts the same whatever it is batched with.

Shapes: B clips, T samples, F frames, W bins, M mel bands, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from codec.discriminators.judgement import Judgement
from codec.mel import LogMel

# Windows and mel bands of the multi-scale distance (Kumar et al., arXiv 2306.06546, section 3.4); hops are quarters of them.
MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
SMALLEST = 1e-8  # of a sum that is divided by


@dataclass(frozen=True)
class LossConfig:
    """Weights of the generator's losses.

    The published sets take means within each of three families of discriminators and add the families, at 1 (adversarial) and
    1..2 (features); here it is the mean over all discriminators, hence times three. Their mel weights (45 for one scale in
    natural logarithms, 15 for the sum of seven in decimal ones) both are about 45 for the mean of seven in natural ones.
    """

    mel: float = 45.0
    adversarial: float = 3.0
    feature_matching: float = 6.0
    semantic: float = 15.0
    commitment: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"losses.{name} is {weight}: give 0 or more")


def inside_BF(num_frames_B: Tensor, num_frames: int) -> Tensor:
    """True where a position lies inside its clip."""
    return torch.arange(num_frames, device=num_frames_B.device) < num_frames_B[:, None]


def mean_over_clips(loss_BFW: Tensor, num_frames_B: Tensor | None) -> Tensor:
    """The mean over clips of the mean over each clip's frames (all, if None) and bins."""
    if num_frames_B is None:
        return loss_BFW.mean()
    sum_BF = loss_BFW.mean(-1).masked_fill(~inside_BF(num_frames_B, loss_BFW.shape[1]), 0)
    return (sum_BF.sum(-1) / num_frames_B).mean()


def mel_distance(real_BT: Tensor, fake_BT: Tensor, sample_rate_hz: int, num_samples_B: Tensor | None = None) -> Tensor:
    """Mean absolute difference of natural-log mel spectrograms over seven scales. Both waves must be 0 past a clip's end."""
    distances = []
    for window_samples, num_mels in MEL_SCALES:
        hop = window_samples // 4
        log_mel = LogMel(sample_rate_hz, window_samples, hop, num_mels)
        difference_BMF = (log_mel(real_BT) - log_mel(fake_BT)).abs()
        num_frames_B = None if num_samples_B is None else num_samples_B // hop + 1
        distances.append(mean_over_clips(difference_BMF.transpose(1, 2), num_frames_B))
    return torch.stack(distances).mean()


def semantic_distance(real_BDF: Tensor, predicted_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
    """Mean squared error of the teacher's compressed feature."""
    error_BDF = functional.mse_loss(predicted_BDF.float(), real_BDF.float(), reduction="none")
    return mean_over_clips(error_BDF.transpose(1, 2), num_frames_B)


def discriminator_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Hinge loss (Lim and Ye, "Geometric GAN", arXiv 1705.02894): real above 1, fake below -1."""
    losses = [_hinge(judgement, 1) for judgement in real] + [_hinge(judgement, -1) for judgement in fake]
    return torch.stack(losses).sum() / len(real)


def adversarial_loss(fake: list[Judgement]) -> Tensor:
    """What the generator wants: the discriminators' opinion of the fake, turned round."""
    opinions = [mean_over_clips(judgement.logits_BFW.float(), judgement.num_frames_B) for judgement in fake]
    return -torch.stack(opinions).mean()


def feature_matching(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Distance of hidden layers, relative to the size of the real ones (Défossez et al., "EnCodec", arXiv 2210.13438, 3.4)."""
    distances = []
    for one, other in zip(real, fake):
        for real_BCFW, fake_BCFW in zip(one.features, other.features):
            difference_B = (real_BCFW.detach() - fake_BCFW).float().abs().sum((1, 2, 3))
            size_B = real_BCFW.detach().float().abs().sum((1, 2, 3))
            distances.append((difference_B / size_B.clamp(min=SMALLEST)).mean())
    return torch.stack(distances).mean()


def halves(judgements: list[Judgement]) -> tuple[list[Judgement], list[Judgement]]:
    """The judgements of the first and of the second half of the clips."""
    return [_half(judgement, 0) for judgement in judgements], [_half(judgement, 1) for judgement in judgements]


def _half(judgement: Judgement, which: int) -> Judgement:
    features = [feature.chunk(2)[which] for feature in judgement.features]
    num_frames_B = None if judgement.num_frames_B is None else judgement.num_frames_B.chunk(2)[which]
    return Judgement(judgement.logits_BFW.chunk(2)[which], features, num_frames_B)


def _hinge(judgement: Judgement, sign: int) -> Tensor:
    return mean_over_clips(functional.relu(1 - sign * judgement.logits_BFW.float()), judgement.num_frames_B)
