"""Speech with another pitch, spectrum and timing: pitch-synchronous overlap-add with the grains changed as spectra.

FD-PSOLA (Moulines and Charpentier, Speech Communication 9, 1990): two-period grains of the speech itself, each at a pulse
of the output. A grain's spectrum is smooth (the window is too short for harmonics), so to stretch its frequency axis moves
the formants, and to weight it changes the envelope. The phases are those of the speech, which no vocoder keeps.

Positions are found in double precision and rounded to 1/16 sample, the rest is single additions, products and scipy's FFT:
the same samples on every x86-64 machine.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from simulation.seeds import stored_noise
from simulation.voice_conversion.pitch import LOW_RATE_HZ, PERIOD_S, Track

PHASES = 16  # positions a sample
ROOM = 1.3  # for a grain to become longer in, where formants go down
WIDEST = 1.5  # half windows, in medians: one creaky period must not make all grains long
_FRAME = round(PERIOD_S * LOW_RATE_HZ)
_SPARSE = 4  # what is left of a voice turned back by its own phase moves slowly
_BINS = 32  # of a period, to find where its energy lies
_BLOCK = 64  # grains at a time: what the nearest caches hold
_SLOPE = 1024  # steps of half a window
_WINDOW = np.round(0.5 + 0.5 * np.cos(np.pi * np.arange(_SLOPE + 1) / _SLOPE), 7).astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """Where the grains come from and go to, one row a pulse of the output: `(pulses,)` each, positions in samples."""

    source: np.ndarray
    target: np.ndarray
    half: np.ndarray  # of the window
    gain: np.ndarray  # float32, that keeps the power
    voiced: np.ndarray  # bool


@dataclass(frozen=True)
class Spectrum:
    """What happens to a grain's spectrum. What is heard at `heard_hz[n]`, which rises, comes from `from_hz[n]`; linear between.

    `gain_db` holds at `gain_hz`. Above `breath_hz` a share `breathiness` of the amplitude of voiced sounds becomes noise.
    """

    heard_hz: tuple[float, ...]
    from_hz: tuple[float, ...]
    gain_hz: tuple[float, ...] = (0.0,)
    gain_db: tuple[float, ...] = (0.0,)
    breathiness: float = 0.0
    breath_hz: float = 1500.0
    seed: int = 0

    def from_bins(self, frequencies_hz: np.ndarray) -> np.ndarray:
        """Where the spectrum at these frequencies comes from, in Hz."""
        return np.interp(frequencies_hz, self.heard_hz, self.from_hz)

    def gains(self, frequencies_hz: np.ndarray) -> np.ndarray:
        """Factors, float32, rounded so that they are the same on every CPU."""
        gains_db = np.interp(frequencies_hz, self.gain_hz, self.gain_db)
        return np.array([round(10 ** (gain_db / 20), 6) for gain_db in gains_db.tolist()], np.float32)

    def noise_shares(self, frequencies_hz: np.ndarray) -> np.ndarray:
        """Share of the amplitude that is noise: rises over an octave from `breath_hz` on."""
        return (self.breathiness * np.clip(frequencies_hz / self.breath_hz - 1, 0, 1)).astype(np.float32)


def lay_out(track: Track, f0_hz: np.ndarray, source_s: np.ndarray, sample_rate_hz: int) -> Layout:
    """Pulses at `f0_hz`, the wanted F0 by output frames of 10 ms, what is heard there said at `source_s` of the input.

    Both `(frames,)`. Voiced pulses take the grain at the nearest pulse of the input, others the one at their own time: noise
    is copied, not repeated.
    """
    frames_s = np.arange(len(f0_hz)) * PERIOD_S
    phase = np.cumsum(_filled_in(f0_hz, _FRAME)) / LOW_RATE_HZ
    target = np.interp(np.arange(1, int(phase[-1]) + 1), phase, np.arange(len(phase)) / LOW_RATE_HZ)
    source = np.interp(target, frames_s, source_s)
    pulses = input_pulses(track)
    nearest = _nearest(pulses, source)
    period_in = 1 / np.interp(nearest, np.arange(len(track.f0_hz)) * PERIOD_S, track.filled())
    period_out = 1 / np.interp(target, frames_s, f0_hz)
    frame = np.minimum(np.rint(source / PERIOD_S).astype(np.int64), len(track.f0_hz) - 1)
    voiced = track.voiced[frame] & (np.abs(nearest - source) < 0.75 * period_in)
    half = np.where(voiced, period_in, period_out)
    return Layout(
        source=_rounded(np.where(voiced, nearest, source) * sample_rate_hz),
        target=_rounded(target * sample_rate_hz),
        half=_rounded(np.minimum(half, WIDEST * np.median(half)) * sample_rate_hz),
        gain=np.where(voiced, np.round(np.sqrt(period_out / period_in), 4), 1.0).astype(np.float32),
        voiced=voiced,
    )


def _rounded(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples * PHASES) / PHASES


def _nearest(pulses: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The value of `pulses`, which rises, that is nearest to each of `at`."""
    after = np.searchsorted(pulses, at).clip(1, len(pulses) - 1)
    return np.where(at - pulses[after - 1] < pulses[after] - at, pulses[after - 1], pulses[after])


