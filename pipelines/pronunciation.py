"""How a word that the pronouncing dictionary lacks is said: eSpeak NG's phonemes in the acoustic model's alphabet (ARPAbet)."""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

# IPA as eSpeak NG writes US English -> CMUdict's phones. The longest symbol that fits is taken.
_TABLE = """
    tʃ CH, dʒ JH, eɪ EY, aɪ AY, aʊ AW, oʊ OW, ɔɪ OY, n̩ AH N, l̩ AH L, ɑ AA, ɒ AA, a AA, æ AE, ʌ AH, ə AH, ɐ AH, ɔ AO, ɛ EH,
    e EH, ɜ ER, ɚ ER, ɝ ER, ɪ IH, ᵻ IH, i IY, o OW, ʊ UH, u UW, b B, d D, ð DH, f F, ɡ G, h HH, k K, x K, l L, ɫ L, m M, n N,
    ŋ NG, p P, ɹ R, r R, s S, ʃ SH, t T, ɾ T, ʔ T, θ TH, v V, w W, j Y, z Z, ʒ ZH
"""  # noqa: RUF001
ARPABET = dict(entry.split(maxsplit=1) for entry in _TABLE.split(","))
_SYMBOLS = re.compile("|".join(sorted(map(re.escape, ARPABET), key=len, reverse=True)))
_SILENT = re.compile(r"[ˈˌː‍ˑ _\-]|\([a-z-]+\)")  # stress, length, spaces, a switch of language
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _IPA = 2, 0x8000, 1, 2
VOICE = b"en-us"


@lru_cache(maxsize=2**14)
def pronounce(word: str) -> str:
    """The word's phones, "K AY N"; "" where eSpeak NG says something that English has no phone for, or nothing."""
    with _library() as library:
        text = ctypes.c_char_p(word.encode())
        ipa = b""
        while text.value:  # a clause at a time
            ipa += library.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, _IPA) or b""
    return arpabet(ipa.decode())


def arpabet(ipa: str) -> str:
    """IPA in ARPAbet; "" if a symbol is not known."""
    left = _SILENT.sub("", ipa)
    phones = _SYMBOLS.findall(left)
    return " ".join(ARPABET[symbol] for symbol in phones) if "".join(phones) == left else ""


@contextmanager
def _library() -> Iterator[ctypes.CDLL]:
    """eSpeak NG, unloaded afterwards: the starter corpus's voices want it fresh."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    try:
        library.espeak_Initialize(_SYNCHRONOUS, 0, str(Path(espeakng_loader.get_data_path()).parent).encode(), _DONT_EXIT)
        if library.espeak_SetVoiceByName(VOICE) != 0:
            raise ValueError("eSpeak NG has no voice en-us: reinstall espeakng-loader")
        yield library
        library.espeak_Terminate()
    finally:
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))
