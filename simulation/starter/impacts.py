"""Things struck, of the starter corpus: bursts of noise that excite the modes of wood, glass, metal and floors.

Each maker takes the draws of the individual object and those of one performance.
"""

import numpy as np

from simulation.seeds import chance, integer, uniform
from simulation.starter import waves as w
from simulation.starter.waves import Draw, Mode


def _modes(draw: Draw, low_hz: float, ratios: tuple[float, ...], t60_s: tuple[float, float]) -> list[Mode]:
    """Modes at slightly detuned ratios of the lowest; higher ones ring more briefly."""
    found = []
    for ratio in ratios:
        t60 = t60_s[0] + (t60_s[1] - t60_s[0]) / ratio
        found.append((low_hz * ratio * uniform(draw, (0.96, 1.04)), t60, uniform(draw, (0.4, 1.0)) / ratio**0.5))
    return found


def knocking(individual: Draw, take: Draw) -> np.ndarray:
    """Knuckles on a door: a short dull contact, the panel's modes, the hollow behind it."""
    panel = _modes(individual, uniform(individual, (95, 190)), (1, 1.62, 2.3, 3.4, 4.9, 6.8, 9.1), (0.02, 0.22))
    contact_hz = uniform(individual, (1800, 4500))
    knocks: list[float] = []
    groups = w.times(take, integer(take, (1, 2)), (1.3, 2.2))
    for start in groups:
        knocks += w.times(take, integer(take, (3, 5) if len(groups) == 2 else (5, 7)), (0.15, 0.27), start)
    excitation = np.zeros(w.samples(knocks[-1] + 0.45))
    for at in knocks:
        w.add(excitation, uniform(take, (0.55, 1.0)) * w.burst(take, 0.02, 0.012), at)
    excitation = w.lowpass(excitation, contact_hz)
    return w.ringing(excitation, panel) + 0.5 * excitation


def clock_ticking(individual: Draw, take: Draw) -> np.ndarray:
    """Tick and tock: each a few clicks of the escapement, one higher than the other, in a wooden case."""
    base_hz, period_s = uniform(individual, (1700, 3200)), uniform(individual, (0.22, 0.55))
    tick = _modes(individual, base_hz, (1, 1.47, 2.09, 2.9), (0.004, 0.03))
    tock = [(0.86 * hz, 1.2 * t60, gain) for hz, t60, gain in tick]
    case = _modes(individual, uniform(individual, (180, 420)), (1, 1.7, 2.6), (0.02, 0.06))
    clicks = [(0.0, 1.0), (uniform(individual, (0.006, 0.018)), 0.5), (uniform(individual, (0.02, 0.035)), 0.3)]
    beats = w.times(take, integer(take, (7, 12)), (period_s, period_s))
    parts = [np.zeros(w.samples(beats[-1] + 0.2)) for _ in range(2)]
    for i, at in enumerate(beats):
        for late, loudness in clicks:
            w.add(parts[i % 2], loudness * uniform(take, (0.85, 1.0)) * w.burst(take, 0.006, 0.004), at + late)
    return w.ringing(parts[0], tick) + w.ringing(parts[1], tock) + 0.4 * w.ringing(parts[0] + parts[1], case)


def typing(individual: Draw, take: Draw) -> np.ndarray:
    """Keys going down and, quieter, up again; the space bar is deeper; hands pause between words."""
    click = _modes(individual, uniform(individual, (1500, 2600)), (1, 1.6, 2.4, 3.3), (0.004, 0.02))
    board = _modes(individual, uniform(individual, (170, 340)), (1, 1.8, 2.9), (0.01, 0.07))
    pace_s = uniform(individual, (0.09, 0.17))
    length = w.samples(uniform(take, (2.5, 5.0)))
    keys, bars = np.zeros(length), np.zeros(length)
    at = 0.0
    while at < length / w.SAMPLE_RATE_HZ - 0.2:
        space = chance(take, 0.16)
        loudness = uniform(take, (0.5, 1.0))
        w.add(bars, loudness * (0.9 if space else 0.35) * w.burst(take, 0.01, 0.008), at)
        w.add(keys, loudness * (0.5 if space else 1.0) * w.burst(take, 0.008, 0.005), at + 0.002)
        w.add(keys, 0.35 * loudness * w.burst(take, 0.006, 0.004), at + uniform(take, (0.06, 0.1)))
        at += pace_s * uniform(take, (0.55, 1.6)) + (uniform(take, (0.1, 0.5)) if space and chance(take, 0.5) else 0.0)
    return w.ringing(keys, click) + 0.25 * w.highpass(keys, 2500) + 0.6 * w.ringing(bars, board)


