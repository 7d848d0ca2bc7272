"""Signals of the starter corpus: telephone, alarm, siren, bell, car horn and a whistled tune.

Each maker takes the draws of the individual device or person and those of one performance.
"""

import numpy as np

from simulation.seeds import chance, integer, uniform
from simulation.starter import waves as w
from simulation.starter.waves import Draw


def telephone_ringing(individual: Draw, take: Draw) -> np.ndarray:
    """A clapper between two gongs, or an electronic warble of two tones."""
    mechanical, per_s = chance(individual, 0.6), uniform(individual, (18, 26))
    low_hz, ratio = uniform(individual, (1000, 1600)), uniform(individual, (1.15, 1.3))
    ring_s, pause_s = uniform(individual, (1.0, 1.8)), uniform(individual, (0.7, 1.1))
    count = integer(take, (1, 2))
    out = np.zeros(w.samples(count * (ring_s + pause_s) - pause_s + 0.5))
    for i in range(count):
        start = i * (ring_s + pause_s)
        if mechanical:
            for k in range(round(ring_s * per_s)):
                w.add(out, uniform(take, (0.8, 1.0)) * w.burst(take, 0.004, 0.004), start + k / per_s)
        else:
            n = w.samples(ring_s)
            turns = w.phase(np.where(w.sine(w.phase(per_s, n)) > 0, low_hz, low_hz * ratio))
            w.add(out, w.faded(w.sine(turns) + 0.3 * w.sine(3 * turns), 0.01, 0.03), start)
    if not mechanical:
        return out
    gongs = [(low_hz * part * gong, 0.5 / part**0.5, 1.0 / part) for gong in (1, ratio) for part in (1, 2.3, 3.9, 5.7)]
    return w.ringing(out, gongs) + 0.1 * w.highpass(out, 3000)


def alarm_beeping(individual: Draw, take: Draw) -> np.ndarray:
    """Groups of short beeps of a piezo disc."""
    hz, odd = uniform(individual, (1700, 3300)), uniform(individual, (0.1, 0.5))
    group, beep_s, gap_s = integer(individual, (1, 4)), uniform(individual, (0.06, 0.16)), uniform(individual, (0.05, 0.12))
    period_s = group * (beep_s + gap_s) + uniform(individual, (0.25, 0.6))
    count = integer(take, (3, 6))
    out = np.zeros(w.samples(count * period_s))
    for i in range(count):
        for k in range(group):
            turns = w.phase(hz, w.samples(beep_s))
            beep = w.sine(turns) + odd * w.sine(3 * turns) + 0.4 * odd * w.sine(5 * turns)
            w.add(out, w.faded(beep, 0.002, 0.004), i * period_s + k * (beep_s + gap_s))
    return out


def siren_wailing(individual: Draw, take: Draw) -> np.ndarray:
    """A wail, a yelp or a two-tone horn, through a loudspeaker's band, with an echo from a street."""
    kind = ("wail", "yelp", "two-tone")[integer(individual, (0, 2))]
    low_hz, ratio = uniform(individual, (420, 650)), uniform(individual, (2.0, 2.8))
    period_s = uniform(individual, {"wail": (2.6, 4.2), "yelp": (0.28, 0.45), "two-tone": (0.9, 1.3)}[kind])
    length = w.samples(uniform(take, (3.5, 5.5)))
    turn = w.phase(1 / period_s, length) + uniform(take, (0.0, 1.0))
    if kind == "two-tone":
        hz = np.where(w.sine(turn) > 0, low_hz * 1.34, low_hz)
    else:
        hz = low_hz * (1 + (ratio - 1) * (0.5 - 0.5 * w.sine(turn + 0.25)))
    turns = w.phase(hz)
    tone = sum(w.sine(k * turns) / k for k in range(1, 8))
    out = w.bandpass(w.squashed(tone, 2.0), 1400, 0.6)
    for late_s, gain in ((0.11, 0.25), (0.19, 0.16), (0.31, 0.1)):
        w.add(out, gain * w.lowpass(out[: length - w.samples(late_s)].copy(), 1500), late_s)
    swell = w.curve(
        length, (0, 0.6), (uniform(take, (0.3, 0.7)) * length / w.SAMPLE_RATE_HZ, 1.0), (length / w.SAMPLE_RATE_HZ, 0.6)
    )
    return w.faded(out * swell, 0.01, 0.15)


