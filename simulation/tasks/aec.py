"""Acoustic echo cancellation: a microphone that hears a loudspeaker and the signal sent to it in, the near-end voice out."""

from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np

from simulation.acoustics.echo import Change, Echo, EchoPath, Place, PlaybackRange, echo
from simulation.acoustics.impulse_response import SPEED_OF_SOUND_M_S, drr_db, measured_rt60_s, onset_index
from simulation.acoustics.loudspeaker import LoudspeakerRange
from simulation.acoustics.reverberation import TargetKind
from simulation.acoustics.rooms import AnyRoom, MeasuredRoom, Response, Room, RoomRange, responses
from simulation.bank import Bank
from simulation.descriptions.distinct import pick
from simulation.example import Clip, Example, Load
from simulation.seeds import Rng, chance, integer, uniform
from simulation.signals.balance import Balanced, Part, balanced
from simulation.signals.convolution import convolve
from simulation.signals.levels import db, from_int16
from simulation.signals.mixing import Placed, activity, finite, placed, residual_db, summed, tiled
from simulation.talkers.voices import draw_voices

Scenario = Literal["double_talk", "far_end", "near_end", "path_change"]


@dataclass(frozen=True)
class ScenarioShares:
    """How often each scenario is drawn, relative to the others; ours, after the AEC Challenge's recordings."""

    double_talk: float = 0.5
    far_end: float = 0.2
    near_end: float = 0.15
    path_change: float = 0.15

    def __post_init__(self) -> None:
        shares = vars(self)
        if min(shares.values()) < 0 or not sum(shares.values()):
            raise ValueError(f"scenarios: shares are {shares}: none below 0, at least one above")


@dataclass(frozen=True)
class Config:
    """What may happen. SER is that of the AEC Challenge's synthetic data (Sridhar et al., ICASSP 2021); the rest is ours."""

    duration_s: float = 5.0
    scenarios: ScenarioShares = field(default_factory=ScenarioShares)
    change_double_talk_probability: float = 0.5
    """Of a near-end voice where the path changes."""
    music_probability: float = 0.05
    """Of music at the far end instead of a voice, if the corpus has any."""
    muted_probability: float = 0.2
    """Of a far end that is heard in headphones, in near-end single talk: sent, but no echo."""
    ser_db: tuple[float, float] = (-10.0, 10.0)
    """The near-end voice over the echo, reverberation included, active levels."""
    noise_probability: float = 0.8
    snr_db: tuple[float, float] = (0.0, 35.0)
    """The near-end voice over the noise, active levels; where it is silent, the level it would have had."""
    level_db: tuple[float, float] = (-36.0, -18.0)
    """Active level of the near-end voice in dBFS, before the joint peak limit."""
    reference_level_db: tuple[float, float] = (-36.0, -16.0)
    reference_noise_probability: float = 0.1
    reference_snr_db: tuple[float, float] = (10.0, 35.0)
    """Of a far end that is sent with its own noise."""
    change_at: tuple[float, float] = (0.3, 0.7)
    """Where the path changes, or the buffer slips, as a share of the far-end signal."""
    moved_probability: float = 0.5
    """Of another place of the loudspeaker where the path changes; otherwise its volume does."""
    volume_change_db: tuple[float, float] = (3.0, 12.0)
    """Up or down."""
    target: TargetKind = "early"
    loudspeaker: LoudspeakerRange = field(default_factory=LoudspeakerRange)
    loudspeaker_distance_m: tuple[float, float] = (0.1, 2.0)
    """From the microphone; the near-end voice is at the distance of `rooms`."""
    playback: PlaybackRange = field(default_factory=PlaybackRange)
    rooms: RoomRange = field(
        default_factory=lambda: RoomRange(kind_shares=(1.0, 0.2, 0.0), rt60_s=(0.1, 1.0), distance_m=(0.3, 4.0))
    )

    def __post_init__(self) -> None:
        if not self.duration_s >= 1:
            raise ValueError(f"duration_s is {self.duration_s}: give 1 or more")
        for name, value in vars(self).items():
            if name.endswith("_probability") and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: give 0 to 1")
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise ValueError(f"{name} is {value}: give the lower bound first")
        if not 0 < self.loudspeaker_distance_m[0] <= self.loudspeaker_distance_m[1] <= 10:
            raise ValueError(f"loudspeaker_distance_m is {self.loudspeaker_distance_m}: give more than 0, 10 at most")
        if not 0 <= self.change_at[0] <= self.change_at[1] <= 1:
            raise ValueError(f"change_at is {self.change_at}: give shares from 0 to 1")

    def draw_room(self, bank: Bank, rng: Rng, num_voices: int, num_places: int) -> AnyRoom:
        """A room with the voice's position, if it speaks, and then those of the loudspeaker, which are nearer.

        Measured rooms serve where they have enough responses.
        """
        num_sources = num_voices + num_places
        room = self.rooms.draw(rng, bank, num_sources)
        if isinstance(room, MeasuredRoom):
            if len({clip.id for clip in room.clips}) == num_sources:
                return room
            return replace(self, rooms=replace(self.rooms, measured_share=0.0)).draw_room(bank, rng, num_voices, num_places)
        # the same draws, so the same room, with sources in another range
        nearby = replace(self.rooms, distance_m=self.loudspeaker_distance_m).draw(rng, bank, num_sources)
        return msgspec.structs.replace(room, sources_m=room.sources_m[:num_voices] + nearby.sources_m[num_voices:])

    def draw_change(self, rng: Rng, at_sample: int) -> Change:
        """Another place, or another volume."""
        if chance(rng("change", "moved"), self.moved_probability):
            return Change(at_sample, moved=True)
        gain_db = uniform(rng("change", "volume"), self.volume_change_db, digits=2)
        return Change(at_sample, -gain_db if chance(rng("change", "softer"), 0.5) else gain_db)


class FarEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sent to the loudspeaker: a voice or music, perhaps with noise of its own."""

    placed: Placed
    level_db: float
    noise: Clip | None = None
    snr_db: float = 0.0


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. `room` has the near-end voice's position first, if it speaks, and then those of the loudspeaker.

    Levels are the near-end voice's; those of echo and noise follow from it even if it is silent.
    """

    sample_rate_hz: int
    num_samples: int
    scenario: Scenario
    target: TargetKind
    room: AnyRoom
    level_db: float
    near: Placed | None = None
    far: FarEnd | None = None
    path: EchoPath | None = None
    ser_db: float = 0.0
    noise: Clip | None = None
    snr_db: float = 0.0

    def levels_db(self) -> dict[str, float]:
        """The active level of each part of the microphone's signal."""
        levels = {"near": self.level_db} if self.near else {}
        levels |= {"echo": self.level_db - self.ser_db} if self.path else {}
        return levels | ({"noise": self.level_db - self.snr_db} if self.noise else {})

    def ratios(self) -> dict[str, tuple[str, str]]:
        """The labels that are held to their request, and the two parts that each is the ratio of."""
        found = {"ser_db": ("near", "echo"), "snr_db": ("near", "noise"), "enr_db": ("echo", "noise")}
        there = {name: parts for name, parts in found.items() if self.levels_db().keys() >= {*parts}}
        return {name: parts for name, parts in there.items() if not (self.near and name == "enr_db")}


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config`; far and near end are different people."""
    bank.require("speech", f"{rng.task} with a voice at either end", 2)
    rate, num_samples = bank.sample_rate_hz, round(config.duration_s * bank.sample_rate_hz)
    scenario = pick(rng("scenario"), vars(config.scenarios))
    changes = scenario == "path_change"
    speaks = scenario in ("double_talk", "near_end") or (
        changes and chance(rng("change", "double talk"), config.change_double_talk_probability)
    )
    heard = scenario != "near_end"
    voice, other = draw_voices(bank, rng, 2, config.duration_s)
    far = near = path = noise = None
    if heard or chance(rng("muted"), config.muted_probability):
        far = _draw_far(config, bank, rng, other)
    if heard:
        length = min(far.placed.clip.num_samples(rate), num_samples)
        at_sample = far.placed.at_sample + round(uniform(rng("change", "at"), config.change_at) * length)
        path = EchoPath(
            loudspeaker=config.loudspeaker.draw(rng),
            playback=config.playback.draw(rng, rate, None if changes else at_sample),
            change=config.draw_change(rng, at_sample) if changes else None,
        )
    if speaks:
        delay = path.playback.delay_samples if path else 0
        near = _beside(rng("place", "near"), voice, far.placed if heard else None, (num_samples, rate, delay))
    if chance(rng("noise", "happens"), config.noise_probability):
        bank.require("noise", f"{rng.task} with noise")
        noise = bank.draw(rng("noise"), "noise", config.duration_s)
    num_places = (2 if path.change and path.change.moved else 1) if path else 0
    return Scene(
        sample_rate_hz=rate,
        num_samples=num_samples,
        scenario=scenario,
        target=config.target,
        room=config.draw_room(bank, rng, int(speaks), num_places),
        level_db=uniform(rng("level"), config.level_db, digits=2),
        near=near,
        far=far,
        path=path,
        ser_db=uniform(rng("ser"), config.ser_db, digits=2) if path else 0.0,
        noise=noise,
        snr_db=uniform(rng("snr"), config.snr_db, digits=2) if noise else 0.0,
    )


def _draw_far(config: Config, bank: Bank, rng: Rng, voice: Clip) -> FarEnd:
    """This voice, or music, anywhere that it fits, with or without noise."""
    noise, clip = None, voice
    if bank.has("music") and chance(rng("music", "happens"), config.music_probability):
        clip = bank.draw(rng("music"), "music", config.duration_s)
    if chance(rng("reference", "noisy"), config.reference_noise_probability):
        bank.require("noise", f"{rng.task} with noise at the far end")
        noise = bank.draw(rng("reference", "noise"), "noise", config.duration_s)
    return FarEnd(
        placed=placed(rng("place", "far"), clip, round(config.duration_s * bank.sample_rate_hz), bank.sample_rate_hz),
        level_db=uniform(rng("reference", "level"), config.reference_level_db, digits=2),
        noise=noise,
        snr_db=uniform(rng("reference", "snr"), config.reference_snr_db, digits=2) if noise else 0.0,
    )


def _beside(generator: np.random.Generator, clip: Clip, far: Placed | None, length: tuple[int, int, int]) -> Placed:
    """The near-end clip in an example of `length` (samples, rate, delay of the echo): anywhere, or half over the echo."""
    num_samples, rate, delay = length
    if far is None:
        return placed(generator, clip, num_samples, rate)
    samples, far_samples = (min(it.num_samples(rate), num_samples) for it in (clip, far.clip))
    first = min(far.at_sample + delay, num_samples)
    past = min(first + far_samples, num_samples)
    shared = min(past - first, samples) // 2
    latest = min(past - shared, num_samples - samples)
    return Placed(clip, integer(generator, (min(max(first - samples + shared, 0), latest), latest)))


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input` (the microphone), `reference` (what was sent), `target` (silence where nobody speaks here).

    The input is the sum of its parts to the last bit: `echo`, `noise`, and `near` where the target is not all of the voice.
    """
    rate, levels_db = scene.sample_rate_hz, scene.levels_db()
    answers = responses(scene.room, load, rate)
    reference, sent = _reference(scene, load)
    parts, along, echoed = {}, [], None
    if scene.near:
        wet, *along = convolve(scene.near.audio(load, scene.num_samples, rate), _wanted(answers[0], scene.target))
        parts["near"] = Part(wet, scene.near.clip, levels_db["near"])
    if scene.path:
        echoed = _echo(scene, from_int16(reference), answers)
        parts["echo"] = Part(echoed.audio, scene.far.placed.clip, levels_db["echo"])
    if scene.noise:
        parts["noise"] = Part(tiled(load(scene.noise), scene.num_samples, rate), scene.noise, levels_db["noise"])
    mixed = balanced(parts, rate, along)
    stems = dict(mixed.parts)
    target = mixed.along[0] if along else stems.pop("near", np.zeros((1, scene.num_samples), np.int16))
    whole = summed(list(mixed.parts.values()))
    requested, measured = _labels(scene, mixed, target)
    measured |= sent | _acoustics(scene, answers) | {"stem_residual_db": residual_db(whole, list(mixed.parts.values()))}
    if echoed:
        asked, found = echoed.labels(from_int16(mixed.parts["echo"]))
        requested, measured = requested | asked, measured | found
    return Example(
        signals={"input": whole, "target": target, "reference": reference},
        stems=stems,
        requested=finite(requested),
        measured=finite(measured),
        mixture_parts=tuple(name if name in stems else "target" for name in mixed.parts),
        texts={"transcript": scene.near.clip.text} if scene.near and scene.near.clip.text else {},
    )


def _wanted(response: Response, target: TargetKind) -> list[np.ndarray]:
    """All of a voice's response and, where that is not the target, the part that is."""
    return [response.full] if target == "reverberant" else [response.full, getattr(response, target)]


