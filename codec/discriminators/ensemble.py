"""All discriminators as one module, and their presets.

Shapes: B clips, T samples.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from codec.discriminators.judgement import Judgement, silenced
from codec.discriminators.multi_band import BandDiscriminator, band_sizes
from codec.discriminators.multi_period import PeriodDiscriminator
from codec.discriminators.multi_resolution import ResolutionDiscriminator
from codec.discriminators.segments import SegmentConfig, segments_of

# Of a band, which is halved three times. (From one bin, the CPU's bf16 gradient of a strided convolution comes out wrong:
# oneDNN leaves what belongs to padding alone unset.)
FEWEST_BINS = 5
WHOLE = SegmentConfig()


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminators, and how wide. The default is the common published set; () leaves a kind out."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_widths: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    resolution_windows: tuple[int, ...] = (2048, 1024, 512)
    band_windows: tuple[int, ...] = (2048, 1024, 512)
    band_edges: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
    """Where frequency bands end, as shares of half the sample rate."""
    spectral_width: int = 32
    """Channels of those that see a spectrum."""

    def __post_init__(self) -> None:
        if not self.periods and not self.resolution_windows and not self.band_windows:
            raise ValueError("discriminators: no periods, resolution_windows or band_windows: give one at least")
        if any(window < 32 or window % 4 for window in self.resolution_windows + self.band_windows):
            raise ValueError(
                f"discriminators: windows {self.resolution_windows}, {self.band_windows}: want multiples of 4 from 32"
            )
        edges = self.band_edges
        if (edges[0], edges[-1]) != (0, 1) or any(low >= high for low, high in pairwise(edges)):
            raise ValueError(f"discriminators: band_edges are {edges}: want them to rise from 0 to 1")
        for window in self.band_windows:
            if min(band_sizes(window, edges)) < FEWEST_BINS:
                raise ValueError(
                    f"discriminators: a window of {window} has bands of fewer than {FEWEST_BINS} bins; give longer windows"
                )
        if min(self.periods, default=1) < 1 or min(*self.period_widths, self.spectral_width) < 1:
            raise ValueError("discriminators: periods and widths must be at least 1")


DISCRIMINATOR_PRESETS = {
    "full": DiscriminatorConfig(),
    "small": DiscriminatorConfig(period_widths=(32, 64, 128, 256, 256), spectral_width=16),
    "tiny": DiscriminatorConfig((2, 3, 5), (16, 32, 64), (512,), (512,), spectral_width=8),  # for a CPU
}


class Discriminators(nn.Module):
    """Every discriminator's judgement of the same waves."""

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        width, edges = config.spectral_width, config.band_edges
        self.period = nn.ModuleList([PeriodDiscriminator(period, config.period_widths) for period in config.periods])
        self.resolution = nn.ModuleList([ResolutionDiscriminator(window, width) for window in config.resolution_windows])
        self.band = nn.ModuleList([BandDiscriminator(window, width, edges) for window in config.band_windows])

    def forward(self, wave_BT: Tensor, num_samples_B: Tensor | None = None, segments: SegmentConfig = WHOLE) -> list[Judgement]:
        """Of clips of these lengths (T, if None), and of segments of them; what stands past a clip's end is not read."""
        judgements = []
        for part_BT, part_B in segments_of(wave_BT, num_samples_B, segments):
            part_BT = silenced(part_BT[:, None, :, None], part_B)[:, 0, :, 0]
            judgements += [judge(part_BT, part_B) for judge in (*self.period, *self.resolution, *self.band)]
        return judgements
