"""From conditions to audio: the language model writes tokens, the codec makes audio of them.

Audio of any rate, number of channels and length goes in; where the target is as long as the input, it comes out the same,
window by window, in bounded memory.

Shapes: B rows (a window of a channel), K layers, F frames, T samples.
"""

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from codec.codes import Codes, cut
from codec.model import Codec
from lm.audio_encoder import RATE_HZ, open_audio_encoder
from lm.conditions import Encoders
from lm.features import Features
from lm.generate import Frames, Prompt, generate
from lm.model import UnifiedLM
from lm.sampling import Sampling
from lm.tasks import check_conditions, task
from lm.text_encoder import check_text, open_text_encoder
from pipelines.audio_streams import (
    ArrayAudio,
    Audio,
    at_rate,
    exactly,
    loudest,
    mono_at_rate,
    num_samples_at,
    resampled,
    stretches,
    whole,
)
from pipelines.long_audio import Window, Windowing, joined, windows_of
from pipelines.speaker_order import in_order
from training.data.token_examples import TIMED_REFERENCES
from training.keys import key

EDIT_GROWTH, EDIT_MORE_S = 2.0, 5.0  # an edit may at most double its input, and add a sentence or a sound to it
CHAIN = ("sr", "tse", "rtse")  # of ss
TIMED_TOLERANCE_S = 1.0  # by which a reference of the same time may be shorter or longer than the input


