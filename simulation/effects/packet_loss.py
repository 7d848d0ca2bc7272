"""Packet loss: stretches of 20 ms that never arrived, and what the receiver played instead."""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from simulation.seeds import Rng, integer, uniform

PACKET_S = 0.02
FADE = np.float32(0.5)  # per packet: the last sound is 6 dB down each time it is played again
Fill = Literal["zeros", "repeat", "fade"]


@dataclass(frozen=True)
class PacketLossRange:
    """What may be drawn (UniSE, arXiv 2510.20441: rates, bursts and zeros; the other fills are those of simple receivers).

    `lost_share` is at most 0.5, so that a pattern of bursts with packets between them always exists.
    """

    probability: float = 0.3
    lost_share: tuple[float, float] = (0.05, 0.25)
    burst_packets: tuple[int, int] = (1, 9)
    fills: tuple[Fill, ...] = ("zeros", "zeros", "repeat", "fade")

    def __post_init__(self):
        if not 0 <= self.lost_share[0] <= self.lost_share[1] <= 0.5:
            raise ValueError(f"packet_loss.lost_share is {self.lost_share}: low <= high, both from 0 to 0.5, are allowed")
        if not 1 <= self.burst_packets[0] <= self.burst_packets[1]:
            raise ValueError(f"packet_loss.burst_packets is {self.burst_packets}: 1 <= low <= high is allowed")

    def draw(self, rng: Rng, sample_rate_hz: int, num_samples: int) -> "PacketLoss":
        """Burst lengths are drawn until the share is reached, the last one cut; all patterns of gaps are equally likely."""
        num_packets = -(-num_samples // packet_samples(sample_rate_hz))
        share = uniform(rng("packet_loss", "share"), self.lost_share)
        counts = self._burst_counts(rng("packet_loss", "bursts"), round(share * num_packets))
        return PacketLoss(
            lost_share=share,
            bursts=_placed(rng("packet_loss", "places"), counts, num_packets),
            fill=self.fills[int(rng("packet_loss", "fill").integers(len(self.fills)))],
        )

    def _burst_counts(self, generator: np.random.Generator, num_lost: int) -> list[int]:
        counts = []
        while num_lost > 0:
            counts.append(min(integer(generator, self.burst_packets), num_lost))
            num_lost -= counts[-1]
        return [counts[i] for i in generator.permutation(len(counts))]


class PacketLoss(msgspec.Struct, frozen=True, tag="packet_loss"):
    """Packets of 20 ms are lost in `bursts` of (first packet, number of packets): `(channels, samples)` in and out.

    `fill`: `zeros`, `repeat` (the last packet that came, again and again) or `fade` (the same, 6 dB less each time).
    """

    lost_share: float
    bursts: tuple[tuple[int, int], ...]
    fill: Fill = "zeros"

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        size = packet_samples(sample_rate_hz)
        out = audio.copy()
        for first, count in self.bursts:
            lost = slice(first * size, (first + count) * size)
            if self.fill == "zeros" or first == 0:
                out[:, lost] = 0
            else:
                out[:, lost] = self._concealed(audio[:, (first - 1) * size : first * size], count)[:, : out[:, lost].shape[1]]
        return out

    def _concealed(self, last: np.ndarray, count: int) -> np.ndarray:
        """What is played for `count` packets after `last`."""
        step = FADE if self.fill == "fade" else np.float32(1)
        return np.concatenate([last * step ** (i + 1) for i in range(count)], axis=1)

    def requested(self) -> dict[str, float]:
        """The share of packets that is to be lost, reached within half a packet."""
        return {"lost_share": self.lost_share}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """The share of packets whose sound is not what was sent; a silent one cannot differ, there the list counts."""
        size = packet_samples(sample_rate_hz)
        starts = np.arange(0, before.shape[1], size)
        replaced = np.logical_or.reduceat((before != after).any(axis=0), starts)
        silent = ~np.logical_or.reduceat(after.any(axis=0), starts)
        listed = np.zeros(len(starts), bool)
        for first, count in self.bursts:
            listed[first : first + count] = True
        return {"lost_share": float((replaced | (silent & listed)).mean())}


def packet_samples(sample_rate_hz: int) -> int:
    return round(PACKET_S * sample_rate_hz)


def _placed(generator: np.random.Generator, counts: list[int], num_packets: int) -> tuple[tuple[int, int], ...]:
    """Bursts in time with at least one received packet between any two: (first packet, number of packets) each."""
    spare = num_packets - sum(counts) - (len(counts) - 1)
    places = np.sort(generator.choice(spare + len(counts), len(counts), replace=False)) if counts else []
    bursts, lost = [], 0
    for place, count in zip(places, counts, strict=True):
        # `place` counts spare packets and one received packet for each earlier burst
        bursts.append((int(place) + lost, count))
        lost += count
    return tuple(bursts)
