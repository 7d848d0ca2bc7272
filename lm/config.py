"""What makes a language model: frozen dataclasses that are saved as `config.json` beside the weights, and the presets."""

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lm.tasks import TASKS, task


def _positive(config: Any, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{type(config).__name__}: {name} is {getattr(config, name)}, and must be above 0")


@dataclass(frozen=True)
class TokenConfig:
    """Which codec's tokens: the numbers that an LM and a codec must agree on."""

    num_acoustic: int = 4  # quantiser layers
    num_semantic: int = 4
    codebook_size: int = 1024
    max_duration_frames: int = 1  # dynamic rate: the duration travels in the code, `(duration - 1) * codebook_size + code`
    frame_rate_hz: float = 25.0  # of each stream, before frames are grouped
    codec: str = ""  # the codec's id, where the caller has one

    def __post_init__(self) -> None:
        _positive(self, "num_acoustic", "num_semantic", "codebook_size", "max_duration_frames", "frame_rate_hz")

    @property
    def num_layers(self) -> int:
        return max(self.num_acoustic, self.num_semantic)

    @property
    def vocab_size(self) -> int:
        return self.codebook_size * self.max_duration_frames

    @property
    def end(self) -> int:
        """E: in the first layer, where the next frame would begin. The only special symbol that is ever predicted."""
        return self.vocab_size

    @property
    def pad(self) -> int:
        """In the gaps of the delay pattern."""
        return self.vocab_size + 1

    @property
    def start(self) -> int:
        """S: in all layers, before the first frame."""
        return self.vocab_size + 2

    def check_codec(self, codec: "TokenConfig") -> None:
        """ValueError that names what differs, if the tokens of `codec` are not those of this model."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(codec)
        if not self.codec or not codec.codec:  # one does not know its codec
            mine["codec"] = theirs["codec"] = ""
        wrong = [f"{name} {theirs[name]!r}, the model has {value!r}" for name, value in mine.items() if theirs[name] != value]
        if wrong:
            raise ValueError(
                f"tokens of another codec: {'; '.join(wrong)}. Encode with the codec that the model was trained on"
            )


@dataclass(frozen=True)
class DecoderConfig:
    """A decoder of the LLaMA family."""

    width: int = 512
    num_layers: int = 12
    num_heads: int = 8
    num_kv_heads: int | None = None  # fewer than num_heads: grouped-query attention
    feed_forward_width: int = 2048
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        _positive(self, "width", "num_layers", "num_heads", "feed_forward_width")
        if self.width % (2 * self.num_heads):
            raise ValueError(f"decoder: width {self.width} must be an even multiple of num_heads {self.num_heads}")
        if self.num_kv_heads is not None and (self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads):
            raise ValueError(f"decoder: num_heads {self.num_heads} must be a multiple of num_kv_heads {self.num_kv_heads}")

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads

    @property
    def kv_heads(self) -> int:
        return self.num_kv_heads or self.num_heads


@dataclass(frozen=True)
class ConditionConfig:
    """What the frozen encoders give, and how it is brought to the decoder's width."""

    audio_encoder: str = "log-mel"  # or a path or hub id of a transformers speech model
    audio_width: int = 160
    audio_rate_hz: float = 50.0
    text_encoder: str = "minilm"  # or a path or hub id of a BERT, T5 or CLAP
    text_width: int = 384
    adapter: Literal["linear", "mlp"] = "mlp"

    def __post_init__(self) -> None:
        _positive(self, "audio_width", "audio_rate_hz", "text_width")
        if self.adapter not in ("linear", "mlp"):
            raise ValueError(f"conditions: adapter {self.adapter!r} is not one of linear, mlp")


@dataclass(frozen=True)
class LMConfig:
    """A language model."""

    tokens: TokenConfig = field(default_factory=TokenConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    conditions: ConditionConfig = field(default_factory=ConditionConfig)
    tasks: tuple[str, ...] = tuple(TASKS)  # in the order of their embeddings; new ones go to the end
    clock: Literal["aligned", "running"] = "aligned"
    """Position of a token for the rotary embedding: its time in the target or the input, or its index in the row."""
    max_positions: int = 8192  # of a row: conditions and target
    copies: bool = False
    """Offer the model for each slot the token that the input has there: what an edit leaves alone is copied (lm/offers.py). For
    codecs of a constant rate, and data that keep the inputs' tokens: `make encode ARGS=--input-codes`."""

    def __post_init__(self) -> None:
        for name in self.tasks:
            task(name)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks are {', '.join(self.tasks) or 'none'}: give each once")
        if self.clock not in ("aligned", "running"):
            raise ValueError(f"clock {self.clock!r} is not one of aligned, running")
        _positive(self, "max_positions")
        if self.copies and self.tokens.max_duration_frames > 1:
            raise ValueError(
                f"copies: for codecs of a constant rate; tokens of this one last up to {self.tokens.max_duration_frames} frames"
            )

    def task_index(self, name: str) -> int:
        """Row of the task's embedding. ValueError for a task that the model does not have."""
        task(name)
        if name not in self.tasks:
            raise ValueError(f"this model was not trained for task {name}; it has {', '.join(self.tasks)}")
        return self.tasks.index(name)


PRESETS = {
    "tiny": LMConfig(decoder=DecoderConfig(width=256, num_layers=6, num_heads=4, feed_forward_width=768)),
    "small": LMConfig(decoder=DecoderConfig(width=512, num_layers=12, num_heads=8, feed_forward_width=2048)),
    "base": LMConfig(decoder=DecoderConfig(width=1024, num_layers=18, num_heads=16, feed_forward_width=2816)),
    "1b": LMConfig(decoder=DecoderConfig(width=2048, num_layers=16, num_heads=32, num_kv_heads=8, feed_forward_width=8192)),
}


def from_json(cls: type, data: Any, where: str = "config") -> Any:
    """The dataclass of parsed JSON; absent fields get their defaults. ValueError for names and types that are wrong."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: {data!r} where {cls.__name__} is wanted")
    types = get_type_hints(cls)
    for name in data:
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1)
            raise ValueError(
                f"{where}: no field {name!r}: " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(types)}")
            )
    return cls(**{name: _value(types[name], value, f"{where}.{name}") for name, value in data.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return from_json(kind, value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_value(get_args(kind)[0], item, where) for item in value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    allowed = () if get_origin(kind) in (tuple, Literal) else get_args(kind) or (kind,)
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) in allowed:
        return value
    raise ValueError(f"{where}: {value!r} where {getattr(kind, '__name__', kind)} is wanted")
