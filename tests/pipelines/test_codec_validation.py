"""Held-out clips through a codec in training: metrics for all ranks, something to hear and see on the first."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infra.tracking import Tracker
from pipelines.codec_validation import Validation
from tests.pipelines.conftest import RATE_HZ, voice
from tests.training import gan
from training.data.held_out import Item


def item(number, domain):
    wave = voice(number, 120.0 + 40 * number, 1.0).astype(np.float32)
    return Item(f"clip-{number}", wave, RATE_HZ, domain, f"s{number}", "")


@pytest.fixture
def board(tmp_path):
    """What two validations, two steps apart, have recorded, and the metrics of both."""
    tracker = Tracker(tmp_path)
    tracker.resume(0)
    trained = gan.trainee(gan.training())
    validate = Validation(trained, [item(0, "speech"), item(1, "speech"), item(2, "event")], tracker)
    metrics = [validate(0), validate(0)]
    gan.run(trained, range(1, 3))
    metrics.append(validate(2))
    tracker.close()
    return EventAccumulator(str(tmp_path / "tensorboard")).Reload(), metrics


def test_it_measures_shows_one_clip_a_domain_and_leaves_the_training_alone(board):
    shown, (first, again, later) = board
    assert first == again and first != later
    assert {"mel_distance", "stft_distance", "si_sdr", "stoi"} == set(first) and all(map(np.isfinite, first.values()))
    tags = shown.Tags()
    clips = [f"{domain}/{which}" for domain in ("event", "speech") for which in ("codec", "original")]
    assert sorted(tags["audio"]) == sorted(tags["images"]) == clips
    layers = [f"codebook/acoustic/{n}" for n in range(2)] + [f"codebook/semantic/{n}" for n in range(2)]
    assert sorted(tags["histograms"]) == layers
    assert [event.step for event in shown.Audio("speech/codec")] == [0, 0, 2]
