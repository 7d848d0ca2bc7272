import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.effects.packet_loss import PacketLoss, PacketLossRange
from simulation.seeds import Rng, stored_noise
from tests.simulation.effects.conftest import noisy_voice


def lost_packets(effect: PacketLoss) -> list[int]:
    return [packet for first, count in effect.bursts for packet in range(first, first + count)]


@given(st.integers(0, 10**6), st.integers(1, 400_000), st.sampled_from([8000, 16000, 44100, 48000]))
def test_the_share_is_met_within_half_a_packet_by_bursts_that_lie_apart(index, num_samples, sample_rate_hz):
    effect = PacketLossRange().draw(Rng(0, "t", index), sample_rate_hz, num_samples)
    num_packets = -(-num_samples // round(0.02 * sample_rate_hz))
    lost = lost_packets(effect)
    assert abs(len(lost) - effect.lost_share * num_packets) <= 0.5 + 1e-9
    assert len(set(lost)) == len(lost)
    assert all(0 <= packet < num_packets for packet in lost)
    assert all(1 <= count <= 9 for _, count in effect.bursts)
    ends = [first + count for first, count in effect.bursts]
    assert all(end < first for end, (first, _) in zip(ends, effect.bursts[1:]))


@given(st.integers(0, 10**6))
def test_half_of_the_packets_in_single_losses_still_fits(index):
    effect = PacketLossRange(lost_share=(0.5, 0.5), burst_packets=(1, 1)).draw(Rng(0, "t", index), 16000, 101 * 320)
    assert len(lost_packets(effect)) in (50, 51)


def test_every_packet_is_lost_as_often_as_any_other_but_for_the_ends_where_whole_bursts_must_fit():
    counts = np.zeros(50)
    for index in range(1500):
        counts[lost_packets(PacketLossRange().draw(Rng(1, "t", index), 16000, 16000))] += 1
    assert abs(counts.mean() / 1500 - 0.15) < 0.01
    inner = counts[9:-9]
    assert inner.min() > 0.8 * inner.mean()
    assert inner.max() < 1.2 * inner.mean()
    assert counts.min() > 0.2 * counts.mean()


@pytest.mark.parametrize("fill", ["zeros", "repeat", "fade"])
@pytest.mark.parametrize("sample_rate_hz", [16000, 48000])
def test_the_requested_share_is_found(fill, sample_rate_hz):
    audio = noisy_voice(sample_rate_hz, 3.0)
    for index in range(5):
        effect = PacketLossRange(fills=(fill,)).draw(Rng(2, "t", index), sample_rate_hz, audio.shape[1])
        measured = effect.measure(audio, effect(audio, sample_rate_hz), sample_rate_hz)["lost_share"]
        assert abs(measured - effect.requested()["lost_share"]) <= 0.5 / 150 + 1e-9


def test_a_packet_lost_beyond_the_list_is_found():
    audio = noisy_voice(16000)
    effect = PacketLoss(lost_share=0.0, bursts=())
    assert effect.measure(audio, audio, 16000) == {"lost_share": 0.0}
    damaged = audio.copy()
    damaged[:, 3200:3520] = 0
    assert effect.measure(audio, damaged, 16000) == {"lost_share": 1 / 75}


def test_a_packet_that_was_to_be_lost_and_was_not_is_found():
    audio = noisy_voice(16000)
    assert PacketLoss(lost_share=0.04, bursts=((7, 3),)).measure(audio, audio, 16000) == {"lost_share": 0.0}


def test_lost_silence_counts():
    silence = np.zeros((1, 3200), np.float32)
    effect = PacketLoss(lost_share=0.2, bursts=((3, 2),))
    assert effect.measure(silence, effect(silence, 16000), 16000) == {"lost_share": 0.2}


def test_fills_are_what_they_say():
    audio = stored_noise(1, (2, 3300))  # the last packet is cut short
    bursts = ((0, 1), (4, 2), (10, 1))
    zeros, repeat, fade = (PacketLoss(0.4, bursts, fill)(audio, 16000) for fill in ("zeros", "repeat", "fade"))
    last, before_cut = audio[:, 960:1280], audio[:, 2880:2980]
    assert not zeros[:, 1280:1920].any()
    assert np.array_equal(repeat[:, 1280:1920], np.concatenate([last, last], axis=1))
    assert np.array_equal(fade[:, 1280:1920], np.concatenate([0.5 * last, 0.25 * last], axis=1))
    assert np.array_equal(repeat[:, 3200:], before_cut)
    for after in (zeros, repeat, fade):
        assert not after[:, :320].any()  # nothing came before the first packet
        assert np.array_equal(after[:, 1920:3200], audio[:, 1920:3200])


@pytest.mark.parametrize("wrong", [{"lost_share": (0.1, 0.6)}, {"lost_share": (0.3, 0.2)}, {"burst_packets": (0, 3)}])
def test_a_range_that_no_pattern_can_meet_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PacketLossRange(**wrong)
