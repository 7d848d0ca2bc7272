"""What each system makes of an example: the models, and what stands beside them. No Ray in here."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import soxr
import torch
from scipy.signal import istft, stft

from codec.model import Codec
from lm.tasks import TASKS
from pipelines.audio_streams import ArrayAudio, whole
from pipelines.bundle import Bundle
from pipelines.codec_measures import CodeCounts, reconstruct
from pipelines.evaluation_cases import CODEC, Case, case_seed
from pipelines.generation import Options, Request
from training.metrics import si_sdr
from training.metrics.clip_table import INPUT, MASK, ORACLE, TARGET
from training.metrics.signals import Unscorable

Waves = tuple[np.ndarray, ...]
MASKED = ("sr", "tse", "rtse", "ss", "lass", "aec")  # tasks whose target is a part of the input
WINDOW_S = 0.032  # of the mask's STFT, half overlapping


@dataclass(frozen=True, eq=False)
class Made:
    """What a system made: mono `(samples,)` at the case's rate, one for each target, in the targets' order; or why nothing."""

    system: str
    waves: Waves
    reason: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Systems:
    """The models by name, and how they are used."""

    models: Mapping[str, Bundle]
    options: Options
    seed: int

    def codecs(self) -> dict[str, Codec]:
        """Of the oracles, by their names: one if all models have the same."""
        ids = {name: bundle.about["codec"]["id"] for name, bundle in self.models.items()}
        if len(set(ids.values())) == 1:
            return {ORACLE: next(iter(self.models.values())).generator.codec}
        return {f"{ORACLE}-{name}": bundle.generator.codec for name, bundle in self.models.items()}

    def counts(self) -> dict[str, CodeCounts]:
        return {name: CodeCounts(_longest_group(codec)) for name, codec in self.codecs().items()}

    def make(self, case: Case, counts: Mapping[str, CodeCounts]) -> Iterator[Made]:
        """Every system that this task has. Codes of the targets are counted."""
        for name, bundle in self.models.items():
            yield _made(name, case, lambda bundle=bundle: self._model(bundle, case))
        if case.input is not None and case.task != CODEC:
            yield _made(INPUT, case, lambda: (case.input,) * case.num_targets)
        if not case.targets:
            return
        for name, codec in self.codecs().items():
            if case.task != CODEC:
                yield _made(name, case, lambda name=name, codec=codec: _through(codec, case, counts[name]))
        if case.task in MASKED and case.input is not None:
            yield _made(MASK, case, lambda: masked(case))
        yield _made(TARGET, case, lambda: case.targets)

    @torch.inference_mode()
    def _model(self, bundle: Bundle, case: Case) -> Waves:
        if case.task == CODEC:
            return _through(bundle.generator.codec, case, CodeCounts(_longest_group(bundle.generator.codec)))
        given = {
            name: None if wave is None or name not in _taken(case.task) else ArrayAudio(wave[None], case.sample_rate_hz, name)
            for name, wave in (("input", case.input), ("reference", case.reference))
        }
        request = Request(case.task, text=case.text, **given)
        options = replace(self.options, seed=case_seed(self.seed, case))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*did not end by itself")  # its length is judged
            made = whole(bundle.generator.stream(request, options))[:, 0]
        if given["input"] is None:
            return tuple(_at_rate(wave, bundle.sample_rate_hz, case.sample_rate_hz) for wave in made)
        return tuple(made)


def _taken(name: str) -> tuple[str, ...]:
    return TASKS[name].needs + TASKS[name].may_have


def _longest_group(codec: Codec) -> int:
    return codec.config.grouping.max_frames if codec.config.grouping else 1


def _made(system: str, case: Case, make: Callable[[], Waves]) -> Made:
    """What `make` gives, in the order of the targets; a model that fails on an example gives a reason."""
    started = time.perf_counter()
    try:
        waves = tuple(np.asarray(wave, np.float32) for wave in make())
    except (ValueError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return Made(system, (), f"failed: {error}", time.perf_counter() - started)
    seconds = time.perf_counter() - started
    reason = _unusable(waves, case)
    return Made(system, () if reason else in_order(waves, case), reason, seconds)


def _unusable(waves: Waves, case: Case) -> str:
    if len(waves) != case.num_targets:
        return f"it gives {len(waves)} signals, the example has {case.num_targets}"
    for wave in waves:
        num_bad = int(np.count_nonzero(~np.isfinite(wave)))
        if num_bad or not len(wave):
            return f"{num_bad} of {len(wave)} samples are not finite" if num_bad else "no samples"
    return ""


def in_order(waves: Waves, case: Case) -> Waves:
    """The permutation that has the best mean SI-SDR (Yu et al., "Permutation invariant training", ICASSP 2017)."""
    if len(waves) < 2 or any(len(wave) != len(case.targets[0]) for wave in waves):
        return waves
    table = [[_si_sdr(target, wave, case.sample_rate_hz) for wave in waves] for target in case.targets]
    orders = itertools.permutations(range(len(waves)))
    best = max(orders, key=lambda order: sum(row[number] for row, number in zip(table, order)))
    return tuple(waves[number] for number in best)


def _si_sdr(target: np.ndarray, wave: np.ndarray, sample_rate_hz: int) -> float:
    try:
        return si_sdr.score(target, wave, sample_rate_hz)
    except Unscorable:
        return -si_sdr.LIMIT_DB


def _through(codec: Codec, case: Case, counts: CodeCounts) -> Waves:
    """Each target through the codec and back."""
    rate_hz, made = codec.config.sample_rate_hz, []
    for target in case.targets:
        wave, codes = reconstruct(codec, _at_rate(target, case.sample_rate_hz, rate_hz))
        counts.add(codes, rate_hz)
        back = _at_rate(wave, rate_hz, case.sample_rate_hz)[: len(target)]
        made.append(np.pad(back, (0, len(target) - len(back))))
    return tuple(made)


def _at_rate(wave: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    return wave if from_hz == to_hz else soxr.resample(wave, from_hz, to_hz, quality="HQ")


def masked(case: Case) -> Waves:
    """The input through each target's ideal ratio mask (Wang et al., "On training targets ...", TASLP 2014, beta 0.5)."""
    size = 2 * round(WINDOW_S * case.sample_rate_hz / 2)
    settings = {"nperseg": size, "noverlap": size // 2, "window": "hann"}
    mixture, made = stft(case.input, **settings)[2], []
    for target in case.targets:
        if len(target) != len(case.input):
            raise ValueError("the target is not of the same time as the input")
        wanted, rest = (np.square(np.abs(stft(part, **settings)[2])) for part in (target, case.input - target))
        mask = np.sqrt(wanted / np.maximum(wanted + rest, 1e-12))
        wave = istft(mask * mixture, **settings)[1][: len(target)]
        made.append(np.pad(wave, (0, len(target) - len(wave))).astype(np.float32))
    return tuple(made)