def input_pulses(track: Track) -> np.ndarray:
    """Times in seconds, one a period of the voiced parts, each where the period's energy is: `(pulses,)`, at least two.

    The signal is turned back by the phase that the track runs through; how the fundamental's phase departs from that is
    what the track has wrong, and is added again. No peak is picked, so none is missed.
    """
    low, num_samples = track.low, len(track.low)
    phase = np.cumsum(_filled_in(track.filled(), _FRAME, num_samples)) / LOW_RATE_HZ
    voiced = _filled_in(track.voiced.astype(np.float64), _FRAME, num_samples) >= 0.5
    angles = (2 * np.pi) * phase
    period = round(LOW_RATE_HZ / track.median_hz())
    real, imag = (_averaged(low * turn(angles), period) for turn in (np.cos, np.sin))
    departure = np.unwrap(np.arctan2(-imag, real)) / (2 * np.pi)
    phase += _filled_in(departure, _SPARSE, num_samples)
    bins = ((phase - np.floor(phase)) * _BINS).astype(np.int64)[voiced] % _BINS
    energy = np.bincount(bins, np.square(low[voiced]), _BINS)
    energy = energy + np.roll(energy, 1) + np.roll(energy, -1)
    turns = phase - (int(energy.argmax()) + 0.5) / _BINS
    whole = np.floor(turns)
    before = np.flatnonzero((np.diff(whole) > 0) & voiced[1:])
    part = (whole[before + 1] - turns[before]) / (turns[before + 1] - turns[before])
    pulses = (before + np.clip(part, 0, 1)) / LOW_RATE_HZ
    return pulses if len(pulses) > 1 else np.array([0.0, num_samples / LOW_RATE_HZ])


def _filled_in(values: np.ndarray, factor: int, length: int | None = None) -> np.ndarray:
    """Linear interpolation to `factor` values for each, cut or held at the end to `length`: np.interp, several times faster."""
    steps = np.diff(values)[:, np.newaxis] * (np.arange(factor) / factor)
    between = np.append((values[:-1, np.newaxis] + steps).ravel(), values[-1])
    missing = max(0, (length or 0) - len(between))
    return np.pad(between, (0, missing), "edge")[:length]