def church_bell(individual: Draw, take: Draw) -> np.ndarray:
    """Strokes of a bell with the classic partials (hum, prime, tierce, quint, nominal), each a beating pair."""
    prime_hz = uniform(individual, (220, 620))
    modes = []
    for ratio, t60_s, gain in (
        (0.5, 6.0, 0.7), (1, 4.5, 1.0), (1.2, 3.5, 0.9), (1.5, 2.5, 0.45), (2, 3.0, 1.0),
        (2.5, 1.6, 0.45), (3.01, 1.4, 0.4), (4.17, 0.9, 0.3), (5.43, 0.6, 0.2), (6.8, 0.4, 0.15),
    ):  # fmt: skip
        detuned = ratio * prime_hz * uniform(individual, (0.99, 1.01))
        modes += [(detuned, t60_s, gain), (detuned * uniform(individual, (1.0006, 1.003)), t60_s, 0.6 * gain)]
    strokes = w.times(take, integer(take, (1, 3)), (1.3, 1.9))
    excitation = np.zeros(w.samples(strokes[-1] + 2.6))
    for at in strokes:
        w.add(excitation, uniform(take, (0.7, 1.0)) * w.lowpass(w.burst(take, 0.004, 0.003), 7000), at)
    return w.faded(w.ringing(excitation, modes), 0.0, 0.5)


def car_horn(individual: Draw, take: Draw) -> np.ndarray:
    """Two discs a third apart, rich in harmonics, honked once or a few times."""
    low_hz, ratio = uniform(individual, (340, 440)), uniform(individual, (1.18, 1.28))
    bright_hz = uniform(individual, (1400, 2600))
    honks, at, count = [], 0.0, integer(take, (1, 3))
    for _ in range(count):
        honks.append((at, uniform(take, (0.45, 1.1) if count > 1 else (1.0, 2.0))))
        at += honks[-1][1] + uniform(take, (0.12, 0.4))
    out = np.zeros(w.samples(sum(honks[-1]) + 0.25))
    for at, long_s in honks:
        n = w.samples(long_s)
        rise = w.curve(n, (0, 0.97), (0.04, 1.0))
        tone = np.zeros(n)
        for hz in (low_hz, low_hz * ratio):
            turns = w.phase(hz * rise * w.wander(take, n, 15, 0.002))
            tone += sum(w.sine(k * turns) / (1 + (k * hz / bright_hz) ** 2) for k in range(1, 15))
        w.add(out, w.faded(w.squashed(tone, 0.8), 0.015, 0.04), at)
    return out + 0.35 * w.bandpass(out, 1.4 * bright_hz, 2)


def whistling(individual: Draw, take: Draw) -> np.ndarray:
    """A person whistles a tune: a nearly pure tone that glides between notes, with vibrato and breath."""
    tonic_hz, breath = uniform(individual, (850, 1300)), uniform(individual, (0.03, 0.1))
    vibrato_hz, vibrato = uniform(individual, (4.5, 6.5)), uniform(individual, (0.004, 0.015))
    scale = (1, 9 / 8, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 15 / 8, 2)
    step, at, points, gaps = integer(take, (0, 4)), 0.0, [], [(0.0, 0.0)]
    for _ in range(integer(take, (5, 10))):
        long_s = (0.16, 0.24, 0.36, 0.5)[integer(take, (0, 3))]
        glide_s = min(0.05, long_s / 4)
        points += [(at + glide_s, tonic_hz * scale[step]), (at + long_s, tonic_hz * scale[step])]
        gaps += [(at + 0.03, 1.0), (at + long_s - 0.03, 0.85), (at + long_s, 0.1)]
        at += long_s
        step = min(7, max(0, step + integer(take, (-2, 2))))
    length = w.samples(at + 0.05)
    hz = w.curve(length, *points) * (1 + vibrato * w.sine(w.phase(vibrato_hz, length))) * w.wander(take, length, 12, 0.004)
    envelope = w.curve(length, *gaps, (at + 0.05, 0.0))
    turns = w.phase(hz)
    tone = w.sine(turns) + 0.05 * w.sine(2 * turns) + 0.02 * w.sine(3 * turns)
    return envelope * (tone + breath * w.bandpass(w.white(take, length), 1.5 * tonic_hz, 1.5))
