"""Word times as other programs write them: Praat's TextGrid (Montreal Forced Aligner) and NIST's CTM (Kaldi, NeMo).

Both become what the manifest's column `words` holds: the words as the transcript writes them, with start and end in seconds.
"""

import re
from collections.abc import Iterator

import msgspec

from pipelines.formats.tree import Tree

Words = list[tuple[str, float, float]]
"""(written word, start in seconds, end in seconds)"""

PAUSES = {"", "sil", "sp", "spn", "<eps>", "<sil>", "[sil]", "<p:>", "!sil", "#"}
TIER = re.compile(r"(?i)(^|[-_ ])words?$")
OVERLAP_S = 0.02  # of one word with the next: rounding, not more
OVERHANG_S = 0.05  # of the last word beyond the end of the file

REASONS = {
    "no_words": "its text has no word that can be spoken",
    "no_times": "the files of word times do not have it",
    "other_text": "the words with times are not those of its transcript",
    "bad_times": "word times that go backwards, overlap or lie outside the file",
    "too_long": "too long for the aligner: cut it at pauses",
    "no_pronunciation": "a word is neither in the dictionary nor in Latin letters",
    "not_aligned": "no path through the whole text was found: it is not what is said",
    "bad_score": "the audio does not sound like the text",
    "bad_word": "the audio does not sound like one of the words",
    "quiet_word": "a word was found where nothing is heard",
    "long_word": "a word lasts longer than it can",
    "unspoken_for": "something is said that the text does not have",
    "unreadable": "the audio file is missing or cannot be decoded",
    "crash": "aligning it killed the process",
}


class Refused(Exception):
    """Word times that are not to be trusted: a code of REASONS and what was found."""

    def __init__(self, reason: str, detail: str):
        assert reason in REASONS, reason
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def written(text: str) -> list[str]:
    """The words of a text as they stand in it, without the punctuation around them."""
    return [word for word in (re.sub(r"^[\W_]+|[\W_]+$", "", token) for token in text.replace("--", " ").split()) if word]


def encode(words: Words) -> str:
    """The manifest's cell."""
    return msgspec.json.encode(words).decode()


def read(tree: Tree) -> dict[str, Words]:
    """Utterance -> words, of all TextGrid and CTM files of a tree. ValueError naming the file that is neither.

    A TextGrid's utterance is its file name without the ending, a CTM's is what its lines say.
    """
    found: dict[str, Words] = {}
    names = tree.names(r"(?i)\.(?:textgrid|ctm)$")
    if not names:
        raise ValueError(f"{tree.store.url}: no .TextGrid and no .ctm file below it")
    for name in names:
        text = _decoded(tree.store.get(name))
        try:
            stem = name.rpartition("/")[2].rpartition(".")[0]
            found |= {stem: textgrid(text)} if name.lower().endswith("textgrid") else ctm(text)
        except ValueError as error:
            raise ValueError(f"{tree.store.url}/{name}: {error}") from error
    return found


def _decoded(data: bytes) -> str:
    """Praat writes UTF-16 with a byte order mark where a text is not ASCII."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def textgrid(text: str) -> Words:
    """The intervals of the tier `words`, or of the only tier; long or short format. ValueError if there is no such tier."""
    if "TextGrid" not in text[:200]:
        raise ValueError("not a TextGrid")
    tiers = dict(_tiers(text))
    wanted = [name for name in tiers if TIER.search(name)] or (list(tiers) if len(tiers) == 1 else [])
    if len(wanted) != 1:
        raise ValueError(f"one interval tier named 'words' is needed, it has {', '.join(map(repr, tiers)) or 'none'}")
    return [(word, start, end) for word, start, end in tiers[wanted[0]] if word.lower() not in PAUSES]


_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w\]])')


def _tiers(text: str) -> Iterator[tuple[str, Words]]:
    """Name and intervals of each interval tier. Both formats are the same values in the same order once the labels are gone."""
    tokens: list[str | float] = [
        match[1].replace('""', '"') if match[2] is None else float(match[2]) for match in _TOKEN.finditer(text)
    ]
    places = [at for at, token in enumerate(tokens) if token == "IntervalTier"]
    for at in places:
        try:
            name, count = str(tokens[at + 1]), int(tokens[at + 4])
            values = tokens[at + 5 : at + 5 + 3 * count]
            starts, ends, words = values[::3], values[1::3], values[2::3]
            if len(words) != count:
                raise ValueError(f"tier {name!r} ends after {len(words)} of {count} intervals")
            yield name, [(str(word).strip(), float(start), float(end)) for word, start, end in zip(words, starts, ends)]
        except (IndexError, TypeError) as error:
            raise ValueError(f"tier {at} is cut short") from error


def ctm(text: str) -> dict[str, Words]:
    """Utterance -> words of `utterance channel start duration word [confidence]` lines. ValueError names the line."""
    found: dict[str, Words] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            utterance, _, start, duration, word = fields[:5]
            start_s, end_s = float(start), float(start) + float(duration)
        except ValueError:
            raise ValueError(f"line {number} is not 'utterance channel start duration word': {line[:80]!r}") from None
        if word.lower() not in PAUSES:
            found.setdefault(utterance, []).append((word, round(start_s, 5), round(end_s, 5)))
    return {utterance: sorted(words, key=lambda one: one[1]) for utterance, words in found.items()}


def fitted(words: Words, text: str, duration_s: float) -> Words:
    """The words spelled as in the transcript, times within the file. Refused if they are not its words or its times.

    A transcript that is empty is taken from the words.
    """
    spelled = written(text) or [word for word, _, _ in words]
    if [plain(word) for word in spelled] != [plain(word) for word, _, _ in words]:
        raise Refused("other_text", f"{' '.join(word for word, _, _ in words)[:80]!r}")
    last = 0.0
    for word, start, end in words:
        if not (last - OVERLAP_S <= start < end <= duration_s + OVERHANG_S):
            raise Refused("bad_times", f"{word!r} from {start} to {end} s, after {last} s and before {duration_s:.3f} s")
        last = end
    starts = [max(start, before) for (_, start, _), before in zip(words, [0.0, *(end for _, _, end in words)])]
    return [(name, round(start, 5), round(min(end, duration_s), 5)) for name, start, (_, _, end) in zip(spelled, starts, words)]


def plain(word: str) -> str:
    """A word as aligners compare it: lower case, letters and digits only."""
    return "".join(letter for letter in word.lower() if letter.isalnum())