@dataclass(frozen=True)
class Options:
    """How audio is generated."""

    seed: int = 0
    """Of what is drawn. The same seed gives the same audio on one kind of device."""
    temperature: float | None = None
    """0 takes the most probable token. If not given: 0 for tasks as long as their input (as UniSE), 1 for the others."""
    top_k: int = 0
    """Draw from the k most probable tokens only; 0: from all."""
    top_p: float = 1.0
    """Draw from the most probable tokens only that together have this probability."""
    guidance: float = 1.0
    """Classifier-free guidance; 1: none."""
    chained: bool = False
    """ss as the chain of sr, tse and rtse instead of the model's own two outputs."""
    windowing: Windowing = field(default_factory=Windowing)
    reference_s: float = 5.0
    """Of a reference, its loudest stretch of this length is used."""
    max_output_s: float = 30.0
    """The longest audio of a task whose target is not as long as its input, and the longest input of such a task."""
    batch_windows: int = 8
    """Windows of a file that are worked on at once; more are faster on a GPU, and need more memory."""
    compiled: bool = False
    """Compile a step of the language model, on a GPU as a CUDA graph: worth its start for long files."""

    def __post_init__(self) -> None:
        self.sampling("sr")
        for name in ("reference_s", "max_output_s", "batch_windows"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give more than 0")

    def sampling(self, name: str) -> Sampling:
        """For a task. ValueError for numbers that are out of range."""
        own = 0.0 if task(name).length == "aligned" else 1.0
        return Sampling(own if self.temperature is None else self.temperature, self.top_k, self.top_p, self.guidance)


@dataclass(frozen=True)
class Request:
    """What is to be made, and from what."""

    task: str
    input: Audio | None = None
    reference: Audio | None = None
    text: str | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One target to generate; waves are (samples,) at 16 kHz."""

    num_frames: int  # of each signal of the target; of a task of free length: at most
    seed: int
    input: np.ndarray | None
    reference: np.ndarray | None
    heard: np.ndarray | None = None  # the input at the codec's rate, for a model that copies its tokens


class Generator:
    """A codec, a language model and its frozen encoders, all on one device."""

    def __init__(self, codec: Codec, lm: UnifiedLM):
        self.codec, self.lm, self.device = codec, lm, lm.heads.even.device
        self.sample_rate_hz, self.frame_rate_hz = codec.config.sample_rate_hz, codec.config.frame_rate_hz
        self.samples_per_frame = codec.config.samples_per_frame
        self.samples_per_frame_16k = round(RATE_HZ / self.frame_rate_hz)
        assert self.samples_per_frame_16k * self.frame_rate_hz == RATE_HZ, self.frame_rate_hz
        conditions = lm.config.conditions
        self._encoders = Encoders(open_audio_encoder(conditions.audio_encoder).to(self.device), None)
        _check_width("audio", conditions.audio_encoder, self._encoders.audio.width, conditions.audio_width)

    def encoders(self, with_text: bool) -> Encoders:
        """The frozen encoders; that of texts takes seconds to open, and so is opened when the first text comes."""
        if with_text and self._encoders.text is None:
            conditions = self.lm.config.conditions
            opened = open_text_encoder(conditions.text_encoder).to(self.device)
            _check_width("text", conditions.text_encoder, opened.width, conditions.text_width)
            self._encoders = Encoders(self._encoders.audio, opened)
        return self._encoders

    def check(self, request: Request, options: Options) -> None:
        """ValueError for what can be said without the audio: conditions that are missing or of no use, and `check_task`."""
        given = {"text": request.text, "reference": request.reference, "input": request.input}
        check_conditions(request.task, {name for name, value in given.items() if value is not None})
        self.check_task(request.task, request.text, options)

    def check_task(self, name: str, text: str | None, options: Options) -> None:
        """ValueError for a task that the model does not have, and for a text that its encoder cannot read."""
        if options.chained and name != "ss":
            raise ValueError(f"chained is for the task ss, not for {name}")
        for one in CHAIN if options.chained else (name,):
            self.lm.config.task_index(one)
        if text is not None:
            check_text(text)
            self.encoders(with_text=True).text([text])

    def stream(self, request: Request, options: Options) -> Iterator[np.ndarray]:
        """(targets, channels, samples) float32, piece by piece, at the input's rate (without an input, at the codec's).

        Channels are worked on apart; but a task of free length takes their mean, and gives each the same. ValueError for what
        the task or the model cannot take, BadAudio for files that cannot be decoded.
        """
        self.check(request, options)
        if task(request.task).length == "free":
            return self._free(request, options)
        return self._chain(request, options) if options.chained else self._aligned(request, options)

    def _aligned(self, request: Request, options: Options) -> Iterator[np.ndarray]:
        audio, total = request.input, num_samples_at(request.input, RATE_HZ)
        size, context = options.windowing.frames(self.frame_rate_hz)
        windows = windows_of(-(-total // self.samples_per_frame_16k), size, context)
        parts = self._parts(request, windows, options)
        if task(request.task).num_targets > 1:
            parts = in_order(parts, self.samples_per_frame)
        fade = min(round(options.windowing.fade_s * self.sample_rate_hz), (size - 2 * context) * self.samples_per_frame)
        pieces = joined(parts, self.samples_per_frame, fade)
        return exactly(_signals_at(pieces, self.sample_rate_hz, audio.sample_rate_hz), audio.num_samples)

    def _parts(self, request: Request, windows: list[Window], options: Options) -> Iterator[tuple[Window, np.ndarray]]:
        """Each window with what becomes of it, (targets, channels, samples) at the codec's rate."""
        audio, spans = request.input, self._spans(request.input, windows, RATE_HZ)
        inputs = stretches(at_rate(audio, RATE_HZ), spans)
        numbered = zip(
            itertools.count(), windows, inputs, self._heard(audio, windows), self._references(request, spans, options)
        )
        while batch := list(itertools.islice(numbered, options.batch_windows)):
            rows = [
                # the same draws for all channels: equal ones stay equal
                Row(window.last - window.first, key(options.seed, request.task, number), channel, reference, own)
                for number, window, wave, heard, reference in batch
                for channel, own in zip(wave, itertools.repeat(None) if heard is None else heard)
            ]
            made = np.split(self._made(request, rows, options), len(batch), axis=1)
            yield from zip((window for _, window, *_ in batch), made, strict=True)

    def _heard(self, audio: Audio, windows: list[Window]) -> Iterator[np.ndarray | None]:
        """For each window (channels, samples) at the codec's rate, where the model copies tokens."""
        if not self.lm.config.copies:
            return itertools.repeat(None)
        return stretches(at_rate(audio, self.sample_rate_hz), self._spans(audio, windows, self.sample_rate_hz))

    def _spans(self, audio: Audio, windows: list[Window], rate_hz: int) -> list[tuple[int, int]]:
        """First and past-the-last sample of each window at a rate, at least one."""
        per_frame, total = round(rate_hz / self.frame_rate_hz), num_samples_at(audio, rate_hz)
        return [(min(window.first * per_frame, total - 1), min(window.last * per_frame, total)) for window in windows]

    def _references(self, request: Request, spans: list[tuple[int, int]], options: Options) -> Iterator[np.ndarray | None]:
        """For each window, (samples,) at 16 kHz."""
        if request.task not in TIMED_REFERENCES:
            return itertools.repeat(self._reference(request, options))
        reference, audio = request.reference, request.input
        lengths_s = [one.num_samples / one.sample_rate_hz for one in (reference, audio)]
        if abs(lengths_s[0] - lengths_s[1]) > TIMED_TOLERANCE_S:
            raise ValueError(
                f"{reference.name}: {lengths_s[0]:.1f} s of reference for {lengths_s[1]:.1f} s of {audio.name}: "
                f"task {request.task} wants both of the same time"
            )
        pieces = exactly(mono_at_rate(reference, RATE_HZ), num_samples_at(audio, RATE_HZ))
        return (wave[0] for wave in stretches(pieces, spans))

    def _reference(self, request: Request, options: Options) -> np.ndarray | None:
        if request.reference is None:
            return None
        return loudest(mono_at_rate(request.reference, RATE_HZ), round(options.reference_s * RATE_HZ))[0]

    def _chain(self, request: Request, options: Options) -> Iterator[np.ndarray]:
        """Restoration gives the voice that stands out; it is extracted, then the other."""
        mixture, num_samples = request.input, round(options.reference_s * RATE_HZ)
        stretch = ArrayAudio(loudest(mono_at_rate(mixture, RATE_HZ), num_samples), RATE_HZ, mixture.name)
        restored = whole(self._aligned(Request("sr", stretch), options))
        voice = ArrayAudio(restored[0], RATE_HZ, f"{mixture.name}, restored")
        both = [self._aligned(Request(name, mixture, voice), options) for name in CHAIN[1:]]
        return (np.concatenate(pieces) for pieces in zip(*both, strict=True))

    def _free(self, request: Request, options: Options) -> Iterator[np.ndarray]:
        audio, longest_s, wave, heard = request.input, options.max_output_s, None, None
        if audio is not None:
            input_s = audio.num_samples / audio.sample_rate_hz
            if input_s > longest_s:
                raise ValueError(
                    f"{audio.name}: {input_s:.1f} s; task {request.task} takes at most {longest_s:g} s at once: cut it, or "
                    "raise max_output_s"
                )
            longest_s = min(longest_s, EDIT_GROWTH * input_s + EDIT_MORE_S)
            wave = whole(mono_at_rate(audio, RATE_HZ))[0]
            heard = whole(mono_at_rate(audio, self.sample_rate_hz))[0] if self.lm.config.copies else None
        seed = key(options.seed, request.task, 0)
        row = Row(max(1, int(longest_s * self.frame_rate_hz)), seed, wave, self._reference(request, options), heard)
        frames = self._frames(request, [row], options)
        if not bool(frames.ended_B[0]):
            warnings.warn(
                f"{audio.name if audio else request.task}: it did not end by itself, and is cut at {longest_s:g} s",
                stacklevel=3,
            )
        made = self._decoded(self._codes(frames))[np.newaxis]
        if audio is None:
            return iter([made])
        pieces = _signals_at(iter([made]), self.sample_rate_hz, audio.sample_rate_hz)
        return (np.repeat(piece, audio.num_channels, axis=1) for piece in pieces)

    def _made(self, request: Request, rows: list[Row], options: Options) -> np.ndarray:
        """(targets, rows, samples) at the codec's rate, of rows of one length."""
        codes, num_frames = self._codes(self._frames(request, rows, options)), rows[0].num_frames
        starts = [index * num_frames for index in range(task(request.task).num_targets)]
        return np.stack([self._decoded(cut(codes, start, start + num_frames, self.samples_per_frame)) for start in starts])

    @torch.inference_mode()
    def _frames(self, request: Request, rows: list[Row], options: Options) -> Frames:
        waves = {
            name: [None if wave is None else torch.from_numpy(wave.copy()).to(self.device) for wave in part]
            for name, part in (("inputs", [row.input for row in rows]), ("references", [row.reference for row in rows]))
        }
        names = [request.task] * len(rows)
        conditions = self.encoders(request.text is not None)(names, texts=[request.text] * len(rows), **waves)
        conditions = replace(conditions, input_codes=self._input_codes([row.heard for row in rows]))
        limits = [row.num_frames * task(request.task).num_targets for row in rows]
        prompt = Prompt(names, conditions, limits, [row.seed for row in rows])
        return generate(self.lm, prompt, options.sampling(request.task), compiled=options.compiled)

    def _input_codes(self, heard: list[np.ndarray | None]) -> Features | None:
        """The codec's tokens of waves, all there or none."""
        if heard[0] is None:
            return None
        lengths_B = torch.tensor([len(wave) for wave in heard], device=self.device)
        wave_BT = pad_sequence([torch.from_numpy(wave.copy()) for wave in heard], batch_first=True).to(self.device)
        codes = self.codec.encode(wave_BT, lengths_B)
        return Features(torch.cat([codes.acoustic_BKF, codes.semantic_BKF], dim=1).transpose(1, 2), codes.lengths_B)

    @torch.inference_mode()
    def _decoded(self, codes: Codes) -> np.ndarray:
        """(rows, samples)."""
        return self.codec.decode(codes).float().cpu().numpy()

    def _codes(self, frames: Frames) -> Codes:
        """As the codec takes them."""
        num_B, size = frames.num_frames_B, self.codec.config.quantiser.codebook_size
        codes = Codes(frames.acoustic_BKF, frames.semantic_BKF, num_B, num_B, self.frame_rate_hz, size)
        return replace(codes, num_samples_B=codes.durations_BF.sum(1) * self.samples_per_frame)


def _signals_at(pieces: Iterator[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Pieces (targets, channels, samples) at another rate."""
    pieces = iter(pieces)
    first = next(pieces)
    flat = (piece.reshape(-1, piece.shape[-1]) for piece in itertools.chain([first], pieces))
    return (piece.reshape(*first.shape[:-1], -1) for piece in resampled(flat, from_hz, to_hz))


def _check_width(kind: str, name: str, width: int, wanted: int) -> None:
    if width != wanted:
        raise ValueError(f"{kind} encoder {name!r} is {width} wide, the model wants {wanted}")