def glass_breaking(individual: Draw, take: Draw) -> np.ndarray:
    """The blow, then pieces that ring at their own pitches as they fall, fewer and fewer."""
    low_hz, ring_s = uniform(individual, (1300, 2600)), uniform(individual, (0.12, 0.45))
    length = w.samples(uniform(take, (1.5, 2.6)))
    blow = w.burst(take, 0.2, 0.12)
    out = np.zeros(length)
    w.add(out, 1.2 * w.highpass(blow, 900), 0.0)
    falling = w.decay(length, uniform(individual, (1.2, 2.4)))
    for _ in range(26):
        hz = low_hz * uniform(individual, (1.0, 7.0))
        pieces = 0.5 * w.scattered(take, length, 18, falling) + 0.0
        w.add(pieces, 0.06 * blow[:480], 0.0)
        out += w.ringing(pieces, [(hz, ring_s * uniform(individual, (0.3, 1.0)), uniform(individual, (0.3, 1.0)))])
    return out + 0.5 * w.highpass(w.scattered(take, length, 900, falling), 3000)


def water_dripping(individual: Draw, take: Draw) -> np.ndarray:
    """Drops: each traps a bubble whose pitch rises as it comes up (van den Doel, "Physically-based models for liquid
    sounds", ACM TAP 2005), in the resonance of the basin."""
    base_hz, period_s = uniform(individual, (550, 1500)), uniform(individual, (0.28, 0.9))
    basin = [(uniform(individual, (250, 900)), uniform(individual, (0.1, 0.4)), 0.15) for _ in range(3)]
    drops = w.times(take, integer(take, (4, 7)), (0.75 * period_s, 1.3 * period_s))
    out = np.zeros(w.samples(drops[-1] + 0.5))
    for at in drops:
        w.add(out, 0.12 * w.highpass(w.burst(take, 0.006, 0.006), 2000), at)
        for late in (0.004, uniform(take, (0.03, 0.08)))[: integer(take, (1, 2))]:
            length = w.samples(0.14)
            hz = base_hz * uniform(take, (0.8, 1.5)) * (1 + np.arange(length) * (uniform(take, (1.5, 7.0)) / w.SAMPLE_RATE_HZ))
            bubble = w.faded(w.sine(w.phase(hz)) * w.decay(length, uniform(take, (0.05, 0.14))), 0.001, 0.01)
            w.add(out, uniform(take, (0.4, 1.0)) * bubble, at + late)
    return out + w.ringing(0.05 * out, basin)


def footsteps(individual: Draw, take: Draw) -> np.ndarray:
    """Heel and toe on gravel, wood or stone."""
    surface = ("gravel", "wood", "stone")[integer(individual, (0, 2))]
    pace_s, heel_to_toe_s = uniform(individual, (0.45, 0.68)), uniform(individual, (0.07, 0.13))
    thump = _modes(individual, uniform(individual, (60, 120)), (1, 1.7, 2.6), (0.02, 0.09))
    floor = _modes(individual, uniform(individual, (160, 330)), (1, 1.5, 2.2, 3.1, 4.3), (0.02, 0.12))
    heel_hz = uniform(individual, (900, 2600))
    steps = w.times(take, integer(take, (4, 8)), (0.96 * pace_s, 1.04 * pace_s))
    blows, grit = np.zeros(w.samples(steps[-1] + 0.45)), np.zeros(w.samples(steps[-1] + 0.45))
    for at in steps:
        loudness = uniform(take, (0.7, 1.0))
        for late, share in ((0.0, 1.0), (heel_to_toe_s, 0.55)):
            w.add(blows, loudness * share * w.burst(take, 0.03, 0.02), at + late)
            n = w.samples(uniform(take, (0.09, 0.16)))
            w.add(grit, loudness * share * w.faded(w.scattered(take, n, 2600), 0.005, 0.07), at + late)
    body = 0.25 * w.highpass(w.ringing(w.lowpass(blows, 1500), thump), 70)
    if surface == "gravel":
        return body + 14 * w.bandpass(grit, 2600, 0.6)
    if surface == "wood":
        return body + 0.7 * w.ringing(w.lowpass(blows, 2500), floor) + 1.5 * w.bandpass(grit, 2000, 1)
    return body + 2.5 * w.bandpass(blows, heel_hz, 1.2) + 2 * w.bandpass(grit, 4500, 1)
