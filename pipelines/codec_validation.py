"""What a codec in training makes of a few held-out clips: metrics, and something to hear and see in TensorBoard."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from codec.mel import LogMel
from infra.tracking import Tracker
from pipelines.codec_measures import reconstruct
from training.codec_step import CodecTrainee
from training.data.held_out import Item
from training.guard import on_first_rank
from training.metrics.scoring import Pair, mean_scores

NUM_MELS, WINDOW_S, HOP_S = 80, 0.064, 0.016
DB_PER_NEPER = 20 / np.log(10)


class Validation:
    """Called with a step on all ranks; rank 0 judges the averaged weights and records, all get the metrics."""

    def __init__(self, trainee: CodecTrainee, items: Sequence[Item], tracker: Tracker):
        self.trainee, self.items, self.tracker = trainee, items, tracker

    def __call__(self, step: int) -> dict[str, float]:
        codec = self.trainee.publish()  # on the first rank only
        return on_first_rank(lambda: self._judge(codec, step))

    def _judge(self, codec: nn.Module, step: int) -> dict[str, float]:
        pairs, shown = [], set()
        for item in self.items:
            wave, _ = reconstruct(codec, item.wave)
            pairs.append(Pair(item.wave, wave, item.sample_rate_hz, item.domain))
            if item.domain not in shown:
                shown.add(item.domain)
                self._show(item, wave, step)
        for stream, quantiser in (("acoustic", codec.acoustic_quantiser), ("semantic", codec.semantic_quantiser)):
            for layer, counts_C in enumerate(quantiser.counts.cpu().numpy()):
                self.tracker.histogram(f"codebook/{stream}/{layer}", step, counts_C)
        return mean_scores(pairs)

    def _show(self, item: Item, wave: np.ndarray, step: int) -> None:
        for name, samples in ((f"{item.domain}/original", item.wave), (f"{item.domain}/codec", wave)):
            self.tracker.audio(name, step, samples, item.sample_rate_hz)
            self.tracker.spectrogram(name, step, _levels_db_MF(samples, item.sample_rate_hz))


def _levels_db_MF(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    mel = LogMel(sample_rate_hz, round(WINDOW_S * sample_rate_hz), round(HOP_S * sample_rate_hz), NUM_MELS)
    return mel(torch.from_numpy(np.ascontiguousarray(wave))[None])[0].numpy() * DB_PER_NEPER