def _reference(scene: Scene, load: Load) -> tuple[np.ndarray, dict[str, float]]:
    """What is sent to the loudspeaker, int16, and the SNR in it; silence where there is no far end."""
    rate, far = scene.sample_rate_hz, scene.far
    if far is None:
        return np.zeros((1, scene.num_samples), np.int16), {}
    parts = {"far": Part(far.placed.audio(load, scene.num_samples, rate), far.placed.clip, far.level_db)}
    if far.noise:
        parts["noise"] = Part(tiled(load(far.noise), scene.num_samples, rate), far.noise, far.level_db - far.snr_db)
    sent = balanced(parts, rate)
    return summed(list(sent.parts.values())), {"reference_snr_db": sent.ratio_db("far", "noise")} if far.noise else {}


def _echo(scene: Scene, sent: np.ndarray, answers: list[Response]) -> Echo:
    """The echo from each place of the loudspeaker, which come after the voice's in the room."""
    rate, room = scene.sample_rate_hz, scene.room
    places = []
    for source in range(1 if scene.near else 0, len(answers)):
        travel_s = room.distance_m(source) / SPEED_OF_SOUND_M_S if isinstance(room, Room) else 0.0
        places.append(Place(answers[source].full, round(travel_s * rate)))
    return echo(scene.path, sent, places, rate)


