"""The data set layouts that `make corpus` reads, and how each is recognised."""

import csv
import difflib
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.formats.corpus_csv import corpus_csv
from pipelines.formats.events import audiocaps, clotho, esc50, fsd50k
from pipelines.formats.folder import folder
from pipelines.formats.lhotse_manifests import KINDS, lhotse
from pipelines.formats.music_and_rooms import SLR28_KINDS, dns, musdb18, slr28, wham
from pipelines.formats.speech import librispeech, vctk
from pipelines.formats.tree import AUDIO, Candidates, Options, Tree


@dataclass(frozen=True)
class Format:
    """How a layout is read; it is there if a file's path matches `sign` and that file's first line has all of `header`."""

    read: Callable[[Tree, Options], Candidates]
    looks_like: str
    sign: str
    header: tuple[str, ...] = ()

    def found(self, tree: Tree) -> bool:
        if not self.header:
            return tree.has(self.sign)
        headers = (next(csv.reader(tree.text(name).splitlines()[:1]), []) for name in tree.names(self.sign))
        return any(set(self.header) <= set(header) for header in headers)


FORMATS = {  # the most particular first
    "librispeech": Format(librispeech, "<reader>/<chapter>/*.trans.txt", r"(^|/)\d+/\d+/\d+-\d+\.trans\.txt$"),
    "vctk": Format(vctk, "wav48*/<speaker>/*", r"(^|/)wav48[^/]*/[^/]+/[^/]+\.(wav|flac)$"),
    "esc50": Format(esc50, "meta/esc50.csv", r"(^|/)esc50\.csv$"),
    "fsd50k": Format(fsd50k, "FSD50K.ground_truth/*.csv", r"FSD50K\.ground_truth/(dev|eval)\.csv$"),
    "clotho": Format(clotho, "clotho_captions_*.csv", r"clotho_captions_(development|validation|evaluation)\.csv$"),
    "audiocaps": Format(audiocaps, "train.csv: youtube_id, caption", r"(^|/)(train|val|test)\.csv$", ("youtube_id", "caption")),
    "lhotse": Format(lhotse, "recordings*.jsonl[.gz] or cuts*.jsonl[.gz]", KINDS),
    "corpus-csv": Format(corpus_csv, "<role>/manifest.csv: id, license ...", r"^([^/]+/)?manifest\.csv$", ("id", "license")),
    "musdb18": Format(musdb18, "train/<track>/vocals.wav", r"(^|/)(train|test)/([^/]+/vocals\.wav|[^/]+\.stem\.mp4)$"),
    "slr28": Format(slr28, "simulated_rirs/ ...", rf"(^|/)({SLR28_KINDS})/"),
    "wham": Format(wham, "audio in tr/, cv/, tt/", rf"(^|/)(tr|cv|tt)/(noise/)?[^/]+{AUDIO}"),
    "dns": Format(dns, "audio in clean*/", rf"(^|/)clean(_fullband|_wideband)?/.*{AUDIO}"),
    "folder": Format(folder, "any audio", AUDIO),
}


def named(name: str) -> Format:
    """ValueError with the nearest name for an unknown one."""
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(FORMATS)}"
        raise ValueError(f"no format {name!r}: {hint}")
    return FORMATS[name]


def detect(tree: Tree) -> str:
    """The name of the layout. ValueError with what was looked for if it is none."""
    for name, layout in FORMATS.items():
        if layout.found(tree):
            return name
    looked = "\n".join(f"  {name:12} {layout.looks_like}" for name, layout in FORMATS.items())
    raise ValueError(f"{tree.store.url}: {len(tree.files)} files, no data set that is known. Looked for:\n{looked}")
