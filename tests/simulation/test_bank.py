import numpy as np
import pyarrow as pa
import pytest

from simulation.bank import Bank
from simulation.seeds import Rng


def table(rows: list[dict]) -> pa.Table:
    blank = dict.fromkeys(("speaker", "group", "label", "text", "caption", "licence", "sha256"), "")
    full = [
        {"id": f"c{n}", "path": f"c{n}.flac", "sample_rate_hz": 16000, "num_frames": 48000} | blank | row
        for n, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(full)


def voices(*counts: int) -> list[dict]:
    """Speakers s0, s1 ... with so many clips each."""
    return [{"role": "speech", "speaker": f"s{n}", "text": "hello"} for n, count in enumerate(counts) for _ in range(count)]


def test_speakers_are_drawn_evenly_however_many_clips_they_have():
    bank = Bank(table(voices(1, 10, 100)), 16000)
    drawn = [bank.draw(Rng(0, "t", i)("voice"), "speech", 1.0).speaker for i in range(600)]
    assert all(150 < drawn.count(speaker) < 250 for speaker in ("s0", "s1", "s2"))


def test_excluded_groups_and_rows_never_come():
    bank = Bank(table(voices(2, 2, 2)), 16000)
    for i in range(50):
        generator = Rng(0, "t", i)("voice")
        group = bank.group(generator, "speech", min_clips=2, exclude={"s0", "s2"})
        assert bank.members["speech"].names[group] == "s1"
        assert bank.row(generator, "speech", group, exclude={2}) == 3


def test_a_lone_allowed_group_is_found_among_many():
    bank = Bank(table(voices(*[1] * 500, 2)), 16000)
    assert bank.members["speech"].names[bank.group(Rng(0, "t", 0)("v"), "speech", min_clips=2)] == "s500"


def test_nothing_left_is_an_error_with_a_remedy():
    bank = Bank(table(voices(1, 1)), 16000)
    with pytest.raises(ValueError, match="at least 2 clip"):
        bank.group(Rng(0, "t", 0)("v"), "speech", min_clips=2)
    with pytest.raises(ValueError, match="tse needs speech of at least 3 speaker"):
        bank.require("speech", "tse", 3)
    assert not bank.has("noise")


def test_sources_below_the_wanted_rate_are_left_out():
    rows = [*voices(1), {"role": "speech", "speaker": "wide", "sample_rate_hz": 48000}]
    assert Bank(table(rows), 48000, min_source_rate_hz=43200).members["speech"].names.tolist() == ["wide"]


def test_a_clip_is_a_stretch_inside_its_file():
    bank = Bank(table(voices(1)), 16000)
    starts = set()
    for i in range(100):
        clip = bank.draw(Rng(0, "t", i)("v"), "speech", 1.0)
        assert clip.num_frames == 16000
        assert 0 <= clip.start_frame <= 32000
        assert clip.text == ""  # a stretch does not say the whole sentence
        starts.add(clip.start_frame)
    assert len(starts) > 90
    whole = bank.draw(Rng(0, "t", 0)("v"), "speech", 10.0)
    assert (whole.start_frame, whole.num_frames, whole.text) == (0, 48000, "hello")


def test_recordings_group_noise_and_a_file_without_one_is_its_own():
    rows = [{"role": "noise", "group": "a"}, {"role": "noise", "group": "a"}, {"role": "noise"}, {"role": "noise"}]
    assert sorted(Bank(table(rows), 16000).members["noise"].sizes().tolist()) == [1, 1, 2]


def test_a_million_rows_cost_no_object_each():
    count = 10**6
    columns = {
        name: pa.array([""]).take(pa.array(np.zeros(count, int))) for name in ("text", "caption", "label", "licence", "sha256")
    }
    names = pa.array([f"s{n}" for n in range(1000)]).take(pa.array(np.arange(count) % 1000))
    big = pa.table(
        columns
        | {"id": names, "path": names, "speaker": names, "group": names}
        | {"role": pa.array(["speech"]).take(pa.array(np.zeros(count, int)))}
        | {"sample_rate_hz": np.full(count, 16000), "num_frames": np.full(count, 80000)}
    )
    bank = Bank(big, 16000)
    assert bank.members["speech"].num_groups == 1000
    assert bank.draw(Rng(0, "t", 1)("v"), "speech", 5.0).sample_rate_hz == 16000
