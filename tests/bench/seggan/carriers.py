"""A generator trained by likelihood, then by a discriminator of one of three forms; the losses are those of `make train-lm`.

Shapes: B sequences, T tokens, V symbols.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from lm.segment_discriminator import SegmentDiscriminator, SegmentDiscriminatorConfig
from tests.bench.seggan.measures import Language
from tests.bench.seggan.networks import TokenLSTM, gumbel
from training.adversarial import Form, Opinions, Policy, discriminator_loss, generator_loss
from training.keys import generator, key


@dataclass(frozen=True)
class Recipe:
    """Of the adversarial part."""

    batch_size: int = 32
    learning_rate: float = 3e-4
    discriminator_rate: float = 1e-3
    head_start: int = 20
    """Updates of the discriminator alone, before."""
    discriminator: SegmentDiscriminatorConfig = field(
        default_factory=lambda: SegmentDiscriminatorConfig(
            representations=2, embedding_width=16, kernels=(2, 3, 4), channels=32, features=64
        )
    )


class Stopwatch:
    """CPU seconds of this process, which others on the machine do not change."""

    def __init__(self) -> None:
        self.spent_s, self._began_s = 0.0, None

    def __enter__(self) -> None:
        self._began_s = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.spent_s += time.process_time() - self._began_s


def pretrained(language: Language, width: int, seed: int, *, epochs: int) -> TokenLSTM:
    """By likelihood: the weights of the epoch that is best on held-out sequences."""
    torch.manual_seed(key(seed, "generator"))
    found = TokenLSTM(language.oracle.vocab_size, width)
    adam, best, least = torch.optim.Adam(found.parameters(), 1e-2), None, float("inf")
    for epoch in range(epochs):
        for group in adam.param_groups:
            group["lr"] = 1e-2 * 0.5 ** (6 * epoch / epochs)
        order = torch.from_numpy(generator(seed, "epoch", epoch).permutation(len(language.training_BT)))
        for rows in order.split(64):
            _update(adam, -found.log_likely(language.training_BT[rows]).mean())
        with torch.no_grad():
            loss = float(-found.log_likely(language.held_out_BT[:512]).mean())
        if loss < least:
            best, least = copy.deepcopy(found.state_dict()), loss
    found.load_state_dict(best)
    return found


class Carrier:
    """One adversarial training."""

    def __init__(self, start: TokenLSTM, language: Language, form: Form, recipe: Recipe, seed: int):
        self.generator, self.language, self.form, self.recipe, self.seed = copy.deepcopy(start), language, form, recipe, seed
        torch.manual_seed(key(seed, "discriminator"))
        self.discriminator = SegmentDiscriminator(recipe.discriminator, 1, start.vocab_size, form == "leakgan")
        self._adams = [
            torch.optim.Adam(network.parameters(), rate, betas=(0.9, 0.999))
            for network, rate in ((self.generator, recipe.learning_rate), (self.discriminator, recipe.discriminator_rate))
        ]
        self._draws = self._batches()
        self.clock, self.updates = Stopwatch(), 0
        with self.clock:
            for _ in range(recipe.head_start):
                self._discriminator_step()

    def run(self, is_enough: Callable[["Carrier"], bool], discriminator_steps: int = 1) -> None:
        """The first of the discriminator's steps is on what the generator has just made, as in `make train-lm`."""
        while not is_enough(self):
            with self.clock:
                fake_BTV, real_BTV = self._generator_step()
                self._discriminator_step(fake_BTV, real_BTV)
                for _ in range(discriminator_steps - 1):
                    self._discriminator_step()
            self.updates += 1

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Gumbel noise and real sequences as one-hots, keyed: the same for every form and number of segments."""
        data, count, draw = self.language.training_BT, self.recipe.batch_size, 0
        while True:
            rows = torch.from_numpy(generator(self.seed, "rows", draw).integers(0, len(data), count))
            noise_TBV = gumbel((data.shape[1], count, self.generator.vocab_size), key(self.seed, "noise", draw))
            yield noise_TBV, functional.one_hot(data[rows], self.generator.vocab_size).float()
            draw += 1

    def _generator_step(self) -> tuple[Tensor, Tensor]:
        noise_TBV, real_BTV = next(self._draws)
        policy = None
        if self.form == "seqgan":
            drawn_BT = self.generator.sample(noise_TBV)
            fake_BTV = functional.one_hot(drawn_BT, real_BTV.shape[-1]).float()
            policy = Policy(self.generator.log_likely(drawn_BT)[:, None], torch.full((len(drawn_BT),), drawn_BT.shape[1]))
        else:
            fake_BTV = self.generator.relaxed(noise_TBV)
        self.discriminator.requires_grad_(False)
        fake, real = Opinions.halves(self._judged(fake_BTV, real_BTV))
        _update(self._adams[0], generator_loss(self.form, fake, real, policy), self.generator)
        self.discriminator.requires_grad_(True)
        return fake_BTV.detach(), real_BTV

    def _discriminator_step(self, fake_BTV: Tensor | None = None, real_BTV: Tensor | None = None) -> None:
        if fake_BTV is None:
            noise_TBV, real_BTV = next(self._draws)
            fake_BTV = functional.one_hot(self.generator.sample(noise_TBV), real_BTV.shape[-1]).float()
        real, fake = Opinions.halves(self._judged(real_BTV, fake_BTV))
        _update(self._adams[1], discriminator_loss(self.form, real, fake), self.discriminator)

    def _judged(self, first_BTV: Tensor, second_BTV: Tensor) -> tuple[Tensor, Tensor]:
        both_B1TV = torch.cat([first_BTV, second_BTV])[:, None]
        return self.discriminator(both_B1TV, torch.full((len(both_B1TV),), both_B1TV.shape[2]))


def with_segments(recipe: Recipe, segments: int) -> Recipe:
    return replace(recipe, discriminator=replace(recipe.discriminator, segments=segments))


def _update(adam: torch.optim.Adam, loss: Tensor, clipped: torch.nn.Module | None = None) -> None:
    adam.zero_grad()
    loss.backward()
    if clipped is not None:
        torch.nn.utils.clip_grad_norm_(clipped.parameters(), 5.0)
    adam.step()
