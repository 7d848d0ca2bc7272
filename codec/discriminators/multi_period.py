"""Multi-period discriminator: the wave folded at a prime period, judged along each phase.

Source: Kong et al., "HiFi-GAN" (arXiv 2010.05646), section 2.3. The last row is filled with zeros, not by reflection.

Shapes: B clips, T samples, C channels, F rows, P phases of the period.
"""

from torch import Tensor, nn
from torch.nn import functional

from codec.discriminators.judgement import Convolution, Judgement, Stack


class PeriodDiscriminator(nn.Module):
    """(B, T) -> Judgement. `widths`: channels of each hidden layer; all but the last have stride 3."""

    def __init__(self, period: int, widths: tuple[int, ...]):
        super().__init__()
        self.period = period
        strides = [3] * (len(widths) - 1) + [1]
        layers = zip((1, *widths), widths, strides)
        self.hidden = Stack([Convolution(inner, outer, (5, 1), (stride, 1)) for inner, outer, stride in layers])
        self.last = Convolution(widths[-1], 1, (3, 1))

    def forward(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Judgement:
        padded_BT = functional.pad(wave_BT, (0, -wave_BT.shape[1] % self.period))
        folded_B1FP = padded_BT.view(len(wave_BT), 1, -1, self.period)
        num_rows_B = None if num_samples_B is None else (num_samples_B + self.period - 1) // self.period
        features, num_rows_B = self.hidden(folded_B1FP, num_rows_B)
        logits_B1FP, num_rows_B = self.last(features[-1], num_rows_B)
        return Judgement(logits_B1FP[:, 0], features, num_rows_B)
