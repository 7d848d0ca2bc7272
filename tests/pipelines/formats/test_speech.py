import json

import pytest

from tests.pipelines.formats.conftest import built, sound, text


@pytest.fixture
def librispeech(tmp_path):
    root = tmp_path / "LibriSpeech"
    for subset, reader in (("train-clean-100", 14), ("dev-clean", 27), ("test-other", 33)):
        for utterance in range(2):
            sound(root / f"{subset}/{reader}/5/{reader}-5-{utterance:04d}.flac", rate_hz=16000)
        text(root / f"{subset}/{reader}/5/{reader}-5.trans.txt", f"{reader}-5-0000 ONE OF {reader}\n{reader}-5-0001 TWO\n")
    text(
        root / "SPEAKERS.TXT",
        ";ID |SEX| SUBSET |MINUTES| NAME\n14  | F | train-clean-100 | 25.03 | Some Name\n27 | M | dev-clean | 8 | X\n",
    )
    return root


def test_librispeech_gives_readers_transcripts_and_its_own_splits(librispeech, tmp_path):
    rows = built(librispeech, tmp_path / "out")
    assert len(rows) == 6
    first = rows["train-clean-100/14/5/14-5-0000.flac"]
    assert (first["role"], first["speaker"], first["text"]) == ("speech", "librispeech-14", "ONE OF 14")
    assert first["group"] == first["speaker"]
    assert json.loads(first["labels"]) == {"lang": "en", "gender": "f"}
    assert {row["speaker"]: row["split"] for row in rows.values()} == {
        "librispeech-14": "train",
        "librispeech-27": "valid",
        "librispeech-33": "test",
    }
    assert {row["licence"] for row in rows.values()} == {"CC BY 4.0"}


def test_one_subset_of_librispeech_alone_keeps_its_split(librispeech, tmp_path):
    rows = built(librispeech / "test-other", tmp_path / "out")
    assert {row["split"] for row in rows.values()} == {"test"}


def test_vctk_gives_speakers_texts_and_one_microphone(tmp_path, capsys):
    root = tmp_path / "VCTK-Corpus-0.92"
    for mic in (1, 2):
        sound(root / f"wav48_silence_trimmed/p225/p225_001_mic{mic}.flac", rate_hz=48000)
    sound(root / "wav48_silence_trimmed/p226/p226_002_mic1.flac", rate_hz=48000)
    text(root / "txt/p225/p225_001.txt", "Please call Stella.\n")
    text(root / "speaker-info.txt", "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \np225  23  F    English    Southern  England\n")
    rows = built(root, tmp_path / "out")
    assert len(rows) == 2
    first = rows["wav48_silence_trimmed/p225/p225_001_mic1.flac"]
    assert (first["speaker"], first["text"], first["sample_rate_hz"]) == ("vctk-p225", "Please call Stella.", 48000)
    assert json.loads(first["labels"]) == {"lang": "en", "age": "23", "gender": "f", "accent": "English"}
    assert rows["wav48_silence_trimmed/p226/p226_002_mic1.flac"]["text"] == ""
    assert "1 files of the second microphone are left out" in capsys.readouterr().out


def test_the_old_vctk_layout_is_read_too(tmp_path):
    root = tmp_path / "VCTK-Corpus"
    sound(root / "wav48/p225/p225_001.wav")
    text(root / "txt/p225/p225_001.txt", "Please call Stella.")
    text(root / "speaker-info.txt", "ID  AGE  GENDER  ACCENTS  REGION \n225  23  F    English    Southern  England\n")
    row = built(root, tmp_path / "out")["wav48/p225/p225_001.wav"]
    assert (row["speaker"], row["text"], json.loads(row["labels"])["gender"]) == ("vctk-p225", "Please call Stella.", "f")
