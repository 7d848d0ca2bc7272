"""Files and folders through a model: tree, rates, channels and lengths stay; what cannot be used is named, the rest done."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from infra.command_line import ShardsFailed
from infra.storage import StorageError
from pipelines.generation import Options
from pipelines.infer import Infer, infer, main
from pipelines.long_audio import Windowing
from tests.codec.samples import noises
from tests.pipelines.conftest import command, contents, finished
from tests.pipelines.model_bundles import make_bundle

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "corpus" / "speech"
OPTIONS = Options(windowing=Windowing(1.0, 0.2, 0.04), max_output_s=1.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    return str(make_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Files of several formats, rates, numbers of channels and lengths."""
    place = tmp_path / "in"
    for number, (name, rate_hz, channels, num_samples) in enumerate(
        [
            ("a.wav", 16000, 1, 20001),
            ("deep/b.flac", 44100, 2, 30000),
            ("deep/er/c.ogg", 8000, 1, 12345),
            ("d.mp3", 48000, 2, 9999),
        ]
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / name, noises(channels, num_samples, number).numpy().T, rate_hz)
    (place / "notes.txt").write_text("not audio")
    return place


def config(bundle: str, **options) -> Infer:
    return Infer(**{"model": bundle, "options": OPTIONS, **options})


