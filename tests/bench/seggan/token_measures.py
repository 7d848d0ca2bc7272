"""How real the tokens look that a language model writes, and how the audio sounds that they stand for.

Shapes: C codebooks (acoustic, then semantic), F frames, T samples.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from codec.codes import Codes
from codec.model import Codec
from infra.dataset import open_dataset, read_shard
from infra.storage import open_store
from lm.audio_encoder import RATE_HZ
from lm.conditions import Encoders
from lm.generate import Prompt, generate
from lm.model import UnifiedLM
from lm.sampling import Sampling
from training.data.token_examples import TokenExample
from training.keys import key
from training.metrics.scoring import Pair, mean_scores

METRICS = ("pesq_wb", "dnsmos_ovrl")
ORDERS = (1, 2)
Words = list[np.ndarray]
"""Codes (C, F) of clips."""


@dataclass(frozen=True)
class HeldOut:
    """Restoration examples cut to one length, with the clean audio of their targets."""

    examples: list[TokenExample]
    references: list[np.ndarray]  # (T,) float32 at 16 kHz

    @classmethod
    def of(cls, examples: Sequence[TokenExample], audio: str, crop_s: float, frame_rate_hz: float) -> "HeldOut":
        waves = _targets(audio, {example.key for example in examples})
        cut = cls.cut(examples, crop_s, frame_rate_hz)
        return cls(cut, [waves[example.key][: len(example.input)] for example in cut])

    @staticmethod
    def cut(examples: Sequence[TokenExample], crop_s: float, frame_rate_hz: float) -> list[TokenExample]:
        frames, samples = round(crop_s * frame_rate_hz), round(crop_s * RATE_HZ)
        return [
            replace(
                one,
                input=one.input[:samples],
                acoustic_KF=one.acoustic_KF[:, :frames],
                semantic_KF=one.semantic_KF[:, :frames],
            )
            for one in examples
            if one.acoustic_KF.shape[1] >= frames
        ]

    def floors(self, elsewhere: Words, codec: str, num_scored: int) -> list[dict[str, Any]]:
        """What nothing can beat: real tokens of other clips beside these, the codec's own reconstruction; and the input."""
        real = real_words(self.examples)
        inputs = [example.input * np.float32(2**-15) for example in self.examples]
        return [
            {"arm": "real, of other clips"} | _looks("drawn", elsewhere, real),
            {"arm": "real"} | {"drawn/repeats": repeats(real)} | self._sounds(_decoded(codec, real[:num_scored])),
            {"arm": "input"} | self._sounds(inputs[:num_scored]),
        ]

    def _sounds(self, waves: Sequence[np.ndarray]) -> dict[str, float]:
        pairs = []
        for wave, reference in zip(waves, self.references):
            size = min(len(wave), len(reference))
            pairs.append(Pair(reference[:size], wave[:size], RATE_HZ))
        return mean_scores(pairs, METRICS)


def real_words(examples: Sequence[TokenExample]) -> Words:
    return [np.concatenate([one.acoustic_KF, one.semantic_KF]) for one in examples]


def measured(model: UnifiedLM, encoders: Encoders, held_out: HeldOut, codec: str, num_scored: int) -> dict[str, float]:
    """Tokens that are drawn and the most probable ones, beside the real ones; the audio is that of the most probable."""
    real, found = real_words(held_out.examples), {}
    for name, temperature in (("drawn", 1.0), ("greedy", 0.0)):
        written = _written(model, encoders, held_out.examples, temperature)
        found |= _looks(name, written, real)
    return found | held_out._sounds(_decoded(codec, written[:num_scored]))


def _looks(name: str, written: Words, real: Words) -> dict[str, float]:
    looks = {f"{name}/repeats": repeats(written)}
    return looks | {f"{name}/{order}-gram divergence": divergence(written, real, order) for order in ORDERS}


def repeats(words: Words) -> float:
    """The share of tokens that are those of the frame before, mean over codebooks."""
    return float(np.mean([(codes_CF[:, 1:] == codes_CF[:, :-1]).mean() for codes_CF in words]))


def divergence(one: Words, other: Words, order: int) -> float:
    """Jensen-Shannon, in bits, of the n-grams of each codebook; mean over codebooks. 0: alike, 1: nothing in common."""
    return float(np.mean([_jensen_shannon(*(_ngrams(part, c, order) for part in (one, other))) for c in range(len(one[0]))]))


def _ngrams(words: Words, codebook: int, order: int) -> Counter:
    found: Counter = Counter()
    for codes_CF in words:
        row = codes_CF[codebook].tolist()
        found.update(zip(*(row[start:] for start in range(order))))
    return found


def _jensen_shannon(one: Counter, other: Counter) -> float:
    p, q = (np.array([part[word] for word in one | other]) / part.total() for part in (one, other))
    middle = (p + q) / 2
    return float(sum((x[x > 0] * np.log2(x[x > 0] / middle[x > 0])).sum() for x in (p, q)) / 2)


@torch.inference_mode()
def _written(model: UnifiedLM, encoders: Encoders, examples: Sequence[TokenExample], temperature: float) -> Words:
    words = []
    for start in range(0, len(examples), 16):
        part = examples[start : start + 16]
        tasks = [one.task for one in part]
        conditions = encoders(tasks, inputs=[torch.from_numpy(one.input * np.float32(2**-15)) for one in part])
        seeds = [key("real tokens", one.key) for one in part]
        prompt = Prompt(tasks, conditions, [one.acoustic_KF.shape[1] for one in part], seeds)
        frames = generate(model, prompt, Sampling(temperature=temperature))
        words += list(torch.cat([frames.acoustic_BKF, frames.semantic_BKF], dim=1).numpy())
    return words


@torch.inference_mode()
def _decoded(place: str, words: Words) -> list[np.ndarray]:
    codec = Codec.from_pretrained(place).eval()
    codes_BCF = torch.from_numpy(np.stack(words))
    quantiser, config = codec.config.quantiser, codec.config
    num_B = torch.full((len(words),), codes_BCF.shape[2])
    acoustic_BKF, semantic_BKF = codes_BCF.split([quantiser.num_acoustic, quantiser.num_semantic], dim=1)
    codes = Codes(
        acoustic_BKF, semantic_BKF, num_B, num_B * config.samples_per_frame, config.frame_rate_hz, quantiser.codebook_size
    )
    return list(codec.decode(codes).float().numpy())


def _targets(place: str, keys: set[str]) -> dict[str, np.ndarray]:
    """The target of each example of a simulated dataset, at 16 kHz. ValueError where one is missing."""
    dataset, found = open_dataset(open_store(place)), {}
    for row in dataset.shards().itertuples():
        for sample in read_shard(dataset.store, row.shard, row.shard_sha256, row.num_examples):
            if sample.key in keys:
                audio, sample_rate_hz = sample.members["target.flac"]
                assert sample_rate_hz == RATE_HZ, sample_rate_hz
                found[sample.key] = audio[0] * np.float32(2**-15) if audio.dtype == np.int16 else audio[0]
    if keys - found.keys():
        raise ValueError(f"{place}: no {sorted(keys - found.keys())[0]}: name the dataset that the held-out tokens are made of")
    return found
