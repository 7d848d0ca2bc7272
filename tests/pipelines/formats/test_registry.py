import pytest

from infra.storage import open_store
from pipelines.formats.registry import FORMATS, detect, named
from pipelines.formats.tree import Tree
from tests.pipelines.formats.conftest import text

SIGNS = {
    "librispeech": ["train-clean-100/14/5/14-5.trans.txt", "train-clean-100/14/5/14-5-0000.flac"],
    "vctk": ["wav48_silence_trimmed/p225/p225_001_mic1.flac"],
    "esc50": ["ESC-50-master/meta/esc50.csv"],
    "fsd50k": ["FSD50K.ground_truth/dev.csv"],
    "clotho": ["clotho_captions_development.csv"],
    "lhotse": ["librispeech_recordings_dev-clean.jsonl.gz"],
    "musdb18": ["train/A - One/vocals.wav"],
    "slr28": ["RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav"],
    "wham": ["wham_noise/tr/x.wav"],
    "dns": ["datasets/clean/book_reader_1_.wav", "datasets/noise/x.wav"],
    "folder": ["speech/anna/x.wav"],
}


@pytest.mark.parametrize("name", SIGNS)
def test_a_layout_is_recognised_by_its_files(tmp_path, name):
    for file in SIGNS[name]:
        text(tmp_path / file, "")
    assert detect(Tree(open_store(str(tmp_path)))) == name


@pytest.mark.parametrize(
    "name, file, header",
    [
        ("audiocaps", "train.csv", "audiocap_id,youtube_id,start_time,caption"),
        ("corpus-csv", "noise/manifest.csv", "id,path,license,x"),
    ],
)
def test_a_table_counts_only_with_its_own_columns(tmp_path, name, file, header):
    text(tmp_path / "noise/a.wav", "")
    text(tmp_path / file, "something,else\n")
    tree = Tree(open_store(str(tmp_path)))
    assert detect(tree) == "folder"
    text(tmp_path / file, f"{header}\n1,2,3,4\n")
    assert detect(tree) == name


def test_a_tree_of_nothing_known_is_an_error_that_lists_what_was_looked_for(tmp_path):
    text(tmp_path / "notes.txt", "")
    with pytest.raises(ValueError, match="1 files, no data set that is known") as error:
        detect(Tree(open_store(str(tmp_path))))
    assert all(name in str(error.value) for name in FORMATS)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'librispeech'"):
        named("librispech")
    with pytest.raises(ValueError, match="there are librispeech, vctk"):
        named("?")
