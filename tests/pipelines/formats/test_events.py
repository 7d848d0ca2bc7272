import json

import pytest

from pipelines.corpus import TooManyRejects
from pipelines.formats.events import short_licence
from tests.pipelines.formats.conftest import built, sound, text


def test_esc50_splits_by_its_folds_and_groups_by_source(tmp_path):
    root = tmp_path / "ESC-50-master"
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for take in "AB":
            sound(root / f"audio/{fold}-10{fold}-{take}-11.wav")
            lines.append(f"{fold}-10{fold}-{take}-11.wav,{fold},11,sea_waves,True,10{fold},{take}")
    text(root / "meta/esc50.csv", "\n".join(lines) + "\n")
    rows = built(root, tmp_path / "out", test_fold=1)
    assert {row["split"] for path, row in rows.items() if path.startswith("audio/1-")} == {"test"}
    assert {row["split"] for path, row in rows.items() if path.startswith("audio/4-")} == {"valid"}
    row = rows["audio/2-102-A-11.wav"]
    assert (row["role"], row["label"], row["group"], row["split"]) == ("event", "sea waves", "freesound-102", "train")
    assert json.loads(row["labels"]) == {"category": "natural soundscapes", "fold": "2", "freesound_id": "102"}
    assert row["licence"] == "CC BY-NC 3.0"


@pytest.fixture
def fsd50k(tmp_path):
    root = tmp_path / "FSD50K"
    for part, clips in (("dev", (1, 2)), ("eval", (3,))):
        for clip in clips:
            sound(root / f"FSD50K.{part}_audio/{clip}.wav")
    truth = 'fname,labels,mids,split\n1,"Bark,Dog,Animal","/m/1",train\n2,Rain,/m/2,val\n'
    text(root / "FSD50K.ground_truth/dev.csv", truth)
    text(root / "FSD50K.ground_truth/eval.csv", 'fname,labels,mids\n3,"Crash_cymbal,Music",/m/3\n')
    info = {"1": {"license": "http://creativecommons.org/licenses/by-nc/3.0/", "uploader": "ann", "title": "bark"}}
    text(root / "FSD50K.metadata/dev_clips_info_FSD50K.json", json.dumps(info))
    return root


def test_fsd50k_keeps_its_splits_classes_and_licences(fsd50k, tmp_path):
    rows = built(fsd50k, tmp_path / "out")
    bark, rain, cymbal = (rows[f"FSD50K.{part}_audio/{clip}.wav"] for part, clip in (("dev", 1), ("dev", 2), ("eval", 3)))
    assert [row["split"] for row in (bark, rain, cymbal)] == ["train", "valid", "test"]
    assert [row["label"] for row in (bark, rain, cymbal)] == ["bark", "rain", "crash cymbal"]
    assert [row["licence"] for row in (bark, rain, cymbal)] == ["CC BY-NC 3.0", "CC BY 4.0", "CC BY 4.0"]
    assert json.loads(bark["labels"]) == {
        "category": "dog, animal",
        "classes": ["bark", "dog", "animal"],
        "freesound_id": "1",
        "uploader": "ann",
    }


def test_a_clip_of_the_table_without_a_file_is_named_missing(fsd50k, tmp_path):
    (fsd50k / "FSD50K.dev_audio/2.wav").unlink()
    assert len(built(fsd50k, tmp_path / "out", max_reject_share=0.5)) == 2
    assert "FSD50K.dev_audio/2.wav,missing," in (tmp_path / "out/quarantine.csv").read_text()


@pytest.mark.parametrize(
    "url, name",
    [
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("http://creativecommons.org/licenses/by/3.0/", "CC BY 3.0"),
        ("http://creativecommons.org/licenses/sampling+/1.0/", "CC Sampling+ 1.0"),
        ("ask the author", "ask the author"),
    ],
)
def test_licence_urls_become_names(url, name):
    assert short_licence(url) == name


@pytest.mark.parametrize("stem", ["{id}", "Y{id}", "{id}_30", "{id}_30_40", "Y{id}_30.000_40.000", "{id}_30000_40000"])
def test_audiocaps_finds_a_clip_under_the_names_that_downloaders_give(tmp_path, stem):
    root = tmp_path / "audiocaps"
    sound(root / "clips" / (stem.format(id="-abc_DEF012") + ".flac"))
    text(root / "train.csv", "audiocap_id,youtube_id,start_time,caption\n9,-abc_DEF012,30,A man talks\n")
    (row,) = built(root, tmp_path / "out").values()
    assert (row["role"], row["caption"], row["group"], row["split"]) == ("event", "A man talks", "youtube--abc_DEF012", "train")


def test_audiocaps_keeps_further_captions_of_a_clip_in_its_labels(tmp_path):
    root = tmp_path / "audiocaps"
    sound(root / "audio/x.wav")
    text(root / "test.csv", "audiocap_id,youtube_id,start_time,caption\n1,x,0,One\n2,x,0,Two\n")
    (row,) = built(root, tmp_path / "out").values()
    assert (row["caption"], row["split"], row["licence"]) == ("One", "test", "unknown")
    assert json.loads(row["labels"]) == {"captions": ["One", "Two"]}


def test_audiocaps_without_its_audio_stops_and_says_what_is_missing(tmp_path):
    root = tmp_path / "audiocaps"
    sound(root / "audio/x.wav")
    text(root / "train.csv", "youtube_id,start_time,caption\nx,0,One\ngone,5,Two\n")
    with pytest.raises(TooManyRejects, match=r"1 of 2 files cannot serve \(missing 1\)"):
        built(root, tmp_path / "out")


def test_clotho_keeps_five_captions_and_its_splits(tmp_path):
    root = tmp_path / "clotho"
    header = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    for part, split in (("development", "train"), ("validation", "valid"), ("evaluation", "test")):
        sound(root / f"{part}/{split} sound.wav", rate_hz=44100)
        text(root / f"clotho_captions_{part}.csv", header + f'{split} sound.wav,"Rain, {split}",b,c,d,e\n')
    meta = "file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license\n"
    line = 'train sound.wav,Heavy rain;water,77,http://x,"[0, 9]",Jos\xe9,http://creativecommons.org/licenses/by/4.0/\n'
    (root / "clotho_metadata_development.csv").write_bytes((meta + line).encode("latin-1"))
    rows = built(root, tmp_path / "out")
    row = rows["development/train sound.wav"]
    assert (row["caption"], row["label"], row["group"]) == ("Rain, train", "heavy rain", "freesound-77")
    assert row["licence"] == "CC BY 4.0"
    assert json.loads(row["labels"])["captions"] == ["Rain, train", "b", "c", "d", "e"]
    assert {path.partition("/")[0]: row["split"] for path, row in rows.items()} == {
        "development": "train",
        "validation": "valid",
        "evaluation": "test",
    }
    assert rows["validation/valid sound.wav"]["licence"] == "unknown"
