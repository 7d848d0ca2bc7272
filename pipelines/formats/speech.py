"""Speech data sets: `librispeech` and `vctk`. The speaker is what is never split."""

from pipelines.formats.tree import AUDIO, Candidates, Options, Tree, as_json, candidates

LIBRISPEECH_SPLITS = {"train": "train", "dev": "valid", "test": "test"}


def librispeech(tree: Tree, options: Options) -> Candidates:
    """LibriSpeech (Panayotov et al., ICASSP 2015): <subset>/<speaker>/<chapter>/*.flac, .trans.txt, SPEAKERS.TXT."""
    files = tree.match(rf"(?P<reader>\d+)-\d+-\d+{AUDIO}")
    utterances = files["path"].str.extract(r"([^/]+)\.[^.]+$")[0]
    places = tree.store.url.rstrip("/") + "/" + files["path"]  # the root may be one subset
    subsets = places.str.extract(r"/(train|dev|test)-(?:clean|other)[^/]*/")[0]
    sexes = _sexes(tree)
    rows = files.assign(
        speaker="librispeech-" + files["reader"],
        text=utterances.map(_transcripts(tree)),
        split=subsets.map(LIBRISPEECH_SPLITS),
        labels=as_json({"lang": "en", "gender": sexes.get(reader, "")} for reader in files["reader"]),
    )
    return Candidates(candidates(rows, role="speech", licence=options.licence or "CC BY 4.0"))


def _transcripts(tree: Tree) -> dict[str, str]:
    """Utterance -> text, of all chapters."""
    lines = (line for text in tree.texts(tree.names(r"\.trans\.txt$")) for line in text.splitlines())
    return dict(line.split(" ", 1) for line in lines if " " in line)


def _sexes(tree: Tree) -> dict[str, str]:
    """Reader -> "m" or "f", from SPEAKERS.TXT ("14 | F | train-clean-360 | 25.03 | name") where it is there."""
    texts = (tree.text(name) for name in tree.names(r"(^|/)SPEAKERS\.TXT$"))
    lines = ([part.strip() for part in line.split("|")] for text in texts for line in text.splitlines())
    return {fields[0]: fields[1].lower() for fields in lines if len(fields) > 1}


def vctk(tree: Tree, options: Options) -> Candidates:
    """VCTK 0.92 (wav48_silence_trimmed, txt, speaker-info.txt) and 0.80 (wav48). Of two microphones the first is taken."""
    files = tree.match(rf"(?:^|/)wav48[^/]*/(?P<name>[^/]+)/(?P<utterance>[^/]+?)(?P<mic>_mic\d)?{AUDIO}")
    left_out = int((files["mic"] == "_mic2").sum())
    files = files[files["mic"] != "_mic2"]
    found = tree.match(r"(?:^|/)txt/[^/]+/(?P<utterance>[^/]+)\.txt$").drop_duplicates("utterance")
    texts = tree.texts(found["path"]).set_axis(found["utterance"])
    rows = files.assign(
        speaker="vctk-" + files["name"], text=files["utterance"].map(texts), labels=files["name"].map(_people(tree))
    )
    notes = [f"{left_out} files of the second microphone are left out: they are the same utterances"] if left_out else []
    return Candidates(candidates(rows, role="speech", licence=options.licence or "CC BY 4.0"), notes=notes)


def _people(tree: Tree) -> dict[str, str]:
    """Speaker -> JSON of age, gender and accent, from speaker-info.txt ("p225 23 F English Southern England")."""
    found = {}
    for name in tree.names(r"(^|/)speaker-info\.txt$"):
        for line in tree.text(name).splitlines()[1:]:
            fields = line.split()
            if len(fields) >= 4:
                person = fields[0] if fields[0][0] in "ps" else f"p{fields[0]}"  # 0.80 leaves the letter out
                values = {"lang": "en", "age": fields[1], "gender": fields[2].lower(), "accent": fields[3]}
                found[person] = as_json([values])[0]
    return found
