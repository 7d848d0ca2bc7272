"""What a target is made from: text, a reference and an input, as continuous features.

Shapes: B clips, M features, D width, C the three conditions (text, reference, input), T samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lm.audio_encoder import RATE_HZ, SAMPLES_PER_FRAME, AudioEncoder, open_audio_encoder
from lm.config import ConditionConfig
from lm.features import Features
from lm.tasks import CONDITIONS, check_conditions
from lm.text_encoder import TextEncoder, open_text_encoder, spelling

MAX_AUDIO_S = 60.0  # of one condition; longer audio is cut into chunks by the caller


@dataclass(frozen=True)
class Conditions:
    """The conditions of a batch. A clip without one has no features there; None where no clip has any."""

    text: Features | None = None  # states of the frozen text encoder
    spelling: Features | None = None  # int64 (B, M, 1): bytes of the same texts, embedded by the model
    reference: Features | None = None  # states of the frozen audio encoder
    input: Features | None = None
    input_codes: Features | None = None  # int64 (B, F, codebooks): the codec's tokens of the input, of a model that copies

    def check(self, tasks: Sequence[str]) -> None:
        """ValueError if a clip lacks what its task needs."""
        for row, name in enumerate(tasks):
            given = {c for c in CONDITIONS if (part := getattr(self, c)) is not None and part.lengths_B[row]}
            try:
                check_conditions(name, given)
            except ValueError as error:
                raise ValueError(f"clip {row}: {error}") from None

    def kept(self, keep_BC: Tensor) -> "Conditions":
        """The same without those that are not kept (bool)."""
        keep = dict(zip(CONDITIONS, keep_BC.unbind(1)))
        keep |= {"spelling": keep["text"], "input_codes": keep["input"]}
        return self._map(lambda name, part: part.kept(keep[name]))

    def dropped(self, uniform_BC: Tensor, probability: float) -> "Conditions":
        """Condition dropout (Ho and Salimans 2022): each is left out where its draw in [0, 1) is below `probability`."""
        return self.kept(uniform_BC >= probability)

    def to(self, device: torch.device | str) -> "Conditions":
        return self._map(lambda _, part: part.to(device))

    def joined(self, other: "Conditions") -> "Conditions":
        """The rows of this, then those of another that has the same shapes."""
        return self._map(lambda name, part: part.joined(getattr(other, name)))

    def _map(self, change) -> "Conditions":
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Conditions(**{name: change(name, part) for name, part in parts.items() if part is not None})


class Adapter(nn.Sequential):
    """From the width of a frozen encoder to that of the decoder."""

    def __init__(self, kind: str, input_width: int, width: int):
        first = nn.Linear(input_width, width)
        super().__init__(*((first,) if kind == "linear" else (first, nn.SiLU(), nn.Linear(width, width))))

    def forward(self, x_BMD: Tensor) -> Tensor:
        return super().forward(x_BMD.to(self[0].weight.dtype))


class Waves(list):
    """Waves (T,) of a batch, None where there is none, some with features (M, D) that the audio encoder made of them before."""

    def __init__(self, waves: Sequence[Tensor | None], features: Sequence[Tensor | None] = ()):
        super().__init__(waves)
        self.features = list(features) or [None] * len(waves)


class Encoders:
    """The frozen encoders of a model: texts and 16 kHz waves to conditions."""

    def __init__(self, audio: AudioEncoder, text: TextEncoder | None):
        self.audio, self.text = audio, text

    @classmethod
    def open(cls, config: ConditionConfig) -> "Encoders":
        """Those that the configuration names. ValueError for one that is not to be had or has another width."""
        encoders = cls(open_audio_encoder(config.audio_encoder), open_text_encoder(config.text_encoder))
        for kind, width, wanted in (
            ("audio", encoders.audio.width, config.audio_width),
            ("text", encoders.text.width, config.text_width),
        ):
            if width != wanted:
                raise ValueError(
                    f"{kind} encoder {getattr(config, kind + '_encoder')!r} is {width} wide, the model wants {wanted}"
                )
        return encoders

    def to(self, device: torch.device | str) -> "Encoders":
        return Encoders(self.audio.to(device), self.text and self.text.to(device))

    def __call__(
        self,
        tasks: Sequence[str],
        *,
        texts: Sequence[str | None] | None = None,
        references: Sequence[Tensor | None] | None = None,
        inputs: Sequence[Tensor | None] | None = None,
    ) -> Conditions:
        """Conditions of a batch: one text, reference wave (T,) and input wave (T,) for each task, None where there is none.

        ValueError for a condition that is missing, of no use, empty, too long or not finite.
        """
        texts, references, inputs = (given or [None] * len(tasks) for given in (texts, references, inputs))
        for row, (name, text, reference, wave) in enumerate(zip(tasks, texts, references, inputs, strict=True)):
            given = {c for c, value in zip(CONDITIONS, (text, reference, wave)) if value is not None}
            try:
                check_conditions(name, given)
                for condition, audio in (("reference", reference), ("input", wave)):
                    _check_wave(condition, audio)
                if text == "":
                    raise ValueError(f"task {name}: the text is empty: say what is wanted")
            except ValueError as error:
                raise ValueError(f"clip {row}: {error}") from None
        return Conditions(*self._encode_texts(texts), self._encode_waves(references), self._encode_waves(inputs))

    def _encode_texts(self, texts: Sequence[str | None]) -> tuple[Features | None, Features | None]:
        if not any(texts):
            return None, None
        if self.text is None:
            raise ValueError("a text is given, and no text encoder")
        plain = [text or "" for text in texts]
        states = self.text(plain)
        return states, spelling(plain).to(states.values_BMD.device)

    def _encode_waves(self, waves: Sequence[Tensor | None]) -> Features | None:
        rows = [row for row, wave in enumerate(waves) if wave is not None]
        if not rows:
            return None
        features = Waves(waves, getattr(waves, "features", ())).features
        todo = [row for row in rows if features[row] is None]
        if todo:
            num_samples_N = torch.tensor([len(waves[row]) for row in todo], device=waves[rows[0]].device)
            made = self.audio(pad_sequence([waves[row] for row in todo], batch_first=True), num_samples_N)
            for row, one, num_samples in zip(todo, made, num_samples_N.tolist()):
                features[row] = one[: -(-num_samples // SAMPLES_PER_FRAME)]
        nothing = torch.zeros(0, self.audio.width, device=waves[rows[0]].device)
        return Features.of([nothing if one is None else one.float() for one in features])


def _check_wave(name: str, wave: Tensor | None) -> None:
    if wave is None:
        return
    if wave.ndim != 1 or not wave.is_floating_point():
        raise ValueError(f"{name}: a {wave.dtype} tensor of shape {tuple(wave.shape)}; give one channel of float samples")
    if not len(wave):
        raise ValueError(f"{name}: audio of zero length")
    if len(wave) > MAX_AUDIO_S * RATE_HZ:
        raise ValueError(f"{name}: {len(wave) / RATE_HZ:.1f} s of audio; at most {MAX_AUDIO_S:g} s at once: cut it into chunks")
    if not wave.isfinite().all():
        raise ValueError(f"{name}: audio with samples that are not finite")
