import json

import pytest

from infra.command_line import TooManyRejects
from training.data.quarantine import Quarantine, Rejected


def test_a_reject_has_one_row_however_often_it_is_met_and_restarted(tmp_path):
    path = tmp_path / "run" / "quarantine.jsonl"
    for _ in range(2):
        quarantine = Quarantine(100, 0.5, path)
        for _ in range(3):
            quarantine.add("corpus", 7, Rejected("silent", "peak 0", file="a.wav", key="a"))
        assert quarantine.reasons == {"silent": 1}
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"key": "a", "file": "a.wav", "reason": "silent", "detail": "peak 0"}
    ]


def test_a_row_that_a_kill_has_cut_does_no_harm(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    path.write_text('{"key": "a", "fi')
    Quarantine(100, 0.5, path).add("corpus", 7, Rejected("silent", "peak 0", file="a.wav", key="a"))
    assert json.loads(path.read_text().splitlines()[-1])["key"] == "a"


def test_a_lost_shard_is_one_row_and_counts_all_its_clips(tmp_path):
    quarantine = Quarantine(100, 0.5, tmp_path / "quarantine.jsonl")
    for clip in range(20):
        quarantine.add("dataset", clip, Rejected("changed", "other bytes", file="shard-000000.tar"))
    assert quarantine.reasons == {"changed": 20}
    assert len(quarantine.path.read_text().splitlines()) == 1


def test_more_than_the_share_of_distinct_clips_ends_the_run_with_counts_and_a_remedy(tmp_path):
    quarantine = Quarantine(40, 0.05, tmp_path / "quarantine.jsonl")
    for _ in range(5):  # the same two clips, epoch after epoch
        for clip in range(2):
            quarantine.add("corpus", clip, Rejected("missing", "no such file", file=f"{clip}.wav", key=str(clip)))
    with pytest.raises(
        TooManyRejects,
        match=r"3 of 40 clips cannot serve \(2 missing, 1 silent\).*c.wav: silent.*quarantine.jsonl.*option max-reject-share",
    ):
        quarantine.add("corpus", 2, Rejected("silent", "peak 0", file="c.wav", key="c"))
