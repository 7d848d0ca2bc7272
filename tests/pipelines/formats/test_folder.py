import json

import pytest

from tests.pipelines.formats.conftest import built, sound, text


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "tree"
    sound(root / "speech/anna/one.wav")
    text(root / "speech/anna/one.txt", "Hello there.\n")
    sound(root / "speech/anna/two.flac", rate_hz=16000)
    sound(root / "speech/bert/three.opus", rate_hz=16000)
    sound(root / "events/Dog_bark/x.ogg")
    text(root / "events/Dog_bark/x.txt", "A dog barks.")
    sound(root / "music/song.mp3", rate_hz=16000, seconds=0.5)
    sound(root / "noise/street/stereo.wav", channels=2)
    sound(root / "rirs/hall.wav")
    text(root / "rirs/hall.json", json.dumps({"licence": "CC0 1.0", "group": "hall", "t20_s": 1.5, "labels": {"room": "hall"}}))
    return root


def test_the_first_folder_is_the_role_the_next_the_speaker_or_the_class(root, tmp_path):
    rows = built(root, tmp_path / "out")
    roles = {path: row["role"] for path, row in rows.items()}
    assert roles == {
        "speech/anna/one.wav": "speech",
        "speech/anna/two.flac": "speech",
        "speech/bert/three.opus": "speech",
        "events/Dog_bark/x.ogg": "event",
        "music/song.mp3": "music",
        "noise/street/stereo.wav": "noise",
        "rirs/hall.wav": "rir",
    }
    assert rows["speech/anna/two.flac"]["speaker"] == rows["speech/anna/two.flac"]["group"] == "anna"
    assert rows["events/Dog_bark/x.ogg"]["label"] == "dog bark"
    assert rows["noise/street/stereo.wav"]["num_channels"] == 2
    assert rows["speech/anna/two.flac"]["sample_rate_hz"] == 16000
    assert rows["speech/anna/two.flac"]["num_frames"] == 3200


def test_text_beside_speech_is_its_transcript_beside_other_sounds_their_caption(root, tmp_path):
    rows = built(root, tmp_path / "out")
    assert rows["speech/anna/one.wav"]["text"] == "Hello there."
    assert rows["events/Dog_bark/x.ogg"]["caption"] == "A dog barks."
    assert rows["events/Dog_bark/x.ogg"]["text"] == rows["speech/anna/two.flac"]["text"] == ""


def test_json_beside_a_file_fills_columns_and_the_rest_goes_into_labels(root, tmp_path):
    hall = built(root, tmp_path / "out")["rirs/hall.wav"]
    assert (hall["licence"], hall["group"]) == ("CC0 1.0", "hall")
    assert json.loads(hall["labels"]) == {"room": "hall", "t20_s": 1.5}


def test_files_of_one_stem_in_two_formats_keep_apart_by_their_ids(tmp_path):
    sound(tmp_path / "tree/noise/a.wav")
    sound(tmp_path / "tree/noise/a.flac")
    rows = built(tmp_path / "tree", tmp_path / "out")
    assert {row["id"] for row in rows.values()} == {"noise/a.wav", "noise/a.flac"}


def test_a_file_without_a_role_is_an_error_that_names_it_and_the_option(tmp_path):
    sound(tmp_path / "tree/stuff/a.wav")
    with pytest.raises(ValueError, match=r"stuff/a\.wav: what role\?.*--role"):
        built(tmp_path / "tree", tmp_path / "out")
    assert built(tmp_path / "tree", tmp_path / "out", role="noise")["stuff/a.wav"]["role"] == "noise"


def test_the_roots_own_name_can_be_the_role(tmp_path):
    sound(tmp_path / "speech/carl/a.wav")
    row = built(tmp_path / "speech", tmp_path / "out")["carl/a.wav"]
    assert (row["role"], row["speaker"]) == ("speech", "carl")


def test_audio_of_other_kinds_goes_to_quarantine(tmp_path):
    sound(tmp_path / "tree/noise/a.wav")
    text(tmp_path / "tree/noise/b.m4a", "not looked at")
    rows = built(tmp_path / "tree", tmp_path / "out", max_reject_share=0.5)
    assert list(rows) == ["noise/a.wav"]
    assert 'noise/b.m4a,unsupported,"decode it' in (tmp_path / "out/quarantine.csv").read_text()


def test_a_damaged_sidecar_is_an_error_that_names_it(tmp_path):
    sound(tmp_path / "tree/noise/a.wav")
    text(tmp_path / "tree/noise/a.json", "{")
    with pytest.raises(ValueError, match=r"noise/a\.json: not a JSON object"):
        built(tmp_path / "tree", tmp_path / "out")
