"""A voice converter of somebody else's: a Python object named "module:name", with a version, that a scene can hold.

Whatever converts speech well, a neural model say, can disguise voices here; it is imported where a scene is rendered.
"""

import difflib
import importlib
from functools import lru_cache
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np

from simulation.example import Clip, Load

LONGEST_DIFFERENCE_S = 0.05  # of the length, that is cut or padded at the end


@runtime_checkable
class Converter(Protocol):
    """What the name has to lead to. The same arguments must give the same samples; another `version` is another converter."""

    version: str

    def __call__(self, audio: np.ndarray, sample_rate_hz: int, voice: np.ndarray) -> np.ndarray:
        """`audio` said in the voice of `voice`, all float32 `(1, samples)`, as long and at the same time."""


class Conversion(msgspec.Struct, frozen=True):
    """What was drawn: which converter, and the voice it takes."""

    converter: str
    version: str
    voice: Clip

    def __call__(self, audio: np.ndarray, sample_rate_hz: int, load: Load) -> np.ndarray:
        """The converted audio, `(1, samples)` float32 like `audio`. ValueError for another version or an unusable answer."""
        convert = converter(self.converter)
        if str(convert.version) != self.version:
            raise ValueError(
                f"converter {self.converter} has version {convert.version!r}, the scene was drawn for {self.version!r}:"
                " install that version, or draw the data again"
            )
        return self._checked(np.asarray(convert(audio, sample_rate_hz, load(self.voice))), audio, sample_rate_hz)

    def _checked(self, said: np.ndarray, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        difference = said.shape[-1] - audio.shape[1] if said.ndim == 2 and len(said) == 1 else None
        if difference is None or abs(difference) > LONGEST_DIFFERENCE_S * sample_rate_hz:
            raise ValueError(f"converter {self.converter} gave shape {said.shape} for {audio.shape}: it must keep the timing")
        said = said[:, : audio.shape[1]].astype(np.float32)
        if not np.isfinite(said).all() or not said.any():
            raise ValueError(f"converter {self.converter} gave silence, NaN or infinity for {audio.shape[1]} samples")
        return np.pad(said, ((0, 0), (0, audio.shape[1] - said.shape[1])))


@lru_cache(maxsize=8)
def converter(name: str) -> Converter:
    """The object that "module:name" names, called without arguments first if it is a class. ValueError naming the remedy."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"converter {name!r}: give module:name, such as mypackage.conversion:convert")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"converter {name!r}: {error}; install it, or put its folder on PYTHONPATH") from error
    found = getattr(module, attribute, None)
    if found is None:
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        raise ValueError(f"converter {name!r}: {module_name} has no {attribute!r}" + (f", but {near[0]!r}" if near else ""))
    found = found() if isinstance(found, type) else found
    if not isinstance(found, Converter):
        raise ValueError(f"converter {name!r} must be callable and have a `version`")
    return found
