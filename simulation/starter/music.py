"""Short tonal pieces of the starter corpus: a melody over chords and a bass, sometimes with drums.

A piece has its key, tempo, chords and instruments; each take of it has a melody of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulation.seeds import Rng, chance, integer, uniform
from simulation.starter import waves as w
from simulation.starter.waves import Draw

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 3, 4, 0), (5, 3, 0, 4), (0, 5, 1, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 3, 6, 2)),
}  # degrees of the scale, one a bar
TEMPI_BPM = {"slow": (66, 84), "lively": (96, 116), "fast": (126, 150)}
MIDDLE_C_HZ = 261.6256
SEMITONE = round(2 ** (1 / 12), 12)
MIN_DURATION_S, MAX_DURATION_S = 8.0, 10.0
INSTRUMENTS = ("piano", "guitar", "organ", "vibraphone", "synthesizer")


@dataclass(frozen=True)
class Piece:
    """What stays the same over the takes of a piece."""

    instrument: str
    mode: str
    tempo: str
    beat_s: float
    tonic: int  # semitones from middle C
    progression: tuple[int, ...]
    drums: bool

    def hz(self, degree: int, octave: int = 0) -> float:
        """The pitch of a degree of the scale, which may go on over the octave."""
        scale = SCALES[self.mode]
        semitones = self.tonic + 12 * (octave + degree // 7) + scale[degree % 7]
        return MIDDLE_C_HZ * SEMITONE**semitones

    def captions(self) -> tuple[str, ...]:
        """Wordings of what is heard."""
        with_drums = " with drums" if self.drums else ""
        article = "an" if self.instrument == "organ" else "a"
        return (
            f"A {self.tempo} {self.instrument}-like melody in a {self.mode} key{with_drums}.",
            f"A {self.tempo} piece of music in {self.mode}, played on {article} {self.instrument}{with_drums}.",
            f"Music: {article} {self.instrument} plays a {self.tempo} tune{with_drums}.",
        )


def piece(rng: Rng, number: int) -> Piece:
    """Piece number `number`; the instruments take turns."""
    draw = rng("music", "piece", number)
    mode, tempo = ("major", "minor")[integer(draw, (0, 1))], tuple(TEMPI_BPM)[integer(draw, (0, 2))]
    return Piece(
        instrument=INSTRUMENTS[number % len(INSTRUMENTS)],
        mode=mode,
        tempo=tempo,
        beat_s=round(60 / uniform(draw, TEMPI_BPM[tempo]), 4),
        tonic=integer(draw, (-5, 6)),
        progression=PROGRESSIONS[mode][integer(draw, (0, 3))],
        drums=chance(draw, 0.5),
    )


def perform(work: Piece, rng: Rng, number: int, take: int) -> np.ndarray:
    """A take of a piece: float32 `(1, samples)` at 48 kHz, 8 to 10 s, whole bars where they fit."""
    draw = rng("music", "take", number, take)
    bar_s = 4 * work.beat_s
    bars = math.ceil(MIN_DURATION_S / bar_s)
    out = np.zeros(w.samples(min(MAX_DURATION_S, bars * bar_s + 0.8)))
    lead, backing = _Player(work.instrument), _Player("guitar" if work.instrument == "organ" else "organ")
    softly = 0.12 if work.instrument == "organ" else 0.05  # an organ does not die away
    degree = 7
    for bar in range(bars):
        start, root = bar * bar_s, work.progression[bar % len(work.progression)]
        w.add(out, 0.35 * _bass(work.hz(root, -2), 3.6 * work.beat_s), start)
        for tone in (0, 2, 4):
            w.add(out, softly * backing.note(work.hz(root + tone, -1), 3.8 * work.beat_s), start)
        degree = _melody(out, work, lead, start, root, degree, draw)
        if work.drums:
            _drums(out, work.beat_s, start, draw)
    signal = w.faded(out, 0.0, 0.6)
    return (signal * (uniform(draw, (0.4, 0.85)) / np.abs(signal).max())).astype(np.float32)[np.newaxis]


def _melody(out: np.ndarray, work: Piece, lead: "_Player", start: float, root: int, degree: int, draw: Draw) -> int:
    """One bar: chord tones on the strong beats, steps between them. The last degree."""
    rhythm = ((1, 1, 1, 1), (2, 1, 1), (1.5, 0.5, 1, 1), (1, 0.5, 0.5, 2), (0.5,) * 8, (1, 1, 2))[integer(draw, (0, 5))]
    beat = 0.0
    for beats in rhythm:
        if beat % 2 == 0:
            degree = min((root + tone + 7 * octave for tone in (0, 2, 4) for octave in (0, 1)), key=lambda d: abs(d - degree))
        else:
            degree = min(13, max(1, degree + integer(draw, (-2, 2))))
        loudness = uniform(draw, (0.6, 1.0))
        w.add(out, loudness * lead.note(work.hz(degree), beats * work.beat_s), start + beat * work.beat_s)
        beat += beats
    return degree


class _Player:
    """An instrument that keeps the notes it has made: a tune has few pitches, a note costs some ms."""

    def __init__(self, instrument: str):
        self.make, self.notes = MAKERS[instrument], {}

    def note(self, hz: float, duration_s: float) -> np.ndarray:
        """A note whose peak is 1."""
        key = (hz, duration_s)
        if key not in self.notes:
            sound = self.make(hz, duration_s)
            self.notes[key] = sound / np.abs(sound).max()
        return self.notes[key]


def _struck(hz: float, duration_s: float, modes: list[w.Mode], soft_hz: float) -> np.ndarray:
    """Modes set off by a blow and damped at the end of the note."""
    blow = np.zeros(w.samples(duration_s + 0.12))
    blow[:96] = 1 / 48  # 2 ms
    return w.faded(w.ringing(w.lowpass(blow, soft_hz), [(hz * ratio, t60, gain) for ratio, t60, gain in modes]), 0.0, 0.12)


def _piano(hz: float, duration_s: float) -> np.ndarray:
    modes = [(k * (1 + 0.0003 * k * k), 3.2 / k**0.7, 1 / k) for k in range(1, 11)]
    return _struck(hz, duration_s, modes, 5000)


def _guitar(hz: float, duration_s: float) -> np.ndarray:
    plucked_at = [round(abs(math.sin(math.pi * k * 0.17)), 9) for k in range(15)]
    return _struck(hz, duration_s, [(k, 2.2 / k, 1.6 * plucked_at[k] / k) for k in range(1, 15)], 7000)


def _vibraphone(hz: float, duration_s: float) -> np.ndarray:
    note = _struck(2 * hz, duration_s + 0.5, [(1, 3.0, 1.0), (4, 0.9, 0.25), (10.1, 0.2, 0.1)], 6000)
    return note * (1 + 0.3 * w.sine(w.phase(5.2, len(note))))


def _organ(hz: float, duration_s: float) -> np.ndarray:
    turns = w.phase(hz, w.samples(duration_s))
    pipes = sum(gain * w.sine(ratio * turns) for ratio, gain in ((0.5, 0.4), (1, 0.6), (2, 0.4), (3, 0.2), (4, 0.2), (6, 0.08)))
    return w.faded(pipes, 0.02, 0.06)


def _synthesizer(hz: float, duration_s: float) -> np.ndarray:
    length = w.samples(duration_s)
    vibrato = 1 + 0.006 * w.sine(w.phase(5.5, length)) * w.curve(length, (0.15, 0), (0.4, 1))
    turns = w.phase(hz * vibrato)
    saw = sum(w.sine(k * turns + 0.13 * k) / k for k in range(1, 13) if k * hz < 18_000)
    return 0.5 * w.faded(w.lowpass(saw, min(9000.0, 5 * hz), 1.5), 0.015, 0.05)


def _bass(hz: float, duration_s: float) -> np.ndarray:
    turns = w.phase(hz, w.samples(duration_s))
    return w.faded((w.sine(turns) + 0.4 * w.sine(2 * turns) + 0.15 * w.sine(3 * turns)) * w.decay(len(turns), 2.5), 0.005, 0.08)


def _drums(out: np.ndarray, beat_s: float, start: float, draw: Draw) -> None:
    """Kick on one and three, snare on two and four, hi-hat on every half."""
    for beat in range(4):
        if beat % 2 == 0:
            n = w.samples(0.25)
            kick = w.sine(w.phase(w.curve(n, (0, 140), (0.05, 55)))) * w.decay(n, 0.3)
            w.add(out, 0.8 * kick, start + beat * beat_s)
        else:
            rattle, skin = w.burst(draw, 0.2, 0.18), w.sine(w.phase(190, w.samples(0.2)))
            snare = w.bandpass(rattle, 1800, 0.5) + 0.4 * skin * w.decay(len(skin), 0.12)
            w.add(out, 0.4 * snare, start + beat * beat_s)
        for half in (0.0, 0.5):
            w.add(out, 0.12 * w.highpass(w.burst(draw, 0.06, 0.05), 7000), start + (beat + half) * beat_s)


MAKERS: dict[str, Callable[[float, float], np.ndarray]] = {
    "piano": _piano,
    "guitar": _guitar,
    "organ": _organ,
    "vibraphone": _vibraphone,
    "synthesizer": _synthesizer,
}