def _labels(scene: Scene, mixed: Balanced, target: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Levels, ratios and activity, requested and measured in what is stored."""
    levels_db, found = scene.levels_db(), mixed.found
    requested = {name: levels_db[one] - levels_db[other] for name, (one, other) in scene.ratios().items()}
    measured = {name: mixed.ratio_db(one, other) for name, (one, other) in scene.ratios().items()}
    requested |= scene.room.requested() | {"room_lag_samples": 0, "lag_samples": 0}
    requested |= {"target_absent": float(scene.near is None), "echo_absent": float(scene.path is None)}
    measured |= {"target_absent": float(not target.any()), "echo_absent": float("echo" not in mixed.parts)}
    if scene.far and scene.far.noise:
        requested["reference_snr_db"] = scene.far.snr_db
    heard = activity(from_int16(target), scene.sample_rate_hz)
    measured |= {"target_level_db": db(heard.power), "active_share": float(heard.frames.mean())}
    if "echo" in found:
        both = found["echo"].frames & found["near"].frames if "near" in found else np.zeros(1)
        measured |= {"echo_level_db": db(found["echo"].power), "double_talk_share": float(both.mean())}
    return requested, measured


def _acoustics(scene: Scene, answers: list[Response]) -> dict[str, float]:
    """RT60 and DRR of the first source in the room, and the DRR of the loudspeaker's first place."""
    rate, first = scene.sample_rate_hz, answers[0].full
    labels = {"rt60_s": measured_rt60_s(first, rate), "drr_db": drr_db(first, rate)}
    labels["room_lag_samples"] = max(onset_index(answer.full) for answer in answers)
    labels["lag_samples"] = 0  # the target is part of the very stem that the input is made of: nothing comes between them
    if scene.path:
        labels["echo_drr_db"] = drr_db(answers[1].full, rate) if scene.near else labels["drr_db"]
    return labels
