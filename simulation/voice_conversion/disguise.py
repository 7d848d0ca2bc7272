"""The same words at the same time in somebody else's voice: other formants, pitch, pitch range, envelope and breath."""

import math
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from simulation.seeds import Rng, chance, seed_of, uniform
from simulation.voice_conversion.pitch import F0_RANGE_HZ, PERIOD_S, Track, track
from simulation.voice_conversion.psola import Spectrum, lay_out, overlap_add
from simulation.voice_conversion.timbre import FORMANTS_HZ
from simulation.voice_conversion.vocoder import resynthesise

KNOTS_HZ = (500.0, 1200.0, 2000.0, 3000.0, 4200.0)  # of the frequency warp, in what is heard
GAIN_KNOTS_HZ = (100.0, 400.0, 1000.0, 2000.0, 3500.0, 6000.0)
WARP_EDGE_HZ = 8000.0  # above it formants say little about the speaker: what lies there stays
MEDIAN_RANGE_HZ = (70.0, 350.0)  # of people's speech, low men to small children
SHORTEST_VOICED_S = 0.3


class Unvoiced(ValueError):
    """There is not enough voice in the signal to change it."""


@dataclass(frozen=True)
class DisguiseRange:
    """What may happen to a voice. Magnitudes are bounded from below: a weak disguise leaves the speaker in the input."""

    pitch_semitones: tuple[float, float] = (2.5, 7.0)
    """Up or down evenly; turned round where it would leave what people speak at."""
    formant_ratio: tuple[float, float] = (1.1, 1.27)
    """Up, or its inverse down: a vocal tract that is shorter or longer by this."""
    opposed_probability: float = 0.2
    """Of formants against the pitch: up with it (a smaller person) is the usual case."""
    pitch_range: tuple[float, float] = (0.7, 1.4)
    """Of the semitones around the speaker's median."""
    warp: float = 0.06
    """Each knot of the frequency warp is off the formant ratio by up to this share."""
    gain_db: float = 5.0
    """Each knot of the envelope is raised or lowered by up to this."""
    breathy_probability: float = 0.3
    breathiness: tuple[float, float] = (0.1, 0.6)
    """Share of the amplitude above 1.5 kHz that becomes noise."""
    vocoder_share: float = 0.0
    """Of disguises made by the WORLD vocoder, 14 times slower, so that a model hears more than one way of making them."""

    def draw(self, rng: Rng, sample_rate_hz: int) -> "Disguise":
        """One disguise; each of its parts is a draw of its own."""
        upward, opposed = chance(rng("disguise", "upward"), 0.5), chance(rng("disguise", "opposed"), self.opposed_probability)
        semitones = uniform(rng("disguise", "pitch"), self.pitch_semitones, digits=2)
        ratio = uniform(rng("disguise", "formants"), self.formant_ratio)
        ratio = ratio if upward != opposed else round(1 / ratio, 4)
        heard_hz, from_hz = self._warp(rng, ratio, sample_rate_hz)
        gains = rng("disguise", "gains")
        breathy = chance(rng("disguise", "breathy"), self.breathy_probability)
        return Disguise(
            pitch_semitones=semitones if upward else -semitones,
            pitch_range=uniform(rng("disguise", "range"), self.pitch_range),
            formant_ratio=ratio,
            heard_hz=heard_hz,
            from_hz=from_hz,
            gain_db=tuple(uniform(gains, (-self.gain_db, self.gain_db), digits=2) for _ in GAIN_KNOTS_HZ),
            breathiness=uniform(rng("disguise", "breathiness"), self.breathiness) if breathy else 0.0,
            seed=seed_of(rng("disguise", "noise")) if breathy else 0,
            method="world" if chance(rng("disguise", "method"), self.vocoder_share) else "psola",
        )

    def _warp(self, rng: Rng, ratio: float, sample_rate_hz: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Knots around the ratio; between the last of them and the edge the axis is squeezed, so that no band stays empty."""
        edge_hz, generator = min(WARP_EDGE_HZ, sample_rate_hz / 2), rng("disguise", "warp")
        ratios = [ratio * (1 + uniform(generator, (-self.warp, self.warp))) for _ in KNOTS_HZ]
        knots = [(heard, round(heard / own, 1)) for heard, own in zip(KNOTS_HZ, ratios)]
        knots = [(heard, source) for heard, source in knots if max(heard, source) < 0.8 * edge_hz]
        knots = [
            (0.0, 0.0),
            *knots,
            (edge_hz, edge_hz),
            (max(edge_hz, sample_rate_hz / 2) + 1, max(edge_hz, sample_rate_hz / 2) + 1),
        ]
        return tuple(heard for heard, _ in knots), tuple(source for _, source in knots)


class Disguise(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was drawn. The library versions under it decide the last bit too: WORLD's (method "world"), scipy's FFT, soxr."""

    pitch_semitones: float
    pitch_range: float
    formant_ratio: float
    heard_hz: tuple[float, ...]
    from_hz: tuple[float, ...]
    gain_db: tuple[float, ...] = ()
    breathiness: float = 0.0
    seed: int = 0
    method: Literal["psola", "world"] = "psola"

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> "Disguised":
        """The voice `(1, samples)` float32 disguised, as long and at the same time. Unvoiced if there is nothing to change."""
        found = voiced_track(audio, sample_rate_hz)
        source_s = output_frames_s(audio.shape[1], sample_rate_hz)
        f0_hz = self.f0_of(found)
        shift = 12 * math.log2(float(np.median(f0_hz[found.voiced])) / found.median_hz())
        f0_hz = np.pad(f0_hz, (0, len(source_s) - len(f0_hz)), "edge")
        said = say(audio, found, self.spectrum(), sample_rate_hz, f0_hz=f0_hz, source_s=source_s, method=self.method)
        return Disguised(fitted(said, audio.shape[1]), found.median_hz(), round(shift, 4), self.mean_formant_ratio())

    def f0_of(self, found: Track) -> np.ndarray:
        """The disguised voice's F0 by frames of the track, gaps filled: `(frames,)` in Hz, in the range of the human voice."""
        median_hz = found.median_hz()
        wanted_hz = limited_hz(median_hz, self.pitch_semitones)
        spread = np.power(found.filled() / median_hz, self.pitch_range)
        return np.round(np.clip(wanted_hz * spread, *F0_RANGE_HZ), 2)

    def spectrum(self) -> Spectrum:
        """What happens to the spectrum."""
        gains = {"gain_hz": GAIN_KNOTS_HZ, "gain_db": self.gain_db} if self.gain_db else {}
        return Spectrum(self.heard_hz, self.from_hz, **gains, breathiness=self.breathiness, seed=self.seed)

    def mean_formant_ratio(self) -> float:
        """The warp's ratio over the range of the first four formants, each octave alike."""
        heard_hz = np.geomspace(*FORMANTS_HZ, 64)
        return round(float(np.exp(np.mean(np.log(heard_hz / np.interp(heard_hz, self.heard_hz, self.from_hz))))), 4)


@dataclass(frozen=True)
class Disguised:
    """The audio `(1, samples)` float32, and what of the request the voice had room for, the shift at its median F0."""

    audio: np.ndarray
    median_hz: float
    pitch_shift_semitones: float
    formant_ratio: float


def limited_hz(median_hz: float, semitones: float) -> float:
    """The median F0 after the shift, after the opposite one where this leaves MEDIAN_RANGE_HZ, at its limit if both do."""
    for step in (semitones, -semitones):
        wanted_hz = median_hz * 2 ** (step / 12)
        if MEDIAN_RANGE_HZ[0] <= wanted_hz <= MEDIAN_RANGE_HZ[1]:
            return wanted_hz
    return min(max(median_hz * 2 ** (semitones / 12), MEDIAN_RANGE_HZ[0]), MEDIAN_RANGE_HZ[1])


def voiced_track(audio: np.ndarray, sample_rate_hz: int) -> Track:
    """The F0 of a signal that has some. Unvoiced says how much is missing."""
    found = track(audio, sample_rate_hz)
    voiced_s = float(found.voiced.sum()) * PERIOD_S
    if voiced_s < SHORTEST_VOICED_S:
        raise Unvoiced(
            f"{voiced_s:.2f} s of voice in {audio.shape[1] / sample_rate_hz:.2f} s, {SHORTEST_VOICED_S} s are needed"
        )
    return found


def output_frames_s(num_samples: int, sample_rate_hz: int) -> np.ndarray:
    """Times of the frames that cover so many samples and a little more: `(frames,)`."""
    return np.arange(math.ceil(num_samples / sample_rate_hz / PERIOD_S) + 3) * PERIOD_S


def say(
    audio: np.ndarray,
    found: Track,
    spectrum: Spectrum,
    sample_rate_hz: int,
    *,
    f0_hz: np.ndarray,
    source_s: np.ndarray,
    method: Literal["psola", "world"] = "psola",
) -> np.ndarray:
    """`audio` with this F0, spectrum and timing, by output frames of 10 ms: float32 `(1, samples)`."""
    if method == "world":
        return resynthesise(audio, found, spectrum, sample_rate_hz, f0_hz=f0_hz, source_s=source_s)
    return overlap_add(audio, lay_out(found, f0_hz, source_s, sample_rate_hz), spectrum, sample_rate_hz)


def fitted(audio: np.ndarray, num_samples: int) -> np.ndarray:
    """Cut, or padded with silence at the end: `(1, num_samples)`."""
    kept = audio[:, :num_samples]
    return np.pad(kept, ((0, 0), (0, num_samples - kept.shape[1])))
