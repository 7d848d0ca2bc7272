"""Lossy coding: MP3, Opus, Vorbis and the codecs of the telephone, encoded and decoded in memory.

MP3 goes through audiomentations (LAME and minimp3 of fast-mp3-augment: 4 times as fast as libsndfile's, real bit rates from
8 kb/s, while libsndfile 1.2.2 at a constant low bit rate returns 1105 samples of delay), all others through libsndfile. The
samples of a scene with a codec are those of the library versions that made it.
CPU time for 5 s at 16 kHz: G.711 1 ms, ADPCM 3, MP3 6, GSM 11, Vorbis 13, Opus 56 (64 kb/s) to 118 (24 kb/s).
"""

import io
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import soundfile
import soxr

from simulation.effects.band_limit import to_length
from simulation.effects.distortion import scale_free_ratio_db
from simulation.seeds import Rng, integer, uniform
from simulation.signals.alignment import delay_samples
from simulation.signals.levels import round_gain

Kind = Literal["mp3", "opus", "vorbis", "gsm", "mu_law", "a_law", "adpcm"]

_FORMATS = {  # of libsndfile: container, subtype
    "opus": ("OGG", "OPUS"),
    "vorbis": ("OGG", "VORBIS"),
    "gsm": ("WAV", "GSM610"),
    "mu_law": ("WAV", "ULAW"),
    "a_law": ("WAV", "ALAW"),
    "adpcm": ("WAV", "IMA_ADPCM"),
}
_RATES_HZ = {"mp3": (16000, 24000, 48000), "opus": (8000, 16000, 24000, 48000), "vorbis": (16000, 24000, 48000)}
_TELEPHONE_HZ = 8000
_MP3_KBPS = (8, 16, 24, 32, 40, 48, 64, 96, 128)
_MP3_LOWEST_KBPS_FULL_BAND = 32  # MPEG-1 Layer III, 32 kHz and above
_OPUS_KBPS = (6.0, 256.0)  # libsndfile's compression levels 1 and 0
# Below, a coded rate over 16 kHz makes Opus code the bands below and above 8 kHz by two methods with different delays.
_OPUS_LOWEST_KBPS_FULL_BAND = 56
_PEAK = 0.95
_ALIGN_SAMPLES = 16


@dataclass(frozen=True)
class CodecRange:
    """What may be drawn. A coded sample rate below the task's is a band limit too, as it is in streams and calls."""

    probability: float = 0.05
    kinds: tuple[Kind, ...] = ("mp3", "opus", "vorbis", "gsm", "mu_law", "a_law", "adpcm")
    mp3_kbps: tuple[int, int] = (8, 64)
    opus_kbps: tuple[int, int] = (6, 72)
    vorbis_quality: tuple[float, float] = (0.0, 0.6)
    """0 is libsndfile's smallest file, 1 its largest."""

    def draw(self, rng: Rng, sample_rate_hz: int) -> "Codec":
        kind = self.kinds[int(rng("codec", "kind").integers(len(self.kinds)))]
        quality = uniform(rng("codec", "quality"), self.vorbis_quality, digits=2) if kind == "vorbis" else 0.0
        kbps = integer(rng("codec", "bitrate"), self.opus_kbps) if kind == "opus" else 0
        highest_hz = 16000 if kind == "opus" and kbps < _OPUS_LOWEST_KBPS_FULL_BAND else sample_rate_hz
        rates = [rate for rate in _RATES_HZ.get(kind, ()) if rate <= min(highest_hz, sample_rate_hz)] or [_TELEPHONE_HZ]
        rate = rates[int(rng("codec", "rate").integers(len(rates)))]
        return Codec(kind, rate, self._mp3_kbps(rng, rate) if kind == "mp3" else kbps, quality)

    def _mp3_kbps(self, rng: Rng, coded_rate_hz: int) -> int:
        low, high = self.mp3_kbps
        low = max(low, _MP3_LOWEST_KBPS_FULL_BAND) if coded_rate_hz >= 32000 else low
        allowed = [kbps for kbps in _MP3_KBPS if low <= kbps <= high] or [low]
        return allowed[int(rng("codec", "bitrate").integers(len(allowed)))]


class Codec(msgspec.Struct, frozen=True, tag="codec", omit_defaults=True):
    """The signal encoded at `sample_rate_hz` and decoded: `(channels, samples)` in and out, no delay, each channel alone.

    `bitrate_kbps` is that of `mp3` and `opus`, `quality` (0 to 1) that of `vorbis`; the telephone's codecs have neither.
    """

    kind: Kind
    sample_rate_hz: int
    bitrate_kbps: int = 0
    quality: float = 0.0

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        return np.stack([self._channel(channel, sample_rate_hz) for channel in audio])

    def _channel(self, channel: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        same_rate = self.sample_rate_hz == sample_rate_hz
        narrow = channel if same_rate else soxr.resample(channel, sample_rate_hz, self.sample_rate_hz)
        peak = float(np.abs(narrow).max(initial=0.0))
        if not peak:
            return np.zeros_like(channel)
        scale = np.float32(round_gain(peak / _PEAK) if peak > _PEAK else 1.0)  # encoders wrap or clip beyond full scale
        coded = to_length(self._coded(narrow / scale), len(narrow)) * scale
        wide = coded if same_rate else soxr.resample(coded, self.sample_rate_hz, sample_rate_hz)
        wide = to_length(wide, len(channel)).astype(np.float32)
        return _aligned(wide, channel, sample_rate_hz)

    def _coded(self, samples: np.ndarray) -> np.ndarray:
        """Encoded and decoded `(samples,)` at the coded rate; the end may be padded."""
        if self.kind == "mp3":
            return self._mp3(samples)
        container, subtype = _FORMATS[self.kind]
        options = {} if self._compression is None else {"compression_level": self._compression}
        file = io.BytesIO()
        soundfile.write(file, samples, self.sample_rate_hz, subtype=subtype, format=container, **options)
        file.seek(0)
        return soundfile.read(file, dtype="float32")[0]

    def _mp3(self, samples: np.ndarray) -> np.ndarray:
        from audiomentations import Mp3Compression  # 0.6 s to import

        transform = Mp3Compression(backend="fast-mp3-augment", p=1.0)
        transform.parameters = {"should_apply": True, "bitrate": self.bitrate_kbps}
        transform.freeze_parameters()  # unfrozen, it would draw from the global random state
        return transform(samples, self.sample_rate_hz)

    @property
    def _compression(self) -> float | None:
        """libsndfile's compression level, 0 to 1, for the codecs that have one."""
        if self.kind == "opus":
            low, high = _OPUS_KBPS
            return min(1.0, max(0.0, (high - self.bitrate_kbps) / (high - low)))
        return 1 - self.quality if self.kind == "vorbis" else None

    def requested(self) -> dict[str, float]:
        return {}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """Signal over what the codec changed, `codec_sdr_db`; nothing for silence."""
        found = scale_free_ratio_db(after, before)
        return {} if found is None else {"codec_sdr_db": found}


def _aligned(decoded: np.ndarray, original: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Without the delay that is left: at 48 kHz Opus comes 3 samples late or 2 early at low bit rates, ADPCM 1 late."""
    lag = delay_samples(decoded[np.newaxis], original[np.newaxis], sample_rate_hz)
    if not lag or abs(lag) > _ALIGN_SAMPLES:
        return decoded
    moved = np.zeros_like(decoded)
    if lag > 0:
        moved[:-lag] = decoded[lag:]
    else:
        moved[-lag:] = decoded[:lag]
    return moved
