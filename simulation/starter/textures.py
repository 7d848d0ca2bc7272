"""Textures of the starter corpus: rain, thunder, applause and an engine, each the sum of very many small events.

Each maker takes the draws of the individual place or machine and those of one performance.
"""

import numpy as np

from simulation.seeds import chance, integer, uniform
from simulation.starter import waves as w
from simulation.starter.waves import Draw


def rain(individual: Draw, take: Draw) -> np.ndarray:
    """Drops near by, each a short ringing click, over the hiss of those far away."""
    per_s, hiss = uniform(individual, (150, 900)), uniform(individual, (0.02, 0.12))
    length = w.samples(uniform(take, (3.5, 6.0)))
    out = hiss * w.shelf(w.highpass(w.pink(take, length), 400), 3000, uniform(individual, (0, 9)))
    for _ in range(6):
        hz = uniform(individual, (900, 7000))
        out += w.ringing(w.scattered(take, length, per_s / 6), [(hz, uniform(individual, (0.006, 0.02)), 1.0)])
    return w.faded(out * w.wander(take, length, 1.5, 0.15), 0.01, 0.05)


def thunder(individual: Draw, take: Draw) -> np.ndarray:
    """The crack, if it is near, then rolls of low noise that come from ever further away."""
    near, deep_hz = uniform(individual, (0.0, 1.0)), uniform(individual, (70, 160))
    length = w.samples(uniform(take, (4.0, 6.0)))
    envelope = 0.9 * w.curve(length, (0, 0.7), (0.15, 1.0), (0.9, 0.5), (length / w.SAMPLE_RATE_HZ, 0))
    for _ in range(integer(take, (3, 6))):
        at = uniform(take, (0.1, 0.7)) * length / w.SAMPLE_RATE_HZ
        envelope += uniform(take, (0.2, 0.9)) * w.curve(length, (at, 0), (at + 0.12, 1), (at + uniform(take, (0.5, 1.4)), 0))
    envelope = envelope * w.wander(take, length, 14, 0.45)
    low, rest = w.highpass(w.lowpass(w.brown(take, length), deep_hz), 45), w.lowpass(w.pink(take, length), 6 * deep_hz)
    out = envelope * (2 * low + rest * w.decay(length, 8.0))
    crack = w.burst(take, 0.9, 0.8) * w.wander(take, w.samples(0.9), 60, 0.8)
    w.add(out, near * w.lowpass(crack, 900 + 3000 * near), 0.0)
    return w.faded(out, 0.01, 0.8)


def applause(individual: Draw, take: Draw) -> np.ndarray:
    """People clapping, each at an own rate; the near ones are heard apart, the rest run together."""
    people, rate_hz = integer(individual, (12, 60)), uniform(individual, (3.2, 4.6))
    length = w.samples(uniform(take, (3.0, 5.5)))
    duration_s, hands = length / w.SAMPLE_RATE_HZ, [uniform(individual, (700, 2400)) for _ in range(6)]
    parts = [np.zeros(length) for _ in hands]
    claps = [w.burst(take, 0.03, uniform(take, (0.012, 0.03))) for _ in range(12)]
    for person in range(people):
        per_s, loudness = rate_hz * uniform(take, (0.8, 1.25)), 1.0 / (1 + 0.12 * person)
        at, stop = uniform(take, (0.0, 1 / per_s if person < 4 else 0.8)), uniform(take, (0.75, 1.0)) * duration_s
        while at < stop:
            loud = loudness * uniform(take, (0.6, 1.0))
            w.add(parts[person % 6], loud * claps[integer(take, (0, 11))], at)
            at += uniform(take, (0.9, 1.1)) / per_s
    out = sum(w.bandpass(part, hz, 1.1) for part, hz in zip(parts, hands))
    far = w.curve(length, (0, 0.3), (0.6, 1), (0.75 * duration_s, 1), (duration_s, 0))
    return w.faded(out + 0.05 * far * w.bandpass(w.white(take, length), 1500, 0.6), 0.0, 0.2)


def engine(individual: Draw, take: Draw) -> np.ndarray:
    """Cylinders firing unevenly into an exhaust's resonances, with the clatter and breath of the machine; idle or revved."""
    idle_hz, cylinders = uniform(individual, (22, 42)), integer(individual, (3, 6))  # firings a second
    strength = [uniform(individual, (0.6, 1.0)) for _ in range(cylinders)]
    pipe = [(uniform(individual, low_high), uniform(individual, (0.03, 0.09)), gain) for low_high, gain in
            (((60, 95), 0.3), ((130, 220), 0.4), ((300, 480), 0.4), ((700, 1100), 0.25))]  # fmt: skip
    length = w.samples(uniform(take, (3.5, 5.5)))
    duration_s = length / w.SAMPLE_RATE_HZ
    revs = w.curve(length, (0, 1.0), (duration_s, 1.0))
    if chance(take, 0.5):
        at, top = uniform(take, (0.2, 0.5)) * duration_s, uniform(take, (1.8, 3.2))
        revs = w.curve(length, (0, 1), (at, 1), (at + 0.5, top), (at + 1.0, top), (at + 1.9, 1))
    turns = np.cumsum(idle_hz * revs * w.wander(take, length, 9, 0.03)) / w.SAMPLE_RATE_HZ
    fired = np.flatnonzero(np.diff(np.floor(turns), prepend=-1.0) > 0)
    blows = np.zeros(length)
    blows[fired] = [strength[i % cylinders] for i in range(len(fired))] * (0.85 + 0.3 * take.random(len(fired)))
    puffs = blows.copy()
    for n, gain in ((40, 0.7), (90, 0.4)):
        puffs[n:] += gain * blows[:-n]
    breath = w.bandpass(w.white(take, length), 1200, 0.5) * (0.2 + w.trailing(blows, 0.05))  # gas that follows each firing
    out = w.squashed(w.highpass(w.ringing(puffs, pipe), 50), 1.5) + 0.12 * breath * revs
    return w.faded(out + w.bandpass(blows, 2600, 2), 0.02, 0.1)
