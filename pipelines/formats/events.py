"""Sound event and caption data sets: `esc50`, `fsd50k`, `audiocaps`, `clotho`. The source recording is what is never split."""

import re

import pandas as pd

from pipelines.formats.tree import AUDIO, Candidates, Options, Tree, as_json, candidates, phrase, records

ESC50_CATEGORIES = ("animals", "natural soundscapes", "human non-speech", "interior/domestic", "exterior/urban")
FSD50K_SPLITS = {"train": "train", "val": "valid"}
AUDIOCAPS_SPLITS = {"train": "train", "val": "valid", "test": "test"}
CLOTHO_SPLITS = {"development": "train", "validation": "valid", "evaluation": "test"}
CLIP_S = 10  # of AudioSet, and so of AudioCaps


def esc50(tree: Tree, options: Options) -> Candidates:
    """ESC-50 (Piczak, ACM MM 2015): meta/esc50.csv, audio/. The five folds keep source recordings together."""
    name = tree.names(r"(^|/)esc50\.csv$")[0]
    meta = tree.csv(name, ("filename", "fold", "category", "src_file"))
    base = name.removesuffix("esc50.csv").removesuffix("meta/")
    targets = pd.to_numeric(meta["target"]) if "target" in meta else pd.Series(-1, index=meta.index)
    categories = (targets // 10).map(dict(enumerate(ESC50_CATEGORIES))).fillna("")
    folds = {str(options.valid_fold): "valid", str(options.test_fold): "test"}
    rows = meta.assign(
        path=base + "audio/" + meta["filename"],
        label=phrase(meta["category"]),
        group="freesound-" + meta["src_file"],
        split=meta["fold"].map(folds).fillna("train"),
        labels=as_json(records(category=categories, fold=meta["fold"], freesound_id=meta["src_file"])),
    )
    return Candidates(candidates(rows, role="event", licence=options.licence or "CC BY-NC 3.0"))


def fsd50k(tree: Tree, options: Options) -> Candidates:
    """FSD50K (Fonseca et al., TASLP 2022): FSD50K.ground_truth/{dev,eval}.csv, FSD50K.{dev,eval}_audio, FSD50K.metadata."""
    truths = [_fsd50k_part(tree, name) for name in tree.names(r"FSD50K\.ground_truth/(dev|eval)\.csv$")]
    rows = pd.concat(truths, ignore_index=True).fillna("")
    classes = phrase(rows["labels"]).str.split(",")  # the most specific comes first
    categories = classes.str[1:].str.join(", ")  # its parents, and what else is heard: queries must tell it from them
    rows = rows.assign(
        label=classes.str[0].astype("str"),
        labels=as_json(records(category=categories, classes=classes, freesound_id=rows["fname"], uploader=rows["uploader"])),
        group="freesound-" + rows["fname"],
        licence=rows["licence"].mask(rows["licence"] == "", options.licence or "CC BY 4.0"),
    )
    return Candidates(candidates(rows, role="event"))


def _fsd50k_part(tree: Tree, name: str) -> pd.DataFrame:
    part = "eval" if name.endswith("eval.csv") else "dev"
    truth = tree.csv(name, ("fname", "labels"))
    infos = tree.names(rf"{part}_clips_info_FSD50K\.json$")
    info = tree.json(infos[0]) if infos else {}
    truth["path"] = name[: name.index("FSD50K.ground_truth/")] + f"FSD50K.{part}_audio/" + truth["fname"] + ".wav"
    truth["split"] = "test" if part == "eval" else truth["split"].map(FSD50K_SPLITS) if "split" in truth else ""
    truth["licence"] = truth["fname"].map({clip: short_licence(values.get("license", "")) for clip, values in info.items()})
    truth["uploader"] = truth["fname"].map({clip: values.get("uploader", "") for clip, values in info.items()})
    return truth


def short_licence(url: str) -> str:
    """A Creative Commons URL as its short name; other texts as they are."""
    found = re.search(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)/([\d.]+)", url)
    if not found:
        return url
    special = {"zero": "CC0", "mark": "Public Domain Mark", "sampling+": "CC Sampling+"}
    return f"{special.get(found[1], 'CC ' + found[1].upper())} {found[2]}"


def audiocaps(tree: Tree, options: Options) -> Candidates:
    """AudioCaps (Kim et al., NAACL 2019): {train,val,test}.csv of youtube_id, start_time, caption, and a folder of audio.

    Audio files are found by the names that the usual downloaders give. One row a clip: all its captions are in labels.
    """
    texts = pd.concat([_audiocaps_part(tree, name) for name in tree.names(r"(^|/)(train|val|test)\.csv$")], ignore_index=True)
    clips = texts.groupby(["youtube_id", "start_time", "split"], sort=False)["caption"].agg(list).reset_index()
    stems = tree.match(rf"^(?:.*/)?(?P<stem>[^/]+){AUDIO}").drop_duplicates("stem").set_index("stem")["path"]
    found = pd.Series(pd.NA, index=clips.index, dtype="str")
    for guess in _audiocaps_stems(clips["youtube_id"], clips["start_time"]):
        found = found.fillna(guess.map(stems))
    rows = clips.assign(
        path=found.fillna("audio/" + clips["youtube_id"] + ".wav"),
        caption=clips["caption"].str[0],
        labels=as_json(records(captions=clips["caption"])),
        id=clips["youtube_id"] + "-" + clips["start_time"],
        group="youtube-" + clips["youtube_id"],
    )
    return Candidates(candidates(rows, role="event", licence=options.licence))


def _audiocaps_part(tree: Tree, name: str) -> pd.DataFrame:
    part = tree.csv(name, ("youtube_id", "caption")).rename(columns={"start": "start_time"})
    split = AUDIOCAPS_SPLITS[name.rpartition("/")[2].removesuffix(".csv")]
    return part.assign(split=split, start_time=part.get("start_time", "0"))


def _audiocaps_stems(youtube_id: pd.Series, start_s: pd.Series) -> list[pd.Series]:
    """File names without suffix that a clip may have, the most particular first."""
    start = pd.to_numeric(start_s, errors="coerce").fillna(0).astype("int64")
    begin, end = start.astype("str"), (start + CLIP_S).astype("str")
    in_ms = (1000 * start).astype("str") + "_" + (1000 * (start + CLIP_S)).astype("str")
    timed = [youtube_id + "_" + text for text in (begin, begin + "_" + end, begin + ".000_" + end + ".000", in_ms)]
    return [*timed, *("Y" + stem for stem in timed), youtube_id, "Y" + youtube_id]


def clotho(tree: Tree, options: Options) -> Candidates:
    """Clotho (Drossos et al., ICASSP 2020): clotho_captions_*.csv with five captions a file, clotho_metadata_*.csv, audio."""
    names = tree.names(r"clotho_captions_(development|validation|evaluation)\.csv$")
    rows = pd.concat([_clotho_part(tree, name) for name in names], ignore_index=True)
    captions = rows.filter(regex=r"^caption_\d$").to_numpy().tolist()
    keywords = rows["keywords"].str.split(";")
    rows = rows.assign(
        caption=rows["caption_1"],
        label=phrase(keywords.str[0].astype("str")),
        labels=as_json(records(category=keywords.str.join(", "), captions=captions, freesound_id=rows["sound_id"])),
        licence=rows["license"].map(short_licence).mask(rows["license"] == "", options.licence),
        group=("freesound-" + rows["sound_id"]).where(rows["sound_id"].str.fullmatch(r"\d+"), ""),
    )
    return Candidates(candidates(rows, role="event"))


def _clotho_part(tree: Tree, name: str) -> pd.DataFrame:
    part = re.search(r"captions_(\w+)\.csv", name)[1]
    audio = tree.match(rf"(?:^|/){part}/[^/]+{AUDIO}")["path"]
    places = dict(zip(audio.str.rpartition("/")[2], audio))
    texts = tree.csv(name, ("file_name", "caption_1"))
    texts["path"] = texts["file_name"].map(places).fillna(f"{part}/" + texts["file_name"])
    columns = ["file_name", "keywords", "sound_id", "license"]
    metas = tree.names(rf"clotho_metadata_{part}\.csv$")
    meta = tree.csv(metas[0], columns[:1]) if metas else pd.DataFrame(columns=columns, dtype="str")
    meta = meta.reindex(columns=columns, fill_value="").drop_duplicates("file_name")
    return texts.assign(split=CLOTHO_SPLITS[part]).merge(meta, on="file_name", how="left").fillna("")
