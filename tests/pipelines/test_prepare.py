import csv
import hashlib
import io
import json
import math
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray
import soundfile
import soxr

from infra import corpus_manifest
from infra.command_line import TooManyRejects
from infra.corpus_manifest import Corpus
from infra.storage import open_store
from pipelines.check_audio import Reject
from pipelines.prepare import Prepare, encode, new_names, prepare, resampled
from pipelines.rendering import loader, render
from pipelines.simulate import Simulate, bank_of
from simulation.clips import read
from simulation.example import Clip
from simulation.registry import task
from tests.pipelines.conftest import command, contents, finished

REAL = Path(__file__).parents[2] / "../shared/corpus"
STEP = 2.0**-15


def noise(seconds: float, rate_hz: int, channels: int = 1, peak: float = 0.3) -> np.ndarray:
    """White, `(frames, channels)`, in steps of 16 bit."""
    seed = rate_hz + channels
    return np.rint(np.random.default_rng(seed).uniform(-peak, peak, (round(seconds * rate_hz), channels)) / STEP) * STEP


def tone(hz: float, seconds: float, rate_hz: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def encoded(audio: np.ndarray, rate_hz: int, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate_hz, **({"format": "WAV", "subtype": "FLOAT"} | options))
    return buffer.getvalue()


def write_source(folder: Path, files: dict[str, tuple[np.ndarray, int]], **columns: str) -> Path:
    """A corpus of these files, FLAC or WAV by their names, and 16 bit unless they are float WAV."""
    rows = []
    for path, (audio, rate_hz) in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, audio, rate_hz, subtype="FLOAT" if path.endswith(".wav") else "PCM_16")
        row = {"id": path, "path": path, "role": "noise", "licence": "CC0 1.0", "split": "train", "sample_rate_hz": rate_hz}
        row |= {"num_frames": len(audio), "num_channels": audio.shape[1] if audio.ndim == 2 else 1}
        rows.append(row | {"sha256": hashlib.sha256(place.read_bytes()).hexdigest()} | columns)
    corpus_manifest.write(pa.Table.from_pylist(rows), str(folder))
    return folder


def run(source: Path | str, out: Path | str, **options) -> Corpus:
    return prepare(Prepare(**{"corpus": str(source), "out": str(out), "workers": 0} | options))