def facts(place: Path) -> dict[str, tuple[int, int, int]]:
    """Rate, channels and samples of each file."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3"):
            info = soundfile.info(path)
            found[path.relative_to(place).as_posix()] = (info.samplerate, info.channels, info.frames)
    return found


def samples(place: Path) -> dict[str, list]:
    return {name: soundfile.read(place / name)[0].tolist() for name in facts(place)}


def test_a_folder_comes_out_with_its_tree_rates_channels_and_lengths(bundle, folder, tmp_path):
    assert infer("sr", config(bundle, input=str(folder), out=str(tmp_path / "out"))) == []
    assert facts(tmp_path / "out") == facts(folder)
    assert len(list((tmp_path / "out").rglob("*.*"))) == 4


def test_a_file_is_the_same_audio_alone_and_in_a_folder(bundle, folder, tmp_path):
    drawn = Options(seed=5, temperature=1.0, windowing=OPTIONS.windowing)
    infer("sr", config(bundle, input=str(folder), out=str(tmp_path / "out"), options=drawn))
    infer("sr", config(bundle, input=str(folder / "a.wav"), out=str(tmp_path / "alone.wav"), options=drawn))
    assert (tmp_path / "alone.wav").read_bytes() == (tmp_path / "out" / "a.wav").read_bytes()


def test_a_rerun_does_what_is_missing_and_again_does_all(bundle, folder, tmp_path, capsys):
    out, wanted = tmp_path / "out", config(bundle, input=str(folder), out=str(tmp_path / "out"))
    infer("sr", wanted)
    before, sound = contents(out), samples(out)
    (out / "a.wav").unlink()
    (out / "d.mp3").write_bytes(b"kept as it is")
    infer("sr", wanted)
    assert "3 of 4 are there already" in capsys.readouterr().out
    assert contents(out)["a.wav"] == before["a.wav"] and (out / "d.mp3").read_bytes() == b"kept as it is"
    infer("sr", config(bundle, input=str(folder), out=str(out), again=True))
    assert samples(out) == sound  # not the bytes: an OGG file has a random serial number


def test_bad_files_are_named_and_the_others_done(bundle, folder, tmp_path):
    soundfile.write(folder / "nan.wav", np.full(1000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(folder / "silent.wav", np.zeros(1000), 16000)
    soundfile.write(folder / "nothing.wav", np.zeros(0), 16000)
    (folder / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:-100])
    (folder / "no.flac").write_bytes(b"no audio")
    soundfile.write(folder / "long.flac", np.full(8000 * 121, 0.1), 8000)
    words = ["sr", "--input", str(folder), "--out", str(tmp_path / "out"), "--model", bundle, "--max-minutes", "2"]
    with pytest.raises(ShardsFailed) as caught:
        main(words)
    assert caught.value.exit_code == 4
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("6 files could not be used, the others are done")
    for name, said in (
        ("cut.wav", "truncated"),
        ("long.flac", "2 minutes; at most 2 are taken"),
        ("nan.wav", "not finite"),
        ("no.flac", "cannot be decoded"),
        ("nothing.wav", "zero length"),
        ("silent.wav", "silent"),
    ):
        assert sum(f"/{name}: " in line and said in line for line in lines) == 1, (name, lines)
    assert set(facts(tmp_path / "out")) == {"a.wav", "d.mp3", "deep/b.flac", "deep/er/c.ogg"}


def test_speakers_get_a_file_each(bundle, folder, tmp_path):
    for number, options in enumerate((OPTIONS, Options(chained=True, windowing=OPTIONS.windowing))):
        out = tmp_path / str(number) / "x.wav"
        infer("ss", config(bundle, input=str(folder / "a.wav"), out=str(out), options=options))
        assert facts(out.parent) == {f"x-speaker{speaker}.wav": (16000, 1, 20001) for speaker in (1, 2)}


def test_references_come_from_one_file_or_from_a_folder_of_the_same_tree(bundle, folder, tmp_path):
    voices = tmp_path / "voices"
    (voices / "deep").mkdir(parents=True)
    soundfile.write(voices / "a.flac", noises(1, 16000, 8)[0].numpy(), 16000)  # of another format than the input
    soundfile.write(voices / "deep" / "b.wav", noises(1, 16000, 9)[0].numpy(), 16000)
    failures = infer("tse", config(bundle, input=str(folder), out=str(tmp_path / "each"), reference=str(voices)))
    assert [line.split(": ")[0].rpartition("/")[2] for line in failures] == ["d.mp3", "c.ogg"]
    assert set(facts(tmp_path / "each")) == {"a.wav", "deep/b.flac"}
    one = config(bundle, input=str(folder), out=str(tmp_path / "one"), reference=str(voices / "a.flac"))
    assert infer("tse", one) == [] and facts(tmp_path / "one") == facts(folder)
    assert (tmp_path / "one" / "a.wav").read_bytes() == (tmp_path / "each" / "a.wav").read_bytes()
    assert (tmp_path / "one" / "deep/b.flac").read_bytes() != (tmp_path / "each" / "deep/b.flac").read_bytes()


@pytest.mark.filterwarnings("ignore:.*did not end by itself")
def test_texts_make_and_change_audio(bundle, folder, tmp_path):
    infer("tta", config(bundle, text="Rain on a roof.", out=str(tmp_path / "rain.wav")))
    assert soundfile.info(tmp_path / "rain.wav").samplerate == 16000
    failures = infer("event_edit", config(bundle, input=str(folder), out=str(tmp_path / "out"), text="Add a dog."))
    assert len(failures) == 2 and all("takes at most 1 s at once" in line for line in failures)
    assert {name: found[:2] for name, found in facts(tmp_path / "out").items()} == {
        "d.mp3": (48000, 2),
        "deep/b.flac": (44100, 2),
    }


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sr", {"model": ""}, "--model is missing"),
        ("sr", {"out": ""}, "--out is missing"),
        ("sr", {"input": ""}, "input missing.*--input"),
        ("tse", {}, "reference missing.*--reference"),
        ("lass", {}, "text missing.*--text"),
        ("lass", {"text": ""}, "the text is empty"),
        ("sr", {"text": "x"}, "no use for text"),
        ("sr", {"out": "s3://bucket/out"}, "local files or folders"),
        ("sr", {"out": "in/out"}, "is in the input"),
        ("sr", {"out": "out.wav"}, "the input is a folder"),
        ("sr", {"input": "in/a.wav", "out": "in/a.wav"}, "is the input"),
        ("sr", {"input": "in/a.wav", "out": "x.doc"}, r"one of \.wav"),
        ("tse", {"reference": "in/silent.wav"}, r"silent\.wav: silent"),
        ("sr", {"input": "in/silent.wav", "out": "x.wav"}, r"silent\.wav: silent"),
        ("sr", {"input": "in/a.wav", "out": "x.opus", "again": True}, None),
    ],
)
def test_what_is_wrong_with_a_command_is_said(bundle, folder, tmp_path, monkeypatch, name, options, said):
    monkeypatch.chdir(tmp_path)
    soundfile.write(folder / "silent.wav", np.zeros(1000), 16000)
    wanted = config(bundle, **{"input": "in", "out": "out"} | options)
    if said is None:
        infer(name, wanted)
        assert facts(tmp_path)["x.opus"] == (16000, 1, 20001)
        return
    with pytest.raises(ValueError, match=said):
        infer(name, wanted)
    assert not Path("out").exists()


def test_places_that_are_not_there_are_named(bundle, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--input .*none"):
        infer("sr", config(bundle, input=str(tmp_path / "none"), out="x.wav"))
    with pytest.raises(FileNotFoundError, match=r"--reference .*none"):
        infer("tse", config(bundle, input=str(folder), out="x", reference=str(tmp_path / "none")))
    with pytest.raises(FileNotFoundError, match=r"no bundle\.json"):
        infer("sr", config(str(tmp_path), input=str(folder), out=str(tmp_path / "x")))


def test_an_output_that_cannot_be_written_stops_the_run(bundle, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").write_text("in the way")
    with pytest.raises(StorageError, match="choose a place that can be written"):
        infer("sr", config(bundle, input=str(folder), out=str(tmp_path / "out")))


@pytest.mark.slow
def test_the_command_ends_with_the_codes_of_the_house(bundle, folder, tmp_path):
    words = ("pipelines.infer", "sr", "--model", bundle, "--window-s", 2)
    code, output = finished(command(*words, "--input", folder / "a.wav", "--out", tmp_path / "a.wav", "--seed", 3))
    assert code == 0 and facts(tmp_path)["a.wav"] == (16000, 1, 20001), output
    (folder / "bad.wav").write_bytes(b"")
    code, output = finished(command(*words, "--input", folder / "bad.wav", "--out", tmp_path / "b.wav"))
    assert code == 2 and "bad.wav: an empty file" in output, output
    code, output = finished(command(*words, "--input", folder, "--out", tmp_path / "out"))
    assert code == 4 and "1 files could not be used" in output and "bad.wav" in output, output


@pytest.mark.skipif(not REAL.is_dir(), reason="no shared corpus")
def test_real_recordings_keep_their_form(bundle, tmp_path):
    clips = [path for path in sorted(REAL.rglob("*")) if path.suffix in (".wav", ".flac", ".ogg", ".mp3")]
    for number, path in enumerate(clips[:: max(1, len(clips) // 3)][:3]):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "in" / f"{number}{path.suffix}")
    assert infer("sr", config(bundle, input=str(tmp_path / "in"), out=str(tmp_path / "out"))) == []
    assert facts(tmp_path / "out") == facts(tmp_path / "in") and facts(tmp_path / "in")
