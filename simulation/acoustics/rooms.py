"""Rooms: what is drawn (a shoebox with positions, or measured responses of one room) and the responses that follow from it."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from simulation.acoustics import shoebox
from simulation.acoustics.impulse_response import DIRECT_S, decay_end, direct_index, sabine_rt60_s
from simulation.acoustics.shoebox import Position, Room
from simulation.bank import Bank
from simulation.example import Clip, Load, SourceError
from simulation.seeds import Rng, chance, integer, seed_of, uniform
from simulation.signals.levels import round_gain

WHOLE_S = 1e6  # as long as any file
MAX_MEASURED_S = 10  # of a file with a response; what comes later is noise


@dataclass(frozen=True)
class RoomRange:
    """What may be drawn. Sizes and absorption are the published ones (UniSE, arXiv 2510.20441); the rest is ours."""

    small_m: tuple[float, float] = (1.0, 10.0)  # length and width of the three kinds of room
    medium_m: tuple[float, float] = (10.0, 30.0)
    large_m: tuple[float, float] = (30.0, 50.0)
    kind_shares: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of small, medium and large rooms
    height_m: tuple[float, float] = (2.0, 5.0)
    absorption: tuple[float, float] = (0.2, 0.8)  # drawn evenly from that part of it which keeps RT60 within rt60_s
    rt60_s: tuple[float, float] = (0.1, 1.5)
    wall_distance_m: float = 0.3  # of microphone and sources; in rooms too small for it, less
    distance_m: tuple[float, float] = (0.5, 10.0)  # from source to microphone
    source_distance_m: float = 0.5  # between sources, where the room has the space
    measured_share: float = 0.2  # of examples with responses from the corpus, if it has any
    method: Literal["early_tail", "hybrid"] = "early_tail"
    num_rooms: int = 0  # 0: each example has its own; else drawn from that many, which spares hybrid most of its time

    def __post_init__(self):
        for name in ("small_m", "medium_m", "large_m", "height_m", "absorption", "rt60_s", "distance_m"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"rooms: {name} is {(low, high)}: give 0 < low <= high")
        if min(self.kind_shares) < 0 or not sum(self.kind_shares):
            raise ValueError(f"rooms: kind_shares is {self.kind_shares}: give shares of 0 or more, not all of them 0")
        if self.absorption[1] > 1 or not 0 <= self.measured_share <= 1:
            raise ValueError(f"rooms: absorption {self.absorption} and measured_share {self.measured_share} end at 1")

    def draw(self, rng: Rng, bank: Bank, num_sources: int) -> "AnyRoom":
        """A room with a position, or a measured response, for each source."""
        if self.num_rooms:
            rng = Rng(rng.seed, f"room of {rng.task}", integer(rng("room", "number"), (0, self.num_rooms - 1)))
        if bank.has("rir") and chance(rng("room", "measured"), self.measured_share):
            return _draw_measured(rng, bank, num_sources)
        size_m = self._draw_size(rng)
        absorption = self._draw_absorption(rng, size_m)
        margins = [min(self.wall_distance_m, 0.4 * side) for side in size_m]
        inside = [(margin, side - margin) for margin, side in zip(margins, size_m, strict=True)]
        generator = rng("room", "microphone")
        taken = [tuple(uniform(generator, bounds, 3) for bounds in inside)]
        for source in range(num_sources):
            taken.append(self._draw_position(rng("room", "source", source), inside, taken))
        return Room(
            size_m=size_m,
            microphone_m=taken[0],
            sources_m=tuple(taken[1:]),
            absorption=absorption,
            rt60_s=sabine_rt60_s(size_m, absorption),
            method=self.method,
            tail_seed=seed_of(rng("room", "tail")),
        )

    def _draw_size(self, rng: Rng) -> Position:
        generator = rng("room", "size")
        total, kinds = float(generator.random()) * sum(self.kind_shares), (self.small_m, self.medium_m, self.large_m)
        small, medium, _ = self.kind_shares
        side_m = kinds[(total >= small) + (total >= small + medium)]
        return uniform(generator, side_m, 2), uniform(generator, side_m, 2), uniform(generator, self.height_m, 2)

    def _draw_absorption(self, rng: Rng, size_m: Position) -> float:
        """Evenly where both ranges hold; where they exclude each other, RT60 comes first."""
        full_s = sabine_rt60_s(size_m, 1.0)
        least, most = full_s / self.rt60_s[1], min(full_s / self.rt60_s[0], 1.0)
        low, high = (min(max(bound, least), most) for bound in self.absorption)
        return uniform(rng("room", "absorption"), (low, high))

    def _draw_position(self, generator: np.random.Generator, inside: list[Position], taken: list[Position]) -> Position:
        """Evenly in distance from the microphone and in height, clear of the other sources; else as clear as 64 tries get."""
        low, high = np.array(inside).T
        nearest, farthest = self.distance_m[0], min(self.distance_m[1], math.dist(low, high))
        tries = generator.random((64, 4))
        distance, height = nearest + max(farthest - nearest, 0) * tries[:, 0], low[2] + (high[2] - low[2]) * tries[:, 1]
        heading = 2 * tries[:, 2:] - 1
        length = np.sqrt(np.square(heading).sum(axis=1))
        across = np.sqrt(np.maximum(np.square(distance) - np.square(height - taken[0][2]), 0))
        positions = np.column_stack([taken[0][:2] + heading * (across / length)[:, np.newaxis], height]).round(3)
        good = (length < 1) & (across > 0) & (positions >= low).all(axis=1) & (positions <= high).all(axis=1)
        if good.any():
            positions = positions[good]
        else:
            positions = (low + (high - low) * tries[:, :3]).round(3)
        gaps = [np.sqrt(np.square(positions - other).sum(axis=1)) for other in taken[1:]]
        gap = np.min(gaps, axis=0) if gaps else np.full(len(positions), math.inf)
        clear = gap >= self.source_distance_m
        return tuple(positions[np.argmax(clear) if clear.any() else np.argmax(gap)].tolist())


class MeasuredRoom(msgspec.Struct, frozen=True, tag="measured"):
    """A response recorded in a real room for each source."""

    clips: tuple[Clip, ...]

    def requested(self) -> dict[str, float]:
        """Nothing: a recorded room is what it is."""
        return {}


AnyRoom = Room | MeasuredRoom


@dataclass(frozen=True)
class Response:
    """What a source sounds like at the microphone: float32 `(taps,)` each, the direct path at sample 0 with unit energy.

    Without its travel time a target made from any part has no lag to the mixture, and the level of the dry signal.
    """

    full: np.ndarray
    early: np.ndarray  # direct path and the reflections of the next 50 ms
    direct: np.ndarray


def responses(room: AnyRoom, load: Load, sample_rate_hz: int) -> list[Response]:
    """One response for each source. SourceError where a measured one is silent; what `load` raises passes through."""
    if isinstance(room, MeasuredRoom):
        loaded = {clip: _measured(clip, load, sample_rate_hz) for clip in dict.fromkeys(room.clips)}
        return [loaded[clip] for clip in room.clips]
    if room.method == "hybrid":
        simulated = shoebox.hybrid(room, sample_rate_hz)
    else:
        simulated = [shoebox.early_tail(room, source, sample_rate_hz) for source in range(len(room.sources_m))]
    return [_parts(full, 1, sample_rate_hz) for full in simulated]


def _measured(clip: Clip, load: Load, sample_rate_hz: int) -> Response:
    """From the direct path to where the recording's own noise begins."""
    recorded = load(clip)[0]
    try:
        start = direct_index(recorded, sample_rate_hz)
    except ValueError as error:
        raise SourceError(clip.id, clip.path, "silent", str(error)) from None
    num_direct = round(DIRECT_S * sample_rate_hz)
    energy = float(np.square(recorded[start : start + num_direct], dtype=np.float64).sum())
    gain = round_gain(math.copysign(1 / math.sqrt(energy), recorded[start]))
    end = max(decay_end(recorded, sample_rate_hz), start + num_direct)
    return _parts(recorded[start:end] * np.float32(gain), num_direct, sample_rate_hz)


def _parts(full: np.ndarray, num_direct: int, sample_rate_hz: int) -> Response:
    return Response(full, full[: round(shoebox.EARLY_S * sample_rate_hz)], full[:num_direct])


def _draw_measured(rng: Rng, bank: Bank, num_sources: int) -> MeasuredRoom:
    """Responses of one group, which is one room as far as the corpus says: different ones while there are any."""
    rows = bank.members["rir"].of(bank.group(rng("room", "rir"), "rir"))
    rows = rng("room", "rir", "order").permutation(rows)
    order = itertools.islice(itertools.cycle(rows), num_sources)
    return MeasuredRoom(tuple(_whole(bank.clip(rng("room", "rir"), int(row), WHOLE_S)) for row in order))


def _whole(clip: Clip) -> Clip:
    """From the first sample, where the direct path is."""
    return msgspec.structs.replace(clip, num_frames=min(clip.num_frames, MAX_MEASURED_S * clip.sample_rate_hz))
