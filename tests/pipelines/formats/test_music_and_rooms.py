import json

import pytest

from pipelines.corpus import TooManyRejects
from tests.pipelines.formats.conftest import built, sound, text


def test_musdb18_stems_of_a_track_stay_together(tmp_path):
    root = tmp_path / "musdb18hq"
    tracks = {"train": ("A - One", "ANiMAL - Rockshow"), "test": ("B - Two",)}
    for part, names in tracks.items():
        for name in names:
            for stem in ("mixture", "vocals", "drums", "bass", "other"):
                sound(root / part / name / f"{stem}.wav", channels=2, rate_hz=44100)
    rows = built(root, tmp_path / "out")
    assert len(rows) == 15
    splits = {row["group"]: row["split"] for row in rows.values()}
    assert splits == {"musdb18-A - One": "train", "musdb18-ANiMAL - Rockshow": "valid", "musdb18-B - Two": "test"}
    assert {row["label"] for row in rows.values()} == {"music", "vocals", "drums", "bass", "other"}
    assert {(row["role"], row["num_channels"]) for row in rows.values()} == {("music", 2)}


def test_musdb18_stem_files_are_refused_with_the_way_out(tmp_path):
    root = tmp_path / "musdb18"
    text(root / "train/A - One.stem.mp4", "packed")
    with pytest.raises(TooManyRejects, match=r"1 of 1 files cannot serve \(unsupported 1\)"):
        built(root, tmp_path / "out")
    assert "musdbconvert" in (tmp_path / "out/quarantine.csv").read_text()


def test_dns_trees_give_roles_and_the_speakers_that_file_names_tell(tmp_path, capsys):
    root = tmp_path / "datasets_fullband"
    clean = root / "clean_fullband"
    speakers = {
        "read_speech/book_00000_chp_0009_reader_06709_0_seg_1.wav": "dns-06709",
        "vctk_wav48_silence_trimmed/p225/p225_001_mic1.wav": "dns-p225",
        "french_speech/M-AILABS/female/ezwa/book/wavs/x_1.wav": "dns-ezwa",
        "emotional_speech/crema_d/1001_DFA_ANG_XX.wav": "dns-1001",
        "VocalSet_48kHz_mono/f1_arpeggios_belt_c_a.wav": "dns-f1",
        "spanish_speech/unknown.wav": "",
    }
    for name in speakers:
        sound(clean / name, rate_hz=48000)
    sound(root / "noise_fullband/-0A1b2C3d4E.wav")
    sound(root / "noise_fullband/door_Freesound_validated_1_2.wav")
    sound(root / "impulse_responses/SLR26/simulated_rirs_48k/Room001-00001.wav")
    rows = built(root, tmp_path / "out", layout="dns", licence="mixed")
    assert {
        path.removeprefix("clean_fullband/"): row["speaker"] for path, row in rows.items() if row["role"] == "speech"
    } == speakers
    assert rows["noise_fullband/-0A1b2C3d4E.wav"]["group"] == "youtube--0A1b2C3d4E"
    assert rows["impulse_responses/SLR26/simulated_rirs_48k/Room001-00001.wav"]["role"] == "rir"
    assert "1 speech files do not name their speaker" in capsys.readouterr().out


def test_wham_noise_keeps_its_splits_and_its_source_recordings(tmp_path):
    root = tmp_path / "wham_noise"
    for part in ("tr", "cv", "tt"):
        for take in range(2):
            sound(root / f"{part}/{part}{take}.wav", channels=2, rate_hz=16000)
        header = "utterance_id,Noise Band,File ID,L to R Width (cm),Reverberation Level,Location ID"
        text(root / f"metadata/noise_meta_{part}.csv", f"{header}\n{part}0.wav,1,F{part},16,h,L1\n")
    rows = built(root, tmp_path / "out")
    assert {path[:2]: row["split"] for path, row in rows.items()} == {"tr": "train", "cv": "valid", "tt": "test"}
    assert (rows["tr/tr0.wav"]["group"], rows["tr/tr1.wav"]["group"]) == ("wham-Ftr", "tr/tr1")
    assert json.loads(rows["tr/tr0.wav"]["labels"]) == {"location": "L1", "reverberation": "h"}
    assert {row["role"] for row in rows.values()} == {"noise"}


def test_slr28_tells_rooms_and_noises_apart(tmp_path):
    root = tmp_path / "RIRS_NOISES"
    real = root / "real_rirs_isotropic_noises"
    for take in (1, 2):
        sound(root / f"simulated_rirs/smallroom/Room001/Room001-0000{take}.wav")
        sound(real / f"RVB2014_type1_rir_largeroom1_{take}.wav", channels=2)
    sound(real / "RVB2014_type1_noise_largeroom1_1.wav")
    sound(root / "pointsource_noises/noise-free-sound-0000.wav")
    line = "--rir-id {0} --room-id RVB_largeroom1 RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_{0}.wav\n"
    text(real / "rir_list", line.format(1) + line.format(2))
    text(
        real / "noise_list",
        "--noise-id 9 --noise-type isotropic --room-linkage RVB_largeroom1"
        " RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav\n",
    )
    rows = built(root, tmp_path / "out")
    simulated = [row for path, row in rows.items() if path.startswith("simulated")]
    assert {(row["role"], row["group"]) for row in simulated} == {("rir", "slr28-smallroom/Room001")}
    linked = {row["role"] for row in rows.values() if row["group"] == "slr28-RVB_largeroom1"}
    assert linked == {"rir", "noise"}
    assert rows["pointsource_noises/noise-free-sound-0000.wav"]["role"] == "noise"
    assert len({row["split"] for row in rows.values() if row["group"] == "slr28-RVB_largeroom1"}) == 1