def _averaged(signal: np.ndarray, width: int) -> np.ndarray:
    """Every fourth sample of the mean over `width` samples, taken twice: zeros at the multiples of its frequency."""
    sums = np.concatenate([np.zeros(width // 2 + 1), signal, np.zeros(width - width // 2)]).cumsum()
    once = sums[width : width + len(signal)] - sums[: len(signal)]
    sums = np.concatenate([np.zeros(width - width // 2 + 1), once, np.zeros(width // 2)]).cumsum()
    return sums[width : width + len(signal) : _SPARSE] - sums[: len(signal) : _SPARSE]


def overlap_add(audio: np.ndarray, layout: Layout, spectrum: Spectrum, sample_rate_hz: int) -> np.ndarray:
    """The grains of `audio` float32 `(1, samples)`, changed and laid out: float32 `(1, samples)` up to the last pulse."""
    reach = int(layout.half.max()) + 1
    size = 2 * scipy.fft.next_fast_len(round(ROOM * reach))
    change = _Change(spectrum, size, sample_rate_hz)
    source, target = (np.rint(at).astype(np.int64) for at in (layout.source, layout.target))
    turn = np.rint(((layout.target - target) - (layout.source - source)) * PHASES).astype(np.int64) + PHASES
    windows, grains = _Windows(layout, reach), _around(source, audio[0], reach)
    out = np.zeros(int(target[-1]) + 1 + 2 * size, np.float32)
    noise = _around(target, stored_noise(spectrum.seed, (int(target[-1]) + 1,)), reach) if spectrum.breathiness else None
    for start in range(0, len(source), _BLOCK):
        rows = slice(start, start + _BLOCK)
        window = windows.of(rows)
        spectra = change(_spectra(window * grains[source[rows]], size), turn[rows])
        if noise is not None:
            change.breathe(spectra, _spectra(window * noise[target[rows]], size), windows.breath(rows))
        changed = scipy.fft.irfft(spectra, size, axis=1, overwrite_x=True, workers=1)
        changed = np.concatenate([changed[:, size // 2 :], changed[:, : size // 2]], axis=1)
        for grain, at in zip(changed, (target[rows] + size // 2).tolist()):
            out[at : at + size] += grain
    return out[np.newaxis, size:-size]


def _around(at: np.ndarray, samples: np.ndarray, reach: int) -> np.ndarray:
    """A view whose row n, for n up to the last of `at`, is the `2 * reach` samples around sample n; silence outside."""
    return sliding_window_view(np.pad(samples, (reach, max(0, int(at.max()) - len(samples)) + reach)), 2 * reach)


def _spectra(grains: np.ndarray, size: int) -> np.ndarray:
    """Spectra of grains whose middle is time 0."""
    reach = grains.shape[1] // 2
    turned = np.zeros((len(grains), size), np.float32)
    turned[:, :reach], turned[:, -reach:] = grains[:, reach:], grains[:, :reach]
    return scipy.fft.rfft(turned, axis=1, overwrite_x=True, workers=1)


class _Windows:
    """The Hann windows of a layout's grains, each as wide as its period asks, with its gain."""

    def __init__(self, layout: Layout, reach: int):
        self.layout = layout
        self.distances = np.abs(np.arange(-reach, reach)).astype(np.float32)
        self.steps = (_SLOPE / layout.half).astype(np.float32)[:, np.newaxis]

    def of(self, rows: slice) -> np.ndarray:
        """`(rows, 2 * reach)` float32."""
        window = _WINDOW.take((self.distances * self.steps[rows]).astype(np.intp), mode="clip")
        window *= self.layout.gain[rows, np.newaxis]
        return window

    def breath(self, rows: slice) -> np.ndarray:
        """What brings windowed white noise to the energy of a unit pulse, 0 for grains that are noise already: `(rows, 1)`."""
        energy = 0.75 * self.layout.half[rows] * np.square(self.layout.gain[rows], dtype=np.float64)
        return np.where(self.layout.voiced[rows], np.sqrt(1 / energy), 0.0).astype(np.float32)[:, np.newaxis]


class _Change:
    """A Spectrum for grains of one size, on their spectra `(grains, size // 2 + 1)` complex64."""

    def __init__(self, spectrum: Spectrum, size: int, sample_rate_hz: int):
        bins = np.arange(size // 2 + 1)
        frequencies_hz = bins * (sample_rate_hz / size)
        source = np.clip(spectrum.from_bins(frequencies_hz) * (size / sample_rate_hz), 0, size // 2)
        lower = np.minimum(source.astype(np.intp), size // 2 - 1)
        part, gains = (source - lower).astype(np.float32), spectrum.gains(frequencies_hz)
        self.pairs = tuple(np.stack([2 * at, 2 * at + 1], axis=1).ravel() for at in (lower, lower + 1))
        self.weights = tuple(np.repeat(weight * gains, 2) for weight in (1 - part, part))
        angles = (2 * np.pi / size / PHASES) * np.arange(-PHASES, PHASES + 1)[:, np.newaxis] * bins
        cosines, sines = (np.round(turn(angles), 7).astype(np.float32) for turn in (np.cos, np.sin))
        self.cosines, self.sines = np.repeat(cosines, 2, axis=1), np.stack([sines, -sines], axis=2).reshape(len(sines), -1)
        self.breath = spectrum.noise_shares(frequencies_hz)
        self.rest = np.sqrt(1 - np.square(self.breath))

    def __call__(self, spectra: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """Moved along the frequency axis, weighted, and delayed by `turn - PHASES` 16ths of a sample.

        Real and imaginary parts stay side by side, as floats: no product of complex numbers, which CPUs round differently.
        """
        parts = spectra.view(np.float32)
        moved = parts.take(self.pairs[0], axis=1, mode="clip")
        moved *= self.weights[0]
        above = parts.take(self.pairs[1], axis=1, mode="clip")
        above *= self.weights[1]
        moved += above
        crossed = moved.reshape(*spectra.shape, 2)[:, :, ::-1].reshape(moved.shape)
        crossed *= self.sines[turn]
        moved *= self.cosines[turn]
        moved += crossed
        return moved.view(np.complex64)

    def breathe(self, spectra: np.ndarray, noise: np.ndarray, scale: np.ndarray) -> None:
        """Replace a share of the amplitude by noise of the same envelope, in place. Products of real numbers only."""
        envelope = np.sqrt(np.square(spectra.real) + np.square(spectra.imag)) * (self.breath * scale)
        rest = np.where(scale > 0, self.rest, np.float32(1))
        spectra.real = spectra.real * rest + noise.real * envelope
        spectra.imag = spectra.imag * rest + noise.imag * envelope
