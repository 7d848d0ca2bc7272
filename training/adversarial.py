"""What a generator of tokens and its discriminator lose, where segments are judged beside the whole (SegGAN, 1905.12835).

Three forms, each of them the plain one where there is one segment:
relgan   relativistic losses on straight-through one-hots, averaged over segments and representations;
seqgan   a classifier, whose opinion is the reward of the tokens that a segment has (REINFORCE, without rollouts);
leakgan  relativistic losses on features that are averaged over segments; the features also leak, as a goal.
All are means over clips of a clip's own mean: equal micro-batches and ranks add up to the joined batch. (The baseline of
rewards is that of the micro-batch.)

Shapes: S segments, B clips, N representations, D features, F frames.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from lm.segments import prefix_masks

Form = Literal["relgan", "seqgan", "leakgan"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class Opinions:
    """Of a discriminator, on the segments of clips."""

    logits_SBN: Tensor
    features_SBND: Tensor

    @classmethod
    def halves(cls, found: tuple[Tensor, Tensor]) -> tuple["Opinions", "Opinions"]:
        """Of the first and of the second half of the clips."""
        return tuple(cls(*parts) for parts in zip(*(part.float().chunk(2, dim=1) for part in found)))

    def detached(self) -> "Opinions":
        return Opinions(self.logits_SBN.detach(), self.features_SBND.detach())


@dataclass(frozen=True)
class Policy:
    """How likely a generator finds the tokens that it has drawn."""

    log_likely_BNF: Tensor  # of each codebook's token of a frame; N or 1
    num_frames_B: Tensor


def relativistic_loss(better_SBN: Tensor, worse_SBN: Tensor) -> Tensor:
    """-log sigmoid of the difference (Jolicoeur-Martineau, arXiv 1807.00734), pair by pair."""
    return functional.softplus(worse_SBN - better_SBN).mean()


def discriminator_loss(form: Form, real: Opinions, fake: Opinions) -> Tensor:
    if form == "seqgan":
        return (functional.softplus(-real.logits_SBN).mean() + functional.softplus(fake.logits_SBN).mean()) / 2
    return relativistic_loss(real.logits_SBN, fake.logits_SBN)


def generator_loss(form: Form, fake: Opinions, real: Opinions, policy: Policy | None = None) -> Tensor:
    """What the generator of the fake loses. `policy` is what seqgan trains by, and no other form reads."""
    real = real.detached()
    if form == "seqgan":
        return policy_loss(policy, fake.detached().logits_SBN.sigmoid())
    loss = relativistic_loss(fake.logits_SBN, real.logits_SBN)
    return loss + goal_distance(fake, real) if form == "leakgan" else loss


def goal_distance(fake: Opinions, real: Opinions) -> Tensor:
    """1 - cosine of the fake's features and the leaked ones of the real: where LeakGAN's manager points (arXiv 1709.08624)."""
    return (1 - functional.cosine_similarity(fake.features_SBND, real.features_SBND, dim=-1)).mean()


def policy_loss(policy: Policy, rewards_SBN: Tensor) -> Tensor:
    """REINFORCE: each token's likelihood grows by its credit."""
    credit_BNF = credit_of(rewards_SBN, policy.num_frames_B, policy.log_likely_BNF.shape[-1])
    if policy.log_likely_BNF.shape[1] != credit_BNF.shape[1]:  # several representations of a codebook: their mean
        num_codebooks = policy.log_likely_BNF.shape[1]
        credit_BNF = credit_BNF.unflatten(1, (num_codebooks, -1)).mean(2)
    gain_BN = (credit_BNF * policy.log_likely_BNF).sum(-1) / policy.num_frames_B[:, None]
    return -gain_BN.mean()


def credit_of(rewards_SBN: Tensor, num_frames_B: Tensor, num_frames: int) -> Tensor:
    """(B, N, F): of each token the rewards, over the mean of the batch, of the segments that end after it; 0 past the end.

    A segment that ends before a token says nothing about it: its reward would be noise.
    """
    advantage_SBN = rewards_SBN - rewards_SBN.mean(1, keepdim=True)
    masks_SBF = prefix_masks(num_frames_B, len(rewards_SBN), num_frames)
    return torch.einsum("sbn,sbf->bnf", advantage_SBN, masks_SBF.to(advantage_SBN.dtype)) / len(rewards_SBN)
