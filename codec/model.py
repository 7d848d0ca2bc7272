"""H-Codec: audio to an acoustic and a semantic stream of codes, and back.

Source: QuarkAudio Technical Report (arXiv 2512.20151), H-Codec 1.0, 1.5 (dynamic frame rate) and 2.0 (48 kHz).

Shapes: B clips (rows: stereo has two a clip), T samples, F frames, G groups of frames, D width, K quantiser layers.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codec import checks, weights
from codec.aggregator import Aggregator
from codec.codes import Codes
from codec.config import TEACHER_FRAME_RATE_HZ, TEACHER_RATE_HZ, CodecConfig
from codec.decoder import SubpixelDecoder
from codec.grouping import Groups, fold_lengths, group_frames, unfold_lengths
from codec.masked import silenced
from codec.quantise import Quantised, ResidualQuantiser
from codec.resample import downsample
from codec.rotary_transformer import RotaryTransformer
from codec.seanet import SeanetEncoder
from codec.semantic import SemanticDecoder, SemanticEncoder, scaled
from codec.spectral import SpectralEncoder
from codec.spectral_decoder import RepeatDecoder
from codec.stereo import left_right, mid_side
from codec.teacher import Teacher, open_teacher


@dataclass
class CodecOutput:
    """What one training step looks at."""

    reconstruction_BT: Tensor  # 0 past a clip's end
    feature_BDF: Tensor  # the teacher's feature as the semantic decoder predicts it, at 50 Hz
    commitment: Tensor  # scalar: both streams
    acoustic: Quantised
    semantic: Quantised
    groups: Groups | None = None  # where the frame rate is dynamic


@dataclass
class _Latents:
    """Both streams before quantisation, as frames or, where the rate is dynamic, as groups."""

    acoustic_BDG: Tensor
    semantic_BDG: Tensor
    num_B: Tensor | None  # frames or groups of each clip; None: all full
    groups: Groups | None


class _Held:
    """Keeps the teacher out of the parameters and the state dict; copies of a codec share it."""

    teacher: Teacher | None = None

    def __deepcopy__(self, memo: dict) -> "_Held":
        return self


class Codec(nn.Module):
    """Audio to `Codes` and back. Padding never changes a result: a clip in a padded batch is coded as it is alone."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.config = config
        width, quantiser = config.latent_width, config.quantiser
        self.encoder = SeanetEncoder(config) if config.seanet else SpectralEncoder(config)
        self.semantic_encoder, self.semantic_decoder = SemanticEncoder(config), SemanticDecoder(config)
        size, decay = quantiser.codebook_size, quantiser.decay
        self.acoustic_quantiser = ResidualQuantiser(quantiser.num_acoustic, size, width, decay=decay)
        self.semantic_quantiser = ResidualQuantiser(quantiser.num_semantic, size, width, decay=decay)
        if config.grouping:
            self.acoustic_aggregator = Aggregator(width, config.grouping)
            self.semantic_aggregator = Aggregator(width, config.grouping)
            self.bottleneck = RotaryTransformer(
                2 * width,
                num_layers=config.grouping.num_bottleneck_layers,
                num_heads=config.grouping.num_heads,
                feed_forward_width=config.grouping.feed_forward_width,
            )
        self.decoder = SubpixelDecoder(config) if config.decoder.kind == "subpixel" else RepeatDecoder(config)
        self._held = _Held()

    @classmethod
    def from_pretrained(cls, source: str | Path) -> "Codec":
        """From a folder with config.json and model.safetensors, or a hub id ("owner/name"); in eval mode.

        ValueError says which file is missing, damaged or of another network.
        """
        return weights.load_codec(cls, source)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors. Each file is replaced whole, or not at all."""
        weights.save_codec(self, folder)

    @torch.no_grad()
    def encode(
        self,
        wave: Tensor,
        num_samples_B: Tensor | None = None,
        *,
        threshold: float | None = None,
        num_layers: int | None = None,
    ) -> Codes:
        """Codes of mono (B, T) or stereo (B, 2, T) audio at `config.sample_rate_hz`, full scale +-1; on the codec's device.

        `num_samples_B`: length of each clip, T if None. `threshold` of cosine similarity from 0 (long groups) to 1 (none), for
        dynamic frame rates only. `num_layers`: quantiser layers of each stream to use; all, if None. ValueError if wrong.
        """
        num_channels = checks.channels(wave)
        wave = wave.to(next(self.parameters()).device)
        wave_BT = mid_side(wave) if num_channels == 2 else wave
        num_samples_B = checks.lengths(wave, num_samples_B).repeat_interleave(num_channels)
        wave_BT = wave_BT[:, : int(num_samples_B.max())]
        checks.samples(wave_BT, num_samples_B)
        threshold, num_layers = checks.threshold(threshold, self.config), checks.layers(num_layers, self.config)
        wave_BT = wave_BT.to(next(self.parameters()).dtype)
        unequal_B = None if bool((num_samples_B == wave_BT.shape[1]).all()) else num_samples_B
        latents = self._latents(wave_BT, self.feature(wave_BT, unequal_B), unequal_B, threshold)
        num_B = latents.num_B
        codes = []
        for quantiser, latent_BDG in (
            (self.acoustic_quantiser, latents.acoustic_BDG),
            (self.semantic_quantiser, latents.semantic_BDG),
        ):
            codes_BKG = silenced(quantiser.encode(latent_BDG, num_layers), num_B)
            if latents.groups:
                codes_BKG = fold_lengths(codes_BKG, latents.groups.lengths_BG, self.config.quantiser.codebook_size)
            codes.append(codes_BKG)
        full_B = num_samples_B.new_full(num_samples_B.shape, codes[0].shape[-1])
        return Codes(
            *codes,
            lengths_B=full_B if num_B is None else num_B,
            num_samples_B=num_samples_B,
            frame_rate_hz=self.config.frame_rate_hz,
            codebook_size=self.config.quantiser.codebook_size,
            num_channels=num_channels,
        )

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """Audio (B, T) or (B, 2, T), as long as the longest clip; 0 past a clip's end. ValueError for another codec's codes."""
        checks.codes(codes, self.config)
        codes = codes.to(next(self.parameters()).device)
        acoustic_BKF, semantic_BKF, num_frames_B = codes.acoustic_BKF, codes.semantic_BKF, codes.lengths_B
        if self.config.grouping:
            size = self.config.quantiser.codebook_size
            acoustic_BKF, _ = unfold_lengths(acoustic_BKF, num_frames_B, size)
            semantic_BKF, lengths_BG = unfold_lengths(semantic_BKF, num_frames_B, size)
            groups = Groups.from_lengths(lengths_BG)
            acoustic_BKF, semantic_BKF = groups.repeat(acoustic_BKF), groups.repeat(semantic_BKF)
            num_frames_B = groups.num_frames_B
        elif bool((num_frames_B == acoustic_BKF.shape[-1]).all()):
            num_frames_B = None
        acoustic_BDF, semantic_BDF = self.acoustic_quantiser.decode(acoustic_BKF), self.semantic_quantiser.decode(semantic_BKF)
        joined_BDF = torch.cat([acoustic_BDF, semantic_BDF], dim=1).to(next(self.parameters()).dtype)
        wave_BT = self._synthesise(joined_BDF, num_frames_B)[:, : int(codes.num_samples_B.max())]
        wave_BT = silenced(wave_BT[:, None], codes.num_samples_B)[:, 0]
        return left_right(wave_BT) if codes.num_channels == 2 else wave_BT

    def forward(
        self,
        wave_BT: Tensor,
        feature_BDF: Tensor,
        num_samples_B: Tensor | None = None,
        *,
        num_layers_B: Tensor | None = None,
        threshold_B: Tensor | None = None,
    ) -> CodecOutput:
        """Reconstruct, differentiably; changes no buffer. `feature_BDF` is what `feature` gives for the same clips.

        `num_layers_B`: quantiser layers to use for each clip (quantiser dropout). `threshold_B`: its grouping threshold.
        """
        threshold = threshold_B if threshold_B is not None else checks.threshold(None, self.config)
        latents = self._latents(wave_BT, feature_BDF, num_samples_B, threshold)
        acoustic = self.acoustic_quantiser(latents.acoustic_BDG, latents.num_B, num_layers_B)
        semantic = self.semantic_quantiser(latents.semantic_BDG, latents.num_B, num_layers_B)
        acoustic_BDF, semantic_BDF, num_frames_B = acoustic.latent_BDF, semantic.latent_BDF, latents.num_B
        if latents.groups:
            acoustic_BDF, semantic_BDF = latents.groups.repeat(acoustic_BDF), latents.groups.repeat(semantic_BDF)
            num_frames_B = latents.groups.num_frames_B
        reconstruction_BT = self._synthesise(torch.cat([acoustic_BDF, semantic_BDF], dim=1), num_frames_B)
        reconstruction_BT = silenced(reconstruction_BT[:, None, : wave_BT.shape[1]], num_samples_B)[:, 0]
        commitment = acoustic.commitment + semantic.commitment
        feature_BDF = self.semantic_decoder(semantic_BDF, num_frames_B)
        return CodecOutput(reconstruction_BT, feature_BDF, commitment, acoustic, semantic, latents.groups)

    @torch.no_grad()
    def feature(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        """The teacher's compressed feature (B, width, frames at 50 Hz) of clips padded to whole frames of the codec."""
        wave_BT, num_samples_B = self._whole_frames(wave_BT, num_samples_B)
        if self._held.teacher is None:
            self._held.teacher = open_teacher(self.config.teacher)
        ratio = self.config.sample_rate_hz // TEACHER_RATE_HZ
        if ratio > 1:
            wave_BT = downsample(wave_BT.float(), ratio, num_samples_B)
            num_samples_B = None if num_samples_B is None else num_samples_B // ratio
        feature_BDF = self._held.teacher(wave_BT, num_samples_B)
        num_frames = wave_BT.shape[1] * TEACHER_FRAME_RATE_HZ // TEACHER_RATE_HZ
        assert feature_BDF.shape[1:] == (self.config.teacher.width, num_frames), (feature_BDF.shape, num_frames)
        return feature_BDF

    def _latents(
        self, wave_BT: Tensor, feature_BDF: Tensor, num_samples_B: Tensor | None, threshold: float | Tensor | None
    ) -> _Latents:
        wave_BT, num_samples_B = self._whole_frames(wave_BT, num_samples_B)
        num_frames_B = None if num_samples_B is None else num_samples_B // self.config.samples_per_frame
        acoustic_BDF = self.encoder(wave_BT, num_samples_B)
        num_feature_frames_B = scaled(num_frames_B, self.config.teacher_frames_per_frame)
        semantic_BDF = self.semantic_encoder(feature_BDF.to(wave_BT.dtype), num_feature_frames_B)
        assert acoustic_BDF.shape == semantic_BDF.shape, (acoustic_BDF.shape, semantic_BDF.shape)
        if not self.config.grouping:
            return _Latents(acoustic_BDF, semantic_BDF, num_frames_B, None)
        max_frames = self.config.grouping.max_frames
        groups = group_frames(semantic_BDF, threshold, max_frames=max_frames, num_frames_B=num_frames_B)
        acoustic_BDG = self.acoustic_aggregator(acoustic_BDF, groups)
        return _Latents(acoustic_BDG, self.semantic_aggregator(semantic_BDF, groups), groups.num_groups_B, groups)

    def _synthesise(self, joined_BDF: Tensor, num_frames_B: Tensor | None) -> Tensor:
        if self.config.grouping:
            joined_BDF = self.bottleneck(joined_BDF, num_frames_B)
        return self.decoder(joined_BDF, num_frames_B)

    def _whole_frames(self, wave_BT: Tensor, num_samples_B: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Clips continued with zeros to whole frames, and their lengths then."""
        samples = self.config.samples_per_frame
        padded_BT = nnf.pad(silenced(wave_BT[:, None], num_samples_B)[:, 0], (0, -wave_BT.shape[1] % samples))
        return padded_BT, None if num_samples_B is None else (num_samples_B + samples - 1) // samples * samples
