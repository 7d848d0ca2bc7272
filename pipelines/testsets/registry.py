"""The published test sets that `make import-testset` reads."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.formats.tree import Tree
from pipelines.testsets.dns2020 import dns2020
from pipelines.testsets.items import TestSet, Wanted
from pipelines.testsets.lass_mixtures import audiocaps_lass, esc50_lass
from pipelines.testsets.libri2mix import libri2mix
from pipelines.testsets.reconstruction import audioset_eval, librispeech_test, musdb18_test
from pipelines.testsets.seed_tts_edits import seed_tts_edits
from pipelines.testsets.vctk_pairs import vctk_pairs
from pipelines.testsets.voicebank_demand import voicebank_demand


@dataclass(frozen=True)
class Layout:
    """How a set lies on the disk, and what reads that."""

    read: Callable[[Tree, Wanted], list[TestSet]]
    looks_like: str


LAYOUTS = {
    "vbd": Layout(voicebank_demand, "clean_testset_wav/ and noisy_testset_wav/"),
    "dns2020": Layout(dns2020, "with_reverb/ or no_reverb/ with clean/ and noisy/, names that end in fileid_N.wav"),
    "libri2mix": Layout(libri2mix, "wav16k/min/test/ with mix_clean/ or mix_both/, s1/, s2/; map_mixture2enrollment for tse"),
    "vctk-vc": Layout(vctk_pairs, "wav48*/<speaker>/ and txt/<speaker>/; pairs.csv may be there"),
    "audiocaps-lass": Layout(audiocaps_lass, "audiocaps_eval.csv, segment-N.wav and mixture-N.wav"),
    "esc50-lass": Layout(esc50_lass, "esc50_eval.csv, segment-N.wav and mixture-N.wav"),
    "seed-tts-edit": Layout(seed_tts_edits, "edits.csv: audio, instruction, target_transcript"),
    "musdb18": Layout(musdb18_test, "test/<track>/mixture.wav"),
    "audioset-eval": Layout(audioset_eval, "Y<video>.wav; eval_segments.csv may be there"),
    "librispeech-test": Layout(librispeech_test, "test-clean/<reader>/<chapter>/*.flac and .trans.txt"),
}


def read(name: str, tree: Tree, wanted: Wanted) -> list[TestSet]:
    """The sets of this layout that are there. ValueError for an unknown name, and where there is none."""
    if name not in LAYOUTS:
        near = difflib.get_close_matches(name, LAYOUTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(LAYOUTS)}"
        raise ValueError(f"no test set {name!r}: {hint}")
    found = [one for one in LAYOUTS[name].read(tree, wanted) if one.items]
    if not found:
        raise ValueError(f"{tree.store.url}: {len(tree.files)} files, none of {name}; looked for {LAYOUTS[name].looks_like}")
    return found