def row_of(corpus: Corpus, key: str) -> dict:
    return {row["id"]: row for row in corpus.table.to_pylist()}[key]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Files above, at and below 16 kHz, mono and stereo."""
    files = {"high/a.flac": (noise(0.5, 48000), 48000), "stereo.flac": (noise(0.31, 44100, 2), 44100)}
    files |= {"at.flac": (noise(0.3, 16000), 16000), "low.flac": (noise(0.3, 11025), 11025)}
    return write_source(tmp_path_factory.mktemp("mixed"), files, label="hum", group="g", words='[["a", 0.0, 0.1]]')


@pytest.fixture(scope="module")
def made(mixed, tmp_path_factory) -> Corpus:
    return run(mixed, tmp_path_factory.mktemp("made") / "out")


@pytest.mark.parametrize("rate_hz", [16001, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("num_frames", [1, 7, 1000, 4099])
def test_a_file_gets_the_length_that_a_clip_of_it_promises(rate_hz, num_frames):
    clip = Clip("", "", "noise", rate_hz, 0, num_frames, "", "")
    audio = resampled(encoded(np.full(num_frames, 0.1), rate_hz), 16000)
    assert audio.shape == (clip.num_samples(16000), 1)


@pytest.mark.parametrize("rate_hz", [22050, 44100, 48000])
def test_resampling_has_no_lag(rate_hz):
    sound = soxr.resample(noise(1.0, 12000)[:, 0], 12000, rate_hz, quality="VHQ")  # nothing above 6 kHz
    at = np.interp(np.arange(16000) / 16000, np.arange(len(sound)) / rate_hz, sound)
    found = resampled(encoded(sound, rate_hz), 16000)[:, 0]
    assert np.argmax(np.correlate(found, at, "full")) == len(at) - 1


@pytest.mark.parametrize("hz", [50, 1000, 5000, 7000])
@pytest.mark.parametrize("rate_hz", [22050, 44100, 48000])
def test_a_tone_within_the_band_keeps_level_and_phase(hz, rate_hz):
    found = resampled(encoded(tone(hz, 0.5, rate_hz), rate_hz), 16000)[800:-800, 0]
    wanted = tone(hz, 0.5, 16000)[800:-800]
    assert abs(20 * math.log10(np.linalg.norm(found) / np.linalg.norm(wanted))) < 0.05
    assert np.abs(found - wanted).max() < 1e-3


def test_what_lies_above_the_new_band_does_not_fold_into_it():
    found = resampled(encoded(tone(10_000, 0.5, 48000), 48000), 16000)[800:-800]
    assert np.abs(found).max() < 1e-4


def test_a_file_that_is_decoded_block_by_block_is_the_one_decoded_at_once(monkeypatch):
    audio = noise(1.0, 44100, 2)
    monkeypatch.setattr("pipelines.prepare.FRAMES_PER_BLOCK", 1000)
    found = resampled(encoded(audio, 44100), 16000)
    assert np.array_equal(found[:-1], soxr.resample(audio.astype(np.float32), 44100, 16000, quality="VHQ")[: len(found) - 1])


def test_every_file_has_the_new_rate_and_what_the_manifest_says(made):
    for row in made.table.to_pylist():
        data = (Path(made.root) / row["path"]).read_bytes()
        info = soundfile.info(io.BytesIO(data))
        assert (info.samplerate, info.frames, info.channels) == (row["sample_rate_hz"], row["num_frames"], row["num_channels"])
        assert (info.format, info.subtype) == ("WAV", "PCM_16")
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
    found = {row["path"]: (row["sample_rate_hz"], row["num_frames"], row["num_channels"]) for row in made.table.to_pylist()}
    assert found["high/a.wav"] == (16000, 8000, 1)
    assert found["stereo.wav"] == (16000, 4960, 2)
    assert found["low.wav"][0] == 11025


@pytest.mark.parametrize("name", ["at", "low"])
@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_files_at_or_below_the_rate_keep_every_sample(mixed, tmp_path, name, audio_format):
    run(mixed, tmp_path / "out", audio_format=audio_format)
    before, rate_before_hz = soundfile.read(mixed / f"{name}.flac", dtype="int16")
    after, rate_after_hz = soundfile.read(tmp_path / f"out/{name}.{audio_format}", dtype="int16")
    assert (rate_after_hz, np.array_equal(before, after)) == (rate_before_hz, True)


def test_a_slice_reads_as_the_resampled_original_within_a_step(mixed, made):
    whole = soxr.resample(noise(0.31, 44100, 2).astype(np.float32), 44100, 16000, quality="VHQ").mean(axis=1)
    row = row_of(made, "stereo.flac")
    clip = Clip("", row["path"], "noise", 16000, 1000, 2000, "", row["sha256"])
    found = read(clip, open_store(made.root).local_path, 16000)
    assert np.abs(found[0] - whole[1000:3000]).max() <= STEP


def test_a_row_keeps_all_but_what_the_file_changes_and_names_its_source(mixed, made):
    before = corpus_manifest.read(str(mixed))
    changed = {"path", "labels", "sample_rate_hz", "num_frames", "num_channels", "sha256"}
    kept = [name for name in before.table.column_names if name not in changed]
    assert made.table.select(kept).equals(before.table.select(kept))
    for row in made.table.to_pylist():
        source = row_of(before, row["id"])
        lineage = {"sha256": source["sha256"], "sample_rate_hz": source["sample_rate_hz"]}
        assert json.loads(row["labels"]) == {"prepared_from": lineage}


def test_labels_licences_and_splits_are_kept(corpus, tmp_path):
    before = corpus_manifest.read(str(corpus))
    after = run(corpus, tmp_path / "out", sample_rate_hz=8000)
    for row in after.table.to_pylist():
        source = row_of(before, row["id"])
        labels = json.loads(row["labels"])
        del labels["prepared_from"]
        assert labels == json.loads(source["labels"] or "{}")
        assert (row["licence"], row["split"], row["text"]) == (source["licence"], source["split"], source["text"])


def test_the_corpus_names_its_parent_and_what_made_it(mixed, made):
    described = json.loads((Path(made.root) / "corpus.json").read_text())
    assert described["parents"]["corpus"]["id"] == corpus_manifest.read(str(mixed)).id
    assert described["recipe"] == {"sample_rate_hz": 16000, "audio_format": "wav", "quality": "VHQ"}
    assert described["libraries"]["soxr"] == soxr.__version__
    assert (described["files_checked"], described["rejects"], described["id"]) == (4, {}, made.id)


def test_what_overshoots_full_scale_is_attenuated_and_says_so(tmp_path):
    signs = np.sign(noise(0.5, 44100))
    loud = np.where(np.arange(len(signs))[:, np.newaxis] % 3, 0.99, 0.5) * signs
    source = write_source(tmp_path / "in", {"loud.flac": (loud, 44100), "calm.flac": (noise(0.5, 44100), 44100)})
    corpus = run(source, tmp_path / "out")
    gain_db = json.loads(row_of(corpus, "loud.flac")["labels"])["prepared_gain_db"]
    assert gain_db < -0.1
    found = soundfile.read(tmp_path / "out/loud.wav", always_2d=True)[0]
    assert 0.999 < np.abs(found).max() <= 1.0
    original = resampled((source / "loud.flac").read_bytes(), 16000)
    assert np.abs(original).max() > 1.0
    assert np.abs(found - original * 10 ** (gain_db / 20)).max() <= STEP
    assert "prepared_gain_db" not in row_of(corpus, "calm.flac")["labels"]


def test_full_scale_itself_is_not_attenuated():
    audio = np.array([[-1.0], [1.0], [0.5]], np.float32)
    found = soundfile.read(io.BytesIO(encode(audio, 16000, "wav", 16)), dtype="int16")[0]
    assert found.tolist() == [-32768, 32767, 16384]


def test_room_responses_are_stored_in_24_bit(tmp_path):
    tail = noise(0.2, 44100)[:, 0] * np.exp(-np.arange(8820) / 800)
    source = write_source(tmp_path / "in", {"room.wav": (tail, 44100)}, role="rir")
    for audio_format in ("wav", "flac"):
        run(source, tmp_path / audio_format, audio_format=audio_format)
        path = tmp_path / audio_format / f"room.{audio_format}"
        assert soundfile.info(path).subtype == "PCM_24"
        found = soundfile.read(path, dtype="float32")[0]
        assert np.abs(found - resampled((source / "room.wav").read_bytes(), 16000)[:, 0]).max() <= 2.0**-24


def test_the_same_corpus_gives_the_same_bytes(mixed, made, tmp_path):
    run(mixed, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(Path(made.root))


def test_a_rerun_makes_only_what_is_missing_or_broken(mixed, made, tmp_path):
    out = tmp_path / "out"
    run(mixed, out)
    whole = (out / "stereo.wav").read_bytes()
    (out / "manifest.parquet").unlink()
    (out / "at.wav").unlink()
    (out / "stereo.wav").write_bytes(whole[: len(whole) // 2])
    (out / "low.wav").write_bytes(b"no audio")
    kept = (out / "high/a.wav").stat()
    assert run(mixed, out).id == made.id
    assert contents(out) == contents(Path(made.root))
    assert (out / "high/a.wav").stat().st_ino == kept.st_ino


def test_a_rerun_of_what_was_attenuated_gives_the_same_id(tmp_path):
    source = write_source(tmp_path / "in", {"loud.wav": (noise(0.2, 16000, peak=1.5), 16000)})
    first = run(source, tmp_path / "out")
    assert "prepared_gain_db" in first.table["labels"][0].as_py()
    (tmp_path / "out/manifest.parquet").unlink()
    assert run(source, tmp_path / "out").id == first.id


def test_a_finished_corpus_is_used_again_unless_files_are_gone(mixed, made, tmp_path, capsys):
    out = tmp_path / "out"
    run(mixed, out)
    assert run(mixed, out).id == made.id
    assert "prepared before" in capsys.readouterr().out
    (out / "at.wav").unlink()
    assert run(mixed, out).id == made.id
    assert (out / "at.wav").exists()


def test_a_killed_run_leaves_no_corpus_and_the_next_one_ends_it(tmp_path):
    files = {f"{number:02d}.flac": (noise(0.1, 44100 + number), 44100 + number) for number in range(20)}
    source = write_source(tmp_path / "in", files | {"long.flac": (noise(20, 48000, 2), 48000)})
    out = tmp_path / "killed"
    process = command("pipelines.prepare", "--corpus", source, "--out", out, "--workers", 0)
    while not (out / "03.wav").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (out / "manifest.parquet").exists()
    assert run(source, out).id == run(source, tmp_path / "whole").id
    assert contents(out) == contents(tmp_path / "whole")


def test_files_that_cannot_serve_are_quarantined_with_their_reason(tmp_path):
    files = {f"{number}.flac": (noise(0.1, 44100 + number), 44100 + number) for number in range(6)}
    files |= {"bat.flac": (np.hanning(4410) * tone(15000, 0.1, 44100), 44100)}
    source = write_source(tmp_path / "in", files)
    (source / "0.flac").unlink()
    (source / "1.flac").write_bytes(b"no audio")
    (source / "2.flac").write_bytes((source / "3.flac").read_bytes())
    with pytest.raises(TooManyRejects, match=r"4 of 7 files .*more than --max-reject-share 0\.05.*quarantine\.csv names each"):
        run(source, tmp_path / "out")
    assert not (tmp_path / "out/manifest.parquet").exists()
    corpus = run(source, tmp_path / "out", max_reject_share=0.6)
    assert corpus.table["id"].to_pylist() == ["3.flac", "4.flac", "5.flac"]
    with open(tmp_path / "out/quarantine.csv") as file:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {"0.flac": "missing", "1.flac": "undecodable", "2.flac": "wrong_rate", "bat.flac": "silent"}


def test_the_command_ends_with_3_for_too_many_rejects_and_2_for_a_mistake(tmp_path):
    source = write_source(tmp_path / "in", {"a.flac": (noise(0.1, 44100), 44100)})
    (source / "a.flac").write_bytes(b"no audio")
    code, output = finished(command("pipelines.prepare", "--corpus", source, "--out", tmp_path / "out"))
    assert (code, "1 of 1 files cannot serve (undecodable 1)" in output, "Traceback" in output) == (3, True, False)
    code, output = finished(command("pipelines.prepare", "--corpus", source, "--sample-rate-hz", 16))
    assert (code, "give a rate in Hz" in output) == (2, True)


def test_two_sources_of_one_name_keep_apart():
    table = pa.table({"path": ["a/x.flac", "a/x.ogg", ".b/y.wav", "c.d/z", "é.mp3"], "id": list("12345")})
    names = new_names(table, "wav").to_pylist()
    assert names[2:] == ["_b/y.wav", "c.d/z.wav", "é.wav"]
    assert names[0] != names[1]
    assert all(name.startswith("a/x-") and name.endswith(".wav") for name in names[:2])


def test_a_folder_with_something_else_is_left_alone(mixed, made, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'notes\.txt' and no prepared corpus"):
        run(mixed, tmp_path)
    with pytest.raises(ValueError, match=r"another recipe\.sample_rate_hz, 16000 and not 8000.*choose another --out"):
        run(mixed, made.root, sample_rate_hz=8000)
    with pytest.raises(ValueError, match=r"holds|another"):
        run(mixed, mixed)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_labels_that_are_not_json_are_named_before_anything_is_done(tmp_path):
    source = write_source(tmp_path / "in", {"a.flac": (noise(0.1, 44100), 44100)}, labels="{label: hum}")
    with pytest.raises(ValueError, match=r"id 'a\.flac': labels are not a JSON object"):
        run(source, tmp_path / "out")


def test_more_channels_than_flac_holds_are_refused_with_the_remedy():
    with pytest.raises(Reject, match="--audio-format wav takes them"):
        encode(np.zeros((10, 9), np.float32), 16000, "flac", 16)
    assert soundfile.info(io.BytesIO(encode(np.zeros((10, 9), np.float32), 16000, "wav", 16))).channels == 9


def test_a_corpus_may_be_prepared_again(made, tmp_path):
    again = run(made.root, tmp_path / "out", sample_rate_hz=8000)
    row = row_of(again, "high/a.flac")
    assert json.loads(row["labels"])["prepared_from"]["sha256"] == row_of(made, "high/a.flac")["sha256"]
    assert row["num_frames"] == 4000


def test_simulate_draws_and_renders_from_it(corpus, tmp_path):
    prepared = run(corpus, tmp_path / "out", sample_rate_hz=8000)
    recipe = Simulate(task("sr").Config(duration_s=1.0), count=1, sample_rate_hz=8000).recipe("sr")
    bank = bank_of(prepared, recipe)
    load = loader(prepared.root, 8000)
    rendered = render(recipe, bank, load, 0)
    assert rendered.row["num_samples"] == 8000
    assert set(rendered.row["sources"]) <= set(corpus_manifest.read(str(corpus)).table["id"].to_pylist())


@pytest.mark.cluster
@pytest.mark.slow
def test_on_ray_it_is_the_same(mixed, made, tmp_path):
    was_up = ray.is_initialized()
    run(mixed, tmp_path / "out", workers=2)
    assert contents(tmp_path / "out") == contents(Path(made.root))
    if not was_up:
        ray.shutdown()


@pytest.mark.s3
def test_to_s3_and_from_it_it_is_the_same(mixed, made, tmp_path, s3):
    there = run(mixed, f"{s3}/prepared")
    assert (there.id, there.root) == (made.id, f"{s3}/prepared")
    store = open_store(f"{s3}/source")
    for path in mixed.rglob("*.*"):
        store.put(path.relative_to(mixed).as_posix(), path.read_bytes())
    back = run(f"{s3}/source", tmp_path / "back")
    assert back.table.equals(made.table)
    row = row_of(there, "stereo.flac")
    clip = Clip("", row["path"], "noise", 16000, 0, 4960, "", row["sha256"])
    assert read(clip, open_store(there.root).local_path, 16000).shape == (1, 4960)


def test_real_room_responses_are_prepared_whole(tmp_path, monkeypatch):
    if not REAL.is_dir():
        pytest.skip("no ../shared/corpus beside the repository")
    monkeypatch.chdir(tmp_path)
    corpus = run(REAL.resolve() / "rirs", tmp_path / "out")
    assert set(corpus.table["sample_rate_hz"].to_pylist()) == {16000}
    assert corpus.table.num_rows == len(list(REAL.glob("rirs/**/*.flac")))
    assert all("t20_s" in json.loads(labels) for labels in corpus.table["labels"].to_pylist())
