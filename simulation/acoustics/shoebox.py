"""Impulse responses of shoebox rooms: early image sources and a diffuse tail, or pyroomacoustics' hybrid simulation.

Both come with the direct path as 1.0 at sample 0. `early_tail` is made of additions, products, quotients and square
roots only, which IEEE 754 defines to the bit: a scene sounds the same on every machine.
"""

import functools
import math
from typing import Literal

import msgspec
import numpy as np

from simulation.acoustics.impulse_response import SPEED_OF_SOUND_M_S
from simulation.seeds import stored_noise

Position = tuple[float, float, float]
EARLY_S = 0.05  # image sources are followed this long after the direct path at most
ECHOES_PER_S = 10_000  # denser reflections sound like noise (pyroomacoustics' own ray tracer draws no more either)
SHORTEST_FADE_S = 0.005
NUM_TAPS, NUM_PHASES = 32, 32  # of the fractional delays
SCATTERING = 0.1  # of the walls in the hybrid simulation
NUM_RAYS = 10_000
FILTER_DELAY = 40  # samples that pyroomacoustics puts ahead of every response


class Room(msgspec.Struct, frozen=True, tag="room"):
    """A shoebox with one microphone; positions in metres from one corner; `rt60_s` is Sabine's."""

    size_m: Position
    microphone_m: Position
    sources_m: tuple[Position, ...]
    absorption: float  # of energy, the same on all walls
    rt60_s: float
    method: Literal["early_tail", "hybrid"]
    tail_seed: int

    def distance_m(self, source: int) -> float:
        """From a source to the microphone; math.dist is free to round its own way."""
        x, y, z = (a - b for a, b in zip(self.sources_m[source], self.microphone_m, strict=True))
        return math.sqrt(x * x + y * y + z * z)

    def requested(self) -> dict[str, float]:
        """Labels that the responses are held to; a full simulation has the reverberation time that it comes to."""
        return {} if self.method == "hybrid" else {"rt60_s": self.rt60_s}


def early_tail(room: Room, source: int, sample_rate_hz: int) -> np.ndarray:
    """The response from one source, float32 `(taps,)`, over the 60 dB of its decay.

    Image sources (Allen and Berkley, JASA 65, 1979) fade into noise with the power of the diffuse field, from the direct
    path on to where their echoes are too dense to be told apart, 50 ms after it at the latest. The field's power is
    4 pi c / V where an image at distance d has 1 / d^2, and falls by 60 dB in the reverberation time: nothing is fitted.
    """
    volume_m3 = math.prod(room.size_m)
    direct_m = room.distance_m(source)
    travel_s = direct_m / SPEED_OF_SOUND_M_S
    mixing_s = math.sqrt(ECHOES_PER_S * volume_m3 / (4 * math.pi * SPEED_OF_SOUND_M_S**3))
    fade_s = min(max(mixing_s - travel_s, SHORTEST_FADE_S), EARLY_S)
    lags_s, gains = images(room, source, fade_s)
    fade = round(fade_s * sample_rate_hz)
    num_samples = max(math.ceil(room.rt60_s * sample_rate_hz), fade + 1)

    decay = 10 ** (-3 / (room.rt60_s * sample_rate_hz))
    density = 4 * math.pi * SPEED_OF_SOUND_M_S * direct_m**2 / (volume_m3 * sample_rate_hz)
    level = math.sqrt(density) * 10 ** (-3 * travel_s / room.rt60_s)
    response = stored_noise(room.tail_seed + source, (num_samples,))
    response *= _exponential(level, decay, num_samples)
    share = np.arange(fade, dtype=np.float64) / fade  # of the noise in the power
    response[:fade] *= np.sqrt(share).astype(np.float32)
    response[:fade] += (_render(lags_s * sample_rate_hz, gains, fade) * np.sqrt(1 - share)).astype(np.float32)
    response[0] = 1.0  # in place of what little the delay filters of the first reflections spill here
    return response


