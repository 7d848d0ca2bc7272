"""Animals of the starter corpus. Each maker takes the draws of the individual and those of one performance."""

import numpy as np

from simulation.seeds import chance, integer, uniform
from simulation.starter import waves as w
from simulation.starter.waves import Draw


def dog_barking(individual: Draw, take: Draw) -> np.ndarray:
    """Barks: a harsh voiced burst whose pitch jumps up and falls, with breath in the mouth's resonances."""
    size = uniform(individual, (0.0, 1.0))  # 0 a terrier, 1 a mastiff
    pitch_hz, length_s = 620 - 380 * size, 0.13 + 0.12 * size
    formants = [(1050 - 450 * size, 260, 1.0), (2100 - 700 * size, 400, 0.55), (3600 - 900 * size, 700, 0.25)]
    drive, breath = uniform(individual, (2.0, 6.0)), uniform(individual, (0.3, 0.9))
    barks = w.times(take, integer(take, (3, 8)), (length_s + 0.12, length_s + 0.55))
    out = np.zeros(w.samples(barks[-1] + length_s + 0.25))
    for at in barks:
        length = w.samples(length_s * uniform(take, (0.85, 1.2)))
        end = length / w.SAMPLE_RATE_HZ
        top = pitch_hz * uniform(take, (0.9, 1.15))
        hz = w.curve(length, (0, 0.6 * top), (0.25 * end, top), (end, 0.55 * top)) * w.wander(take, length, 90, 0.04)
        voice = w.squashed(w.harmonics(hz, formants, 24), drive)
        noise = sum(height * w.bandpass(w.white(take, length), centre, 3) for centre, _, height in formants)
        envelope = w.curve(length, (0, 0), (0.012, 1), (0.45 * end, 0.8), (end, 0))
        w.add(out, envelope * (voice + breath * noise) * uniform(take, (0.6, 1.0)), at)
    return out


def cat_meowing(individual: Draw, take: Draw) -> np.ndarray:
    """Meows: the pitch rises and falls while the mouth opens and closes."""
    pitch_hz, breath = uniform(individual, (420, 780)), uniform(individual, (0.02, 0.12))
    narrow, wide = uniform(individual, (650, 850)), uniform(individual, (1300, 1700))
    meows = w.times(take, integer(take, (2, 3)), (1.2, 1.9))
    out = np.zeros(w.samples(meows[-1] + 1.3))
    for at in meows:
        end = uniform(take, (0.6, 1.1))
        length, open_at = w.samples(end), uniform(take, (0.25, 0.5)) * end
        top = pitch_hz * uniform(take, (0.92, 1.12))
        hz = w.curve(length, (0, 0.72 * top), (open_at, top), (0.75 * end, 0.9 * top), (end, 0.6 * top))
        hz = hz * (1 + 0.012 * w.sine(w.phase(6.5, length))) * w.wander(take, length, 40, 0.012)
        first = w.curve(length, (0, narrow), (open_at, wide), (end, 0.8 * narrow))
        second = w.curve(length, (0, 2600), (open_at, 2900), (end, 1500))
        voice = w.harmonics(hz, [(first, 260, 1.0), (second, 350, 0.4), (4600.0, 600, 0.18)], 20)
        noise = breath * w.bandpass(w.white(take, length), 2800, 1)
        w.add(out, (voice + noise) * w.curve(length, (0, 0), (0.06, 0.7), (open_at, 1), (0.7 * end, 0.7), (end, 0)), at)
    return out


def bird_chirping(individual: Draw, take: Draw) -> np.ndarray:
    """A song: a motif of whistled syllables of this bird, repeated with pauses."""
    base_hz = uniform(individual, (2600, 5200))
    motif = []
    for _ in range(integer(individual, (2, 6))):
        start, end = base_hz * uniform(individual, (0.75, 1.35)), base_hz * uniform(individual, (0.75, 1.35))
        bend = uniform(individual, (0.9, 1.25))
        trill = uniform(individual, (18, 45)) if chance(individual, 0.35) else 0.0
        motif.append((start, end, bend, trill, uniform(individual, (0.04, 0.16)), uniform(individual, (0.02, 0.09))))
    songs = w.times(take, integer(take, (2, 5)), (1.0, 1.9))
    out = np.zeros(w.samples(songs[-1] + 1.4))
    for at in songs:
        loudness = uniform(take, (0.6, 1.0))
        for start, end, bend, trill, long_s, gap_s in motif:
            length, tuned = w.samples(long_s), uniform(take, (0.98, 1.02))
            hz = tuned * w.curve(length, (0, start), (long_s / 2, bend * (start + end) / 2), (long_s, end))
            if trill:
                hz = hz * (1 + 0.06 * w.sine(w.phase(trill, length)))
            turns = w.phase(hz)
            part = w.sine(turns) + 0.08 * w.sine(2 * turns)
            w.add(out, loudness * w.faded(part, min(0.012, long_s / 3), long_s / 2), at)
            at += long_s + gap_s
    return out


def crickets_chirping(individual: Draw, take: Draw) -> np.ndarray:
    """Several crickets: chirps of a few pulses each, the wing strokes, at a rate that each keeps."""
    length = w.samples(uniform(take, (3.0, 5.5)))
    out = np.zeros(length)
    for loudness in (1.0, 0.45, 0.25)[: integer(individual, (1, 3))]:
        hz, per_s = uniform(individual, (3900, 5300)), uniform(individual, (1.6, 3.6))
        strokes, stroke_s = integer(individual, (3, 5)), uniform(individual, (0.02, 0.032))
        at = 0.0 if loudness == 1.0 else uniform(take, (0.0, 1 / per_s))
        while at < length / w.SAMPLE_RATE_HZ:
            for stroke in range(strokes):
                n = w.samples(0.75 * stroke_s)
                tone = w.sine(w.phase(hz * uniform(take, (0.997, 1.003)), n))
                w.add(out, loudness * (0.6 + 0.4 * stroke / strokes) * w.faded(tone, 0.004, 0.009), at + stroke * stroke_s)
            at += uniform(take, (0.93, 1.07)) / per_s
    return out + 0.004 * w.bandpass(w.white(take, length), 5000, 0.7)  # grass
