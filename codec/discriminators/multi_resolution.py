"""Multi-resolution discriminator: the magnitude of an STFT, for several window lengths.

Source: Jang et al., "UnivNet" (arXiv 2106.07889), section 2.3.

Shapes: B clips, T samples, F frames, W bins.
"""

from torch import Tensor, nn

from codec.discriminators.judgement import Convolution, Judgement, Stack, spectrogram


class ResolutionDiscriminator(nn.Module):
    """(B, T) -> Judgement."""

    def __init__(self, window_samples: int, width: int):
        super().__init__()
        self.window_samples = window_samples
        halving = [Convolution(width, width, (3, 9), (1, 2)) for _ in range(3)]
        self.hidden = Stack([Convolution(1, width, (3, 9)), *halving, Convolution(width, width, (3, 3))])
        self.last = Convolution(width, 1, (3, 3))

    def forward(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Judgement:
        spectrum_BFW, num_frames_B = spectrogram(wave_BT, self.window_samples, num_samples_B)
        features, num_frames_B = self.hidden(spectrum_BFW.abs()[:, None], num_frames_B)
        logits_B1FW, num_frames_B = self.last(features[-1], num_frames_B)
        return Judgement(logits_B1FW[:, 0], features, num_frames_B)