def images(room: Room, source: int, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """The reflections of the first `duration_s` after the direct path: their lags behind it in seconds, gains relative to it.

    `(images,)` float64 each, not in order of time. The lattice is pyroomacoustics' (a test compares them), but cut at a
    distance where that is cut at an order, which takes an eighth of the time or less.
    """
    direct_m = room.distance_m(source)
    reach_m = direct_m + duration_s * SPEED_OF_SOUND_M_S
    squares, orders = [], []
    for side, microphone, position in zip(room.size_m, room.microphone_m, room.sources_m[source], strict=True):
        cells = np.arange(-int(reach_m / (2 * side)) - 1, int(reach_m / (2 * side)) + 2)
        offsets = np.concatenate([2 * side * cells + position, 2 * side * cells - position]) - microphone
        squares.append(offsets * offsets)
        orders.append(np.concatenate([np.abs(2 * cells), np.abs(2 * cells - 1)]))
    distances_sq = squares[0][:, np.newaxis, np.newaxis] + squares[1][:, np.newaxis] + squares[2]
    order = orders[0][:, np.newaxis, np.newaxis] + orders[1][:, np.newaxis] + orders[2]
    heard = (distances_sq < reach_m**2) & (order > 0)
    distances_m, order = np.sqrt(distances_sq[heard]), order[heard]
    reflected = np.cumprod(np.full(int(order.max(initial=0)) + 1, math.sqrt(1 - room.absorption)))
    return (distances_m - direct_m) / SPEED_OF_SOUND_M_S, direct_m / distances_m * reflected[order - 1]


@functools.lru_cache(maxsize=64)
def hybrid(room: Room, sample_rate_hz: int) -> tuple[np.ndarray, ...]:
    """The response of each source by pyroomacoustics: image sources of order 3 and ray tracing, read-only float32 `(taps,)`.

    Some 50 ms a source, so rooms are cached. Its random draws are seeded, but ray tracing takes sines from the machine's
    libm: the same samples again need the same kind of processor.
    """
    import pyroomacoustics as pra  # a second to import, which only this method needs

    pra.constants.set("num_threads", 1)  # sums in one order
    pra.constants.set("rir_hpf_enable", False)  # its zero-phase filter rings ahead of the direct path
    pra.random.seed(room.tail_seed)
    parts = []
    for order, traced in ((3, True), (0, False)):  # all, and the direct path alone
        simulated = pra.ShoeBox(
            room.size_m,
            sample_rate_hz,
            materials=pra.Material(room.absorption, SCATTERING),
            max_order=order,
            ray_tracing=traced,
        )
        if traced:
            simulated.set_ray_tracing(n_rays=NUM_RAYS, receiver_radius=0.5 if math.prod(room.size_m) < 1000 else 1.0)
        for position in room.sources_m:
            simulated.add_source(list(position))
        simulated.add_microphone(list(room.microphone_m))
        simulated.compute_rir()
        parts.append(simulated.rir[0])
    return tuple(_aligned(room, source, *rirs, sample_rate_hz) for source, rirs in enumerate(zip(*parts, strict=True)))


def _aligned(room: Room, source: int, simulated: np.ndarray, direct: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """What pyroomacoustics simulated, its fractionally delayed direct path replaced by 1 at sample 0."""
    direct_m = room.distance_m(source)
    start = FILTER_DELAY + round(direct_m / SPEED_OF_SOUND_M_S * sample_rate_hz)
    response = np.array(simulated, dtype=np.float64)
    response[: len(direct)] -= direct
    response = response[start:] * direct_m
    response[0] = 1.0
    response = response.astype(np.float32)
    response.flags.writeable = False
    return response


def _exponential(level: float, ratio: float, num_samples: int) -> np.ndarray:
    """level * ratio ** n, float32: products of a coarse and a fine table, for np.exp and np.power differ by CPU."""
    block = 256
    ratio = float(f"{ratio:.12e}")
    fine = np.full(block, ratio)
    fine[0] = 1.0
    fine = np.cumprod(fine)
    coarse = np.full(-(-num_samples // block), fine[-1] * ratio)
    coarse[0] = float(f"{level:.12e}")
    return np.multiply.outer(np.cumprod(coarse), fine).astype(np.float32).reshape(-1)[:num_samples]


def _render(delays: np.ndarray, gains: np.ndarray, num_samples: int) -> np.ndarray:
    """Impulses at fractional sample positions, `(num_samples,)` float64; delays to a 32nd of a sample (0.7 mm at 16 kHz)."""
    whole, phase = np.divmod(np.rint(delays * NUM_PHASES).astype(np.int64), NUM_PHASES)
    taps = _delay_filters()[phase] * gains[:, np.newaxis]
    places = whole[:, np.newaxis] + np.arange(NUM_TAPS)
    ahead = NUM_TAPS // 2 - 1
    return np.bincount(places.reshape(-1), taps.reshape(-1), num_samples + NUM_TAPS)[ahead : ahead + num_samples]


@functools.cache
def _delay_filters() -> np.ndarray:
    """Sinc under a Hann window for each fraction of a sample, `(phases, taps)`, rounded to what every libm agrees on."""

    def tap(offset: float) -> float:
        angle = math.pi * offset
        sinc = math.sin(angle) / angle if offset else 1.0
        return round(sinc * (0.5 + 0.5 * math.cos(angle / (NUM_TAPS // 2))), 9)

    centre = NUM_TAPS // 2 - 1
    return np.array([[tap(n - centre - phase / NUM_PHASES) for n in range(NUM_TAPS)] for phase in range(NUM_PHASES)])
