"""A pre-trained semantic teacher: HuBERT, WavLM or wav2vec 2.0 of `transformers`, by local folder or hub id, frozen.

Shapes: B clips, T samples, F frames, D width.
"""

from pathlib import Path

import torch
from torch import Tensor

from codec.config import TEACHER_RATE_HZ, TeacherConfig
from codec.masked import inside_BF
from codec.teacher import HOP_SAMPLES, PADDING_SAMPLES, compressed, whole_frames

ARCHITECTURES = ("hubert", "wavlm", "wav2vec2")
MAY_BE_MISSING = {"masked_spec_embed"}  # used in their pre-training only


class TransformersTeacher:
    """Mean of the hidden states that the configuration names, compressed. Not a module: no codec owns its weights.

    Clips of one length run together, others apart. Masks would not do: HuBERT base and its like normalise the first layer
    over the whole row, padding included. The network follows the device of the waves.
    """

    def __init__(self, config: TeacherConfig):
        """ValueError, with the remedy, for a source without a network of these kinds or not as the configuration wants it."""
        self.width, self.layers, self.half_precision = config.width, config.layers, config.half_precision
        self.model = _load(config)
        self.normalise = _normalises(config.source) if config.normalise is None else config.normalise

    @torch.no_grad()
    def __call__(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        half = self.half_precision and wave_BT.is_cuda
        self.model.to(wave_BT.device, torch.float16 if half else torch.float32)
        padded_BT, num_frames_B = whole_frames(wave_BT, num_samples_B)
        if self.normalise:
            padded_BT = _normalised(padded_BT, wave_BT.shape[1] if num_samples_B is None else num_samples_B)
        if num_frames_B is None:
            return compressed(self._states(padded_BT))
        num_frames = padded_BT.shape[1] // HOP_SAMPLES
        feature_BDF = padded_BT.new_zeros(len(padded_BT), self.width, num_frames)
        for length in num_frames_B.unique().tolist():
            rows_B = num_frames_B == length
            if length:
                feature_BDF[rows_B, :, :length] = self._states(padded_BT[rows_B, : length * HOP_SAMPLES])
        return compressed(feature_BDF)

    def _states(self, wave_BT: Tensor) -> Tensor:
        """Mean of the hidden states (B, D, F) in float32 of clips without padding."""
        padded_BT = torch.nn.functional.pad(wave_BT, (PADDING_SAMPLES, PADDING_SAMPLES)).to(self.model.dtype)
        with torch.autocast(wave_BT.device.type, enabled=False):
            states = self.model(padded_BT, output_hidden_states=True).hidden_states
        assert len(states) == self.model.config.num_hidden_layers + 1, len(states)
        chosen = [states[layer] for layer in self.layers or range(len(states))]
        return (sum(state_BFD.float() for state_BFD in chosen) / len(chosen)).mT


def _normalised(wave_BT: Tensor, num_samples_B: Tensor | int) -> Tensor:
    """Each clip with mean 0 and variance 1 over its own samples, 0 past its end; as in transformers' feature extractor."""
    lengths_B = torch.as_tensor(num_samples_B, device=wave_BT.device).expand(len(wave_BT))
    inside_BT, lengths_B1 = inside_BF(lengths_B, wave_BT.shape[1]), lengths_B[:, None].clamp(min=1)
    centred_BT = (wave_BT - wave_BT.sum(-1, keepdim=True) / lengths_B1) * inside_BT
    return centred_BT / (centred_BT.square().sum(-1, keepdim=True) / lengths_B1 + 1e-7).sqrt()


def _load(config: TeacherConfig) -> torch.nn.Module:
    """The frozen network in float32, after everything that can be checked before its weights are read."""
    if not config.source:
        raise ValueError(
            f"a teacher of transformers needs a source: a local folder or a hub id of {_kinds()}; or use 'log-mel'"
        )
    try:
        import transformers
    except ImportError as error:
        raise ValueError("this codec's teacher needs transformers: pip install transformers") from error
    found = _from_source(transformers.AutoConfig, config.source)
    _check(found, config)
    model, loading = _from_source(transformers.AutoModel, config.source, output_loading_info=True, dtype=torch.float32)
    missing = {name for name in loading["missing_keys"] if name not in MAY_BE_MISSING}
    if missing or loading["mismatched_keys"]:
        raise ValueError(f"teacher {config.source}: weights are missing or misshapen ({_few(missing)}): get its files again")
    return model.eval().requires_grad_(False)


def _from_source(auto: type, source: str, **options):
    try:
        return auto.from_pretrained(source, **options)
    except Exception as error:  # what a damaged file raises depends on its format
        if Path(source).is_dir():
            remedy = (
                f"the folder holds {sorted(path.name for path in Path(source).iterdir())}: want what save_pretrained writes"
            )
        else:
            remedy = "no such folder here; as a hub id it cannot be had (offline?). Download it and give the folder"
        raise ValueError(f"teacher {source}: {remedy}. transformers says: {str(error).partition(chr(10))[0]}") from error


def _check(found, config: TeacherConfig) -> None:
    """ValueError for an architecture, width, frame rate or layers other than the codec's."""
    name = f"teacher {config.source}"
    if found.model_type not in ARCHITECTURES:
        raise ValueError(f"{name} is a '{found.model_type}' model: want {_kinds()}")
    if found.hidden_size != config.width:
        raise ValueError(f"{name} has features {found.hidden_size} wide, the codec wants {config.width}: set its teacher.width")
    receptive, stride = 1, 1
    for kernel, step in zip(found.conv_kernel, found.conv_stride):
        receptive, stride = receptive + (kernel - 1) * stride, stride * step
    if stride != HOP_SAMPLES or not HOP_SAMPLES < receptive <= 2 * HOP_SAMPLES:
        raise ValueError(
            f"{name} makes a frame of {receptive} samples each {stride}: want each {HOP_SAMPLES} (50 frames/s at 16 kHz)"
        )
    wrong = [layer for layer in config.layers if not 0 <= layer <= found.num_hidden_layers]
    if wrong:
        raise ValueError(f"{name} has hidden states 0 to {found.num_hidden_layers}, the codec wants {wrong} too")


def _normalises(source: str) -> bool:
    """What the model's preprocessor_config.json says about the level of waves."""
    import transformers

    try:
        extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(source)
    except (OSError, ValueError) as error:
        remedy = "without a preprocessor_config.json, say whether to normalise"
        raise ValueError(f"teacher {source}: {remedy}") from error
    if extractor.sampling_rate != TEACHER_RATE_HZ:
        raise ValueError(f"teacher {source} hears {extractor.sampling_rate} Hz: want one of {TEACHER_RATE_HZ} Hz")
    return extractor.do_normalize


def _kinds() -> str:
    return ", ".join(ARCHITECTURES[:-1]) + f" or {ARCHITECTURES[-1]}"


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
