"""Colouration: the frequency response of a microphone, a case, a cheap loudspeaker."""

from dataclasses import dataclass

import msgspec
import numpy as np
import scipy.fft

from simulation.seeds import Rng, uniform
from simulation.signals.convolution import convolve
from simulation.signals.levels import db, power

RESPONSE_S = 0.25  # the narrowest peak at 91 Hz has died away
# Centre frequencies of audiomentations.SevenBandParametricEQ: a low shelf, five peaks, a high shelf.
CENTRES_HZ = ((42, 95), (91, 204), (196, 441), (421, 948), (909, 2045), (1957, 4404), (4216, 9486))


class Band(msgspec.Struct, frozen=True, array_like=True):
    """One filter of the equaliser."""

    centre_hz: float
    gain_db: float
    q: float


@dataclass(frozen=True)
class EqualiserRange:
    """What may be drawn for each of the seven bands."""

    probability: float = 0.1
    gain_db: tuple[float, float] = (-10.0, 10.0)
    shelf_q: tuple[float, float] = (0.3, 0.999)
    peak_q: tuple[float, float] = (0.5, 4.0)

    def draw(self, rng: Rng) -> "Equaliser":
        return Equaliser(tuple(self._band(rng, index) for index in range(len(CENTRES_HZ))))

    def _band(self, rng: Rng, index: int) -> Band:
        low, high = CENTRES_HZ[index]
        shelf = index in (0, len(CENTRES_HZ) - 1)
        return Band(
            centre_hz=round(low * (high / low) ** uniform(rng("equaliser", index, "centre"), (0.0, 1.0)), 1),
            gain_db=uniform(rng("equaliser", index, "gain"), self.gain_db, digits=2),
            q=uniform(rng("equaliser", index, "q"), self.shelf_q if shelf else self.peak_q, digits=3),
        )


class Equaliser(msgspec.Struct, frozen=True, tag="equaliser"):
    """Seven filters of audiomentations.SevenBandParametricEQ at zero phase: `(channels, samples)` in and out.

    Their magnitude response is kept and their phase dropped: with it, a boosted low band moved the cross-correlation's peak
    by up to 8 samples at 16 kHz, and what leaves here must line up with the target.
    """

    bands: tuple[Band, ...]

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        response = self.response(sample_rate_hz)
        late = len(response) // 2
        padded = np.pad(audio, ((0, 0), (late, late)))  # the response may be longer than the signal
        return np.concatenate([convolve(channel[np.newaxis], [response])[0][:, 2 * late :] for channel in padded])

    def response(self, sample_rate_hz: int) -> np.ndarray:
        """The impulse response, `(odd number of samples,)` float32, symmetric about its middle."""
        length = scipy.fft.next_fast_len(round(RESPONSE_S * sample_rate_hz), real=True)
        impulse = np.zeros(length, np.float32)
        impulse[1] = 1.0  # the filters start as if the first sample had always been there
        spectrum = scipy.fft.rfft(self._filtered(impulse, sample_rate_hz))
        middle = scipy.fft.irfft(np.sqrt(spectrum.real**2 + spectrum.imag**2), length)
        half = (length - 1) // 2
        return np.concatenate([middle[half:0:-1], middle[: half + 1]])

    def _filtered(self, samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        from audiomentations import SevenBandParametricEQ  # 0.6 s to import

        transform = SevenBandParametricEQ(p=1.0)
        parts = [transform.low_shelf_filter, *transform.peaking_filters, transform.high_shelf_filter]
        for part, band in zip(parts, self.bands, strict=True):
            part.parameters = {"should_apply": True, "center_freq": min(band.centre_hz, 0.49 * sample_rate_hz)}
            part.parameters |= {"gain_db": band.gain_db, "q_factor": band.q}
            part.freeze_parameters()  # unfrozen, it would draw from the global random state
        transform.parameters = {"should_apply": True}
        transform.freeze_parameters()
        return transform(samples, sample_rate_hz)

    def requested(self) -> dict[str, float]:
        return {}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """What the colouration did to the level, `equaliser_gain_db`; nothing for silence."""
        below = power(before)
        return {"equaliser_gain_db": db(power(after) / below)} if below else {}
