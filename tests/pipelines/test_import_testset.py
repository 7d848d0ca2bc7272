import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from infra.dataset import open_dataset
from infra.storage import open_store
from pipelines.evaluate import Evaluate, held_out
from pipelines.evaluation_cases import cases
from pipelines.import_testset import ImportTestset, import_testset, main, summary
from pipelines.verify import Verify, check_dataset, verify
from tests.pipelines.conftest import contents
from tests.pipelines.testsets.conftest import Made

REAL = Path(__file__).parents[3] / "shared" / "corpus" / "pairs" / "SR"


def demand(folder: Path, count: int = 5) -> Made:
    made = Made(folder)
    for number in range(count):
        made.sounds(f"clean_testset_wav/p232_{number:03d}.wav", f"noisy_testset_wav/p232_{number:03d}.wav")
    made.sounds("clean_testset_wav/p257_900.wav")  # without its noisy one
    made.text("log_testset.txt", "p232_000 bus 2.5\n")
    return made


def config(made: Made, out: Path, **more) -> ImportTestset:
    return ImportTestset("vbd", str(made.folder), str(out), examples_per_shard=2, **more)


def heard(dataset) -> list:
    rows = dataset.manifest.to_pylist()
    parts = {shard: [row for row in rows if row["shard"] == shard] for shard in dict.fromkeys(row["shard"] for row in rows)}
    return [case for shard, part in parts.items() for case in cases(dataset, part, dataset.store.get(shard))]


def test_evaluation_takes_what_was_imported(tmp_path):
    (dataset,) = import_testset(config(demand(tmp_path / "set"), tmp_path / "out"))
    assert dataset.description["test_set"]["name"] == "VoiceBank+DEMAND"
    (held,) = held_out(Evaluate(model="none", data=str(tmp_path / "out")))
    assert held.description["id"] == dataset.description["id"]
    found = heard(held)
    assert len(found) == 5
    assert found[0].slices["noise"] == "bus"
    assert found[0].slices["snr_db"] == "0 to 5 dB"
    assert {one.cluster for one in found} == {"p232"}
    assert all(len(one.input) == len(one.targets[0]) == 8000 for one in found)


def test_verify_checks_an_imported_set_and_finds_a_wrong_label(tmp_path, capsys):
    (dataset,) = import_testset(config(demand(tmp_path / "set"), tmp_path / "out"))
    assert verify(Verify(out=dataset.store.url)) == 0
    assert check_dataset(dataset, Verify()) == []
    names = dataset.manifest.column_names
    values = dataset.manifest["requested_snr_db"].to_pylist()
    changed = dataset.manifest.set_column(names.index("requested_snr_db"), "requested_snr_db", [[9.0, *values[1:]]])
    assert any("requested_snr_db is 2.5" in line for line in check_dataset(replace(dataset, manifest=changed), Verify()))


def test_what_cannot_serve_is_in_the_quarantine_and_the_count_is_held_to_the_published_one(tmp_path):
    (dataset,) = import_testset(config(demand(tmp_path / "set"), tmp_path / "out"))
    (row,) = pd.read_csv(Path(dataset.store.url) / "quarantine.csv").to_dict("records")
    assert (row["source"], row["reason"], row["detail"]) == ("p257_900", "missing", "no input")
    said = summary(dataset)
    assert "warning: 5 of 824" in said
    assert "1 could not serve (missing 1)" in said


def test_a_rerun_makes_only_what_is_missing_and_the_same_bytes(tmp_path):
    made = demand(tmp_path / "set")
    (dataset,) = import_testset(config(made, tmp_path / "out"))
    place = Path(dataset.store.url)
    before = contents(place)
    for name in ("dataset.json", "manifest.parquet", "rows/shard-000001.json"):
        (place / name).unlink()
    kept = (place / "shard-000000.tar").stat().st_mtime_ns
    import_testset(config(made, tmp_path / "out", threads=1))
    assert contents(place) == before
    assert (place / "shard-000000.tar").stat().st_mtime_ns == kept


def test_a_set_with_other_files_is_another_dataset(tmp_path):
    made = demand(tmp_path / "set")
    (first,) = import_testset(config(made, tmp_path / "out"))
    made.sounds("noisy_testset_wav/p257_900.wav")
    (second,) = import_testset(config(made, tmp_path / "out"))
    assert first.store.url != second.store.url
    assert second.manifest.num_rows == first.manifest.num_rows + 1


