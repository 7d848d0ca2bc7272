"""Background noises of the starter corpus: coloured noise, hum, fan, traffic, and babble from voices that speak nowhere else.

A recording is one place or machine: its draws stay the same over its takes.
"""

from collections.abc import Callable

import numpy as np
import soxr

from simulation.seeds import Rng, integer, uniform
from simulation.signals.levels import active_power
from simulation.starter import texts, voices
from simulation.starter import waves as w
from simulation.starter.waves import Draw

DURATION_S = 10.0
RECORDINGS = 4  # of each kind; each has its own share of the background voices


def noise(kind: str, rng: Rng, recording: int, take: int) -> np.ndarray:
    """Take number `take` of a recording of this kind of noise: float32 `(1, samples)`, 10 s at 48 kHz."""
    place, moment = rng(kind, "recording", recording), rng(kind, "take", recording, take)
    length = w.samples(DURATION_S)
    if kind in ("babble", "crowd"):
        talkers = voices.BACKGROUND[recording % RECORDINGS :: RECORDINGS]
        signal = babble(moment, talkers, length, layers=2) if kind == "babble" else crowd(place, moment, talkers, length)
    else:
        signal = MAKERS[kind](place, moment, length)
    signal = w.faded(signal, 0.005, 0.005)
    return (signal * (uniform(moment, (0.25, 0.6)) / np.abs(signal).max())).astype(np.float32)[np.newaxis]


def _coloured(source: Callable[[Draw, int], np.ndarray]) -> Callable[[Draw, Draw, int], np.ndarray]:
    def make(place: Draw, moment: Draw, length: int) -> np.ndarray:
        signal = w.shelf(source(moment, length), uniform(place, (1500, 6000)), uniform(place, (-3.0, 3.0)))
        return w.highpass(signal, 20) * w.wander(moment, length, 0.5, 0.05)

    return make


def hum(place: Draw, moment: Draw, length: int) -> np.ndarray:
    """A mains transformer: harmonics of 100 or 120 Hz, and a little of the mains itself, over electronic hiss."""
    mains_hz = (50.0, 60.0)[integer(place, (0, 1))] * (1 + uniform(place, (-0.002, 0.002)))
    out = uniform(place, (0.001, 0.01)) * w.white(moment, length)
    for k in (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20):
        gain = uniform(place, (0.2, 1.0)) * (1.0 if k % 2 == 0 else 0.3) / k**0.8
        out += gain * w.sine(w.phase(k * mains_hz, length) + uniform(place, (0.0, 1.0)))
    return out * w.wander(moment, length, 0.7, 0.04)


def fan(place: Draw, moment: Draw, length: int) -> np.ndarray:
    """Blown air, beaten by the blades, and the tones of blades and motor."""
    blades_hz, bright_hz = uniform(place, (45, 140)), uniform(place, (500, 1800))
    turns = w.phase(blades_hz * w.wander(moment, length, 0.8, 0.004))
    air = w.lowpass(w.pink(moment, length), bright_hz) + 0.1 * w.white(moment, length)
    tones = sum(uniform(place, (0.05, 0.3)) / k * w.sine(k * turns) for k in range(1, 6))
    whine = 0.03 * w.sine(uniform(place, (7.0, 13.0)) * turns)
    return w.highpass(air, 40) * (1 + 0.12 * w.sine(turns / 3)) + tones + whine


def traffic(place: Draw, moment: Draw, length: int) -> np.ndarray:
    """The rumble of a road, and single cars that come, hiss past and go."""
    out = 0.5 * w.highpass(w.lowpass(w.brown(moment, length), uniform(place, (250, 500))), 30)
    for _ in range(integer(place, (3, 6))):
        at, wide, gain = uniform(moment, (0.0, 10.0)), uniform(moment, (0.8, 2.2)), uniform(moment, (0.3, 1.0))
        tyres = 0.5 * w.bandpass(w.white(moment, length), uniform(moment, (600, 1100)), 0.5)
        engine_hz = uniform(moment, (55, 110)) * w.curve(length, (at - 0.3, 1.04), (at + 0.3, 0.96))  # Doppler
        turns = w.phase(engine_hz)
        engine = sum(w.sine(k * turns) / k for k in range(1, 5))
        off = (np.arange(length) / w.SAMPLE_RATE_HZ - at) / (0.5 * wide)
        out += gain / (1 + off * off) * (tyres + 0.25 * engine)  # falls with the squared distance
    return out


def babble(moment: Draw, talkers: tuple[voices.Speaker, ...], length: int, layers: int) -> np.ndarray:
    """All talkers at once, without a pause, at about the same level, each talking `layers` times about different things."""
    num_samples = -(-length * voices.SAMPLE_RATE_HZ // w.SAMPLE_RATE_HZ)
    total = np.zeros(num_samples)
    for talker in talkers:
        talk = np.zeros(0, np.float32)
        while len(talk) < 1.5 * num_samples:
            talk = np.concatenate([talk, *(voices.say(talker, text).audio[0] for text in texts.sentences(moment, 2))])
        loudness = active_power(talk[np.newaxis], voices.SAMPLE_RATE_HZ) ** 0.5
        for layer in range(layers):
            start = layer * len(talk) // layers + integer(moment, (0, len(talk) // layers - 1))
            total += np.roll(talk, -start)[:num_samples] * (uniform(moment, (0.5, 1.0)) / loudness)
    return soxr.resample(total, voices.SAMPLE_RATE_HZ, w.SAMPLE_RATE_HZ, quality="HQ")[:length]


def crowd(place: Draw, moment: Draw, talkers: tuple[voices.Speaker, ...], length: int) -> np.ndarray:
    """Babble in a hall: many echoes of more voices, duller the later they come."""
    dry = babble(moment, talkers, length + w.SAMPLE_RATE_HZ, layers=3)
    size_s, out = uniform(place, (0.3, 0.7)), np.zeros(length)
    for early, late, dull_hz in ((0.0, 0.25, 5000), (0.25, 0.55, 2800), (0.55, 1.0, 1500)):
        part = np.zeros(length)
        for _ in range(16):
            delay = w.samples(size_s * uniform(place, (early, late)))
            part += (2 * integer(place, (0, 1)) - 1) * dry[w.SAMPLE_RATE_HZ - delay :][:length]
        out += (1.0 - 0.6 * early) * w.lowpass(part, dull_hz)
    return w.highpass(out, 80)


MAKERS: dict[str, Callable[[Draw, Draw, int], np.ndarray]] = {
    "white noise": _coloured(w.white),
    "pink noise": _coloured(w.pink),
    "brown noise": _coloured(w.brown),
    "mains hum": hum,
    "fan": fan,
    "traffic": traffic,
}
