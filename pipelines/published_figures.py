"""Figures that others have published, to be shown beside ours: never taken for ours, each with what differs."""

from dataclasses import dataclass

LIBRISPEECH = "LibriSpeech test-clean"
_PESQ = "which PESQ is not said"
_CODEC = f"{_PESQ}; the recogniser of WER and the model of SIM are theirs"
_QUARK = "as published; the exact clips and settings are not"


@dataclass(frozen=True)
class Figure:
    """One published number; `differs`: what is not known to be as here."""

    system: str
    task: str
    test_set: str
    metric: str
    value: float
    differs: str

    def __str__(self) -> str:
        return f"{self.system} {self.metric} {self.value:g} ({self.differs})"


# Columns: PESQ, STOI, UTMOS, speaker similarity, WER in %. A rate in bit/s is in the system's name.
_CODEC_METRICS = ("pesq_wb", "stoi", "utmos", "speaker_similarity", "wer")
_CODECS = {
    "H-Codec-1.0 (2000 bps)": (2.99, 0.94, 4.06, 0.84, 3.18),
    "X-Codec (2000 bps)": (2.64, 0.92, 3.88, 0.77, 3.33),
    "DAC (2000 bps)": (1.42, 0.84, 1.83, 0.60, 4.32),
    "EnCodec (6000 bps)": (2.77, 0.94, 3.09, 0.89, 2.64),
    "BiCodec (650 bps)": (2.51, 0.92, 4.18, 0.80, 3.23),
    "X-Codec2 (800 bps)": (2.43, 0.92, 4.13, 0.82, 3.53),
}
FIGURES = (
    *(
        Figure(system, "codec", LIBRISPEECH, metric, value, _CODEC)
        for system, values in _CODECS.items()
        for metric, value in zip(_CODEC_METRICS, values, strict=True)
    ),
    Figure("QuarkAudio", "codec", "Seed-TTS-eval zh", "pesq_wb", 2.88, _PESQ),
    Figure("QuarkAudio", "codec", "Seed-TTS-eval en", "pesq_wb", 2.77, _PESQ),
    Figure("QuarkAudio", "codec", "AudioSet eval", "mel_distance", 1.1125, "their mel settings are not known"),
    Figure(
        "QuarkAudio", "codec", "MUSDB18-HQ", "mel_distance", 0.5035, "a mel loss, whose settings and excerpts are not known"
    ),
    Figure("QuarkAudio", "sr", "PLC Challenge", "plcmos", 4.58, _QUARK),
    Figure("QuarkAudio", "tse", "Libri2Mix clean TSE", "dnsmos_sig", 3.62, _QUARK),
    Figure("QuarkAudio", "vc", "VCTK", "wer", 3.02, "their pairs and recogniser are not published"),
    Figure("QuarkAudio", "speech_edit", "Seed-TTS edits zh", "wer", 11.275, "their edits and recogniser are not published"),
    Figure("UniSE", "sr", "DNS2020 with_reverb", "dnsmos_ovrl", 3.41, _QUARK),
    Figure("UniSE", "tse", "Libri2Mix clean TSE", "dnsmos_ovrl", 3.33, "whether clean or noisy mixtures is not said"),
    Figure("UniSE", "ss", "Libri2Mix clean SS", "dnsmos_ovrl", 3.34, "whether clean or noisy mixtures is not said"),
)


def beside(task: str, test_set: str, metric: str) -> list[Figure]:
    """The published figures of this task, test set and metric, by the names that `make import-testset` gives."""
    return [one for one in FIGURES if (one.task, one.test_set, one.metric) == (task, test_set, metric)]
