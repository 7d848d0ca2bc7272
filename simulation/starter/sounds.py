"""Sound events of the starter corpus by label: synthesised, so that they are free (CC0) and each parameter is known.

An individual is one dog, one door, one bell: its draws stay the same over its takes, as in one recording session.
"""

from collections.abc import Callable

import numpy as np

from simulation.seeds import Rng, uniform
from simulation.signals.levels import amplitude
from simulation.starter import animals, impacts, signals, textures
from simulation.starter.waves import Draw, highpass, samples, shelf

MAKERS: dict[str, Callable[[Draw, Draw], np.ndarray]] = {
    "dog barking": animals.dog_barking,
    "cat meowing": animals.cat_meowing,
    "bird chirping": animals.bird_chirping,
    "crickets chirping": animals.crickets_chirping,
    "knocking on a door": impacts.knocking,
    "clock ticking": impacts.clock_ticking,
    "typing on a keyboard": impacts.typing,
    "telephone ringing": signals.telephone_ringing,
    "glass breaking": impacts.glass_breaking,
    "alarm beeping": signals.alarm_beeping,
    "siren wailing": signals.siren_wailing,
    "church bell ringing": signals.church_bell,
    "car horn honking": signals.car_horn,
    "engine running": textures.engine,
    "rain falling": textures.rain,
    "thunder rumbling": textures.thunder,
    "water dripping": impacts.water_dripping,
    "footsteps": impacts.footsteps,
    "whistling": signals.whistling,
    "applause": textures.applause,
}
SILENCE = amplitude(-50)  # of the peak: quieter ends are trimmed
TAIL_S = 0.03
MAX_DURATION_S = 6.0


def event(label: str, rng: Rng, individual: int, take: int) -> np.ndarray:
    """Take number `take` of individual number `individual` of this class: float32 `(1, samples)` at 48 kHz, 0.5-6 s."""
    of_individual = rng(label, "individual", individual)
    signal = MAKERS[label](of_individual, rng(label, "take", individual, take))
    signal = highpass(shelf(signal, 4000, uniform(of_individual, (-4.0, 4.0))), 30)  # the microphone
    return finished(signal, uniform(rng(label, "level", individual, take), (0.3, 0.9)))


def finished(signal: np.ndarray, peak: float) -> np.ndarray:
    """Silent ends trimmed, at most 6 s with the end faded, the given peak; float32 `(1, samples)`."""
    loud = np.flatnonzero(np.abs(signal) > SILENCE * np.abs(signal).max())
    signal = signal[loud[0] : loud[-1] + samples(TAIL_S)][: samples(MAX_DURATION_S)]
    fade = min(samples(TAIL_S), len(signal))
    ramp = np.arange(fade, 0, -1) / fade
    signal = np.concatenate([signal[:-fade], signal[-fade:] * ramp])
    return (signal * (peak / np.abs(signal).max())).astype(np.float32)[np.newaxis]
