"""What one seed of the benchmark compares."""

import json
import time
from dataclasses import asdict, dataclass, field

import torch

from infra.config import fingerprint, to_json
from infra.shards import encode_json
from infra.storage import FolderStore
from tests.bench.seggan.carriers import Carrier, Recipe, Stopwatch, pretrained, with_segments
from tests.bench.seggan.measures import Language
from tests.bench.seggan.networks import TokenLSTM
from tests.bench.seggan.table import Row
from training.adversarial import FORMS, Form

LONGER = 2  # times as many epochs of likelihood
MORE_STEPS = 3  # of the discriminator


@dataclass(frozen=True)
class Size:
    """Of what is learnt, and of the training."""

    vocab_size: int = 64
    num_tokens: int = 64
    width: int = 32
    """Of oracle and generator."""
    num_training: int = 10_000
    """Sequences of the oracle to learn from."""
    epochs: int = 8
    updates: int = 100
    segments: int = 4
    num_samples: int = 1024
    """That are judged."""
    temperatures: tuple[float, ...] = (0.95, 0.9, 0.8)
    forms: tuple[Form, ...] = FORMS
    recipe: Recipe = field(default_factory=Recipe)


class Seed:
    """One seed: a language, a generator trained by likelihood, and what becomes of it."""

    def __init__(self, size: Size, seed: int):
        self.size, self.seed, self.arms = size, seed, {}
        self.language = Language.of(size.vocab_size, size.num_tokens, size.width, seed, num_training=size.num_training)

    def run(self) -> dict[str, Row]:
        size = self.size
        self._note("oracle", self.language.oracle)
        start, clock = self._by_likelihood(size.epochs)
        self._note("MLE", start, clock)
        for temperature in size.temperatures:
            self._note(f"MLE, temperature {temperature:g}", start, clock, temperature=temperature)
        self._note(f"MLE, {LONGER} x epochs", *self._by_likelihood(LONGER * size.epochs))
        for form in size.forms:
            self._compare(form, start)
        return self.arms

    def _by_likelihood(self, epochs: int) -> tuple[TokenLSTM, Stopwatch]:
        with (clock := Stopwatch()):
            found = pretrained(self.language, self.size.width, self.seed, epochs=epochs)
        return found, clock

    def _compare(self, form: Form, start: TokenLSTM) -> None:
        size, whole = self.size, with_segments(self.size.recipe, 1)
        judged = Carrier(start, self.language, form, with_segments(size.recipe, size.segments), self.seed)
        judged.run(lambda one: one.updates >= size.updates)
        self._note_of(f"{form}, segments", judged)
        plain = Carrier(start, self.language, form, whole, self.seed)
        plain.run(lambda one: one.updates >= size.updates)
        self._note_of(f"{form}, whole, equal updates", plain)
        limit_s = judged.clock.spent_s
        plain.run(lambda one: one.clock.spent_s >= limit_s)
        self._note_of(f"{form}, whole, equal CPU", plain)
        if form == "relgan":
            often = Carrier(start, self.language, form, whole, self.seed)
            often.run(lambda one: one.clock.spent_s >= limit_s, discriminator_steps=MORE_STEPS)
            self._note_of(f"{form}, whole, {MORE_STEPS} steps of D, equal CPU", often)

    def _note_of(self, arm: str, carrier: Carrier) -> None:
        self._note(arm, carrier.generator, carrier.clock, updates=carrier.updates)

    def _note(
        self, arm: str, found: TokenLSTM, clock: Stopwatch | None = None, *, temperature: float = 1.0, updates: int = 0
    ) -> None:
        judged = self.language.judge(found, self.size.num_samples, self.seed, temperature)
        self.arms[arm] = asdict(judged) | {"updates": updates, "cpu_s": clock.spent_s if clock else 0.0}


def one_seed(size: Size, out: str, seed: int) -> dict[str, Row]:
    """From its file, or made and put there."""
    torch.set_num_threads(1)
    place, name = FolderStore(out), f"{fingerprint(to_json(size))}-{seed}.json"
    if not place.exists(name):
        began_s = time.monotonic()
        arms = Seed(size, seed).run()
        place.put(name, encode_json({"size": to_json(size), "seed": seed, "arms": list(arms.items())}))
        print(f"seed {seed}: {time.monotonic() - began_s:.0f} s", flush=True)
    return dict(json.loads(place.get(name))["arms"])