@pytest.mark.parametrize(
    "more, message",
    [({"root": ""}, "needed"), ({"sample_rate_hz": 10}, "8000"), ({"condition": "x"}, "there are test")],
)
def test_mistakes_are_told(tmp_path, more, message):
    made = demand(tmp_path / "set", count=1)
    with pytest.raises(ValueError, match=message):
        import_testset(ImportTestset(**{"format": "vbd", "root": str(made.folder), "out": str(tmp_path)} | more))


@pytest.mark.parametrize("task", ["ss", "tse", "codec", "vc", "speech_edit", "lass"])
def test_every_task_is_heard_by_evaluation_as_it_was_meant(tmp_path, task):
    made, name = Made(tmp_path / "set"), "61-1-0001_121-2-0002"
    formats = {"ss": "libri2mix", "tse": "libri2mix", "codec": "librispeech-test", "vc": "vctk-vc"}
    formats |= {"speech_edit": "seed-tts-edit", "lass": "esc50-lass"}
    made.sounds(*(f"wav16k/min/test/{kind}/{name}.wav" for kind in ("mix_clean", "s1", "s2")))
    made.text("map_mixture2enrollment", f"{name} 61-1-0001 s2/{name}\n{name} 121-2-0002 s1/{name}\n")
    made.sounds("test-clean/61/1/61-1-0001.flac")
    made.text("test-clean/61/1/61-1.trans.txt", "61-1-0001 HELLO\n")
    made.sounds("wav48/p225/p225_001.wav", "wav48/p226/p226_001.wav", "wav48/p226/p226_002.wav")
    for utterance, text in (("p225_001", "Hello."), ("p226_001", "Hello."), ("p226_002", "Bye.")):
        made.text(f"txt/{utterance[:4]}/{utterance}.txt", text)
    made.text("edits.csv", "audio,instruction,target_transcript\n61-1-0001.flac,say bye,BYE\n")
    made.text("esc50_eval.csv", "idx,caption,src_wav,noise_wav\n0,dog,p225_001.wav,p226_001.wav\n")
    condition = {"ss": "ss_clean", "tse": "tse_clean"}.get(task, "")
    (dataset,) = import_testset(ImportTestset(formats[task], str(made.folder), str(tmp_path / "out"), condition))
    first = heard(dataset)[0]
    assert first.task == task
    assert first.domain == ("sound" if task == "lass" else "speech")
    expected = {
        "ss": (2, None, ("", "")),
        "tse": (1, None, ("",)),
        "codec": (1, None, ("HELLO",)),
        "vc": (1, None, ("Hello.",)),
        "speech_edit": (0, "say bye", ("BYE",)),
        "lass": (1, "dog", ("",)),
    }
    assert (len(first.targets), first.text, first.transcripts) == expected[task]
    assert (first.reference is not None) == (task in ("tse", "vc"))
    assert (first.input is None) == (task == "codec")


def test_two_files_of_one_name_give_one_example_and_a_line_in_the_quarantine(tmp_path):
    made = Made(tmp_path / "set")
    made.sounds("a/Yabcdefghijk.wav", "b/Yabcdefghijk.wav")
    (dataset,) = import_testset(ImportTestset("audioset-eval", str(made.folder), str(tmp_path / "out")))
    assert dataset.manifest["sources"].to_pylist() == [["a/Yabcdefghijk.wav"]]
    assert dataset.description["totals"]["rejects_by_reason"] == {"duplicate": 1}


@pytest.mark.skipif(not REAL.is_dir(), reason="the corpus with real VoiceBank+DEMAND pairs is not beside the checkout")
def test_real_pairs_of_voicebank_demand_are_imported_whole(tmp_path, capsys):
    for place in REAL.iterdir():
        for kind in ("clean", "noisy"):
            folder = tmp_path / f"set/{kind}_testset_wav"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(place / f"{kind}.flac", folder / f"{place.name.removeprefix('VBD_')}.flac")
    words = ["--format", "vbd", "--root", str(tmp_path / "set"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    (place,) = (tmp_path / "out").iterdir()
    found = heard(open_dataset(open_store(str(place))))
    assert len(found) == 6
    assert {one.cluster for one in found} == {"p287"}
    assert "warning: 6 of 824" in capsys.readouterr().out
