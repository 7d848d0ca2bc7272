"""What data a model is trained on, and how they are drawn, cut and read ahead."""

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class DomainWeights:
    """How often a clip is of each domain, relative to the others; 0 leaves the domain out (SPEC section 2: 2 : 1 : 1)."""

    speech: float = 2.0
    music: float = 1.0
    event: float = 1.0
    noise: float = 0.0
    rir: float = 0.0

    def __post_init__(self) -> None:
        weights = dataclasses.asdict(self)
        if min(weights.values()) < 0 or not sum(weights.values()):
            raise ValueError(f"domain weights {weights}: give 0 or more, and at least one above 0")


@dataclass(frozen=True)
class ReadingConfig:
    """How any data are read."""

    PREFIX: ClassVar[str] = "--clips"
    """Of the options that give these fields on the command line: messages name what a person can type."""

    logical_workers: int = 8
    """Parts that every source is dealt into, fixed for a run; the number of ranks must divide it."""
    threads: int = 2
    """Threads of each rank that decode."""
    prefetch_steps: int = 2
    """Steps that are decoded ahead."""
    window_shards: int = 4
    """Shards whose clips a logical worker mixes at a time."""
    window_mb: float = 64.0
    """Encoded clips of a window, which has one shard at least. Each logical worker holds one to two windows of each source."""
    max_reject_share: float = 0.05
    """Stop with exit code 3 when more than this share of all clips cannot serve."""

    def __post_init__(self) -> None:
        for name in ("logical_workers", "threads", "prefetch_steps", "window_shards"):
            if getattr(self, name) < 1:
                raise ValueError(f"{self.option(name)} is {getattr(self, name)}: give 1 or more")
        if self.window_mb <= 0:
            raise ValueError(f"{self.option('window_mb')} is {self.window_mb}: give more than 0")
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(f"{self.option('max_reject_share')} is {self.max_reject_share}: give a number from 0 to 1")

    def option(self, name: str) -> str:
        """The option of a field."""
        return f"{self.PREFIX}.{name.replace('_', '-')}"


@dataclass(frozen=True)
class DataConfig(ReadingConfig):
    """Where clips of audio come from and what is made of them."""

    corpora: tuple[str, ...] = ()
    """Corpora: manifests, or folders or s3:// prefixes that hold one. The split `train` is used."""
    shards: tuple[str, ...] = ()
    """Datasets of `make simulate`, or folders or s3:// prefixes of them. Tars of another WebDataset are given with their
    domain: music=s3://bucket/folder, or event=/data/fsd-{000..099}.tar."""
    roles: tuple[str, ...] = ("target", "input")
    """Which signals of an example in shards are clips to train on; `all` takes every one."""
    weights: DomainWeights = field(default_factory=DomainWeights)
    crop_s: float = 5.0
    """Length of the stretch that is cut from a clip at random; a shorter clip is used whole."""
    num_channels: int = 1
    """1 averages the channels, 2 keeps stereo and doubles mono."""
    peak: tuple[float, float] = (0.1, 0.99)
    """Each crop is scaled to a peak drawn from this range."""
    min_source_rate_hz: int = 0
    """Leave out clips with a lower sample rate: they have no high frequencies to learn from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_source_rate_hz < 0:
            raise ValueError(f"{self.option('min_source_rate_hz')} is {self.min_source_rate_hz}: give 0 or more")
        if self.num_channels not in (1, 2):
            raise ValueError(f"{self.option('num_channels')} is {self.num_channels}: give 1 or 2")
        if not 0 < self.peak[0] <= self.peak[1] <= 1:
            raise ValueError(f"{self.option('peak')} is {self.peak}: give a range within (0, 1]")
        if self.crop_s <= 0:
            raise ValueError(f"{self.option('crop_s')} is {self.crop_s}: give more than 0")
        if not self.roles:
            raise ValueError(f"{self.option('roles')} names none: give one or more, or all")
