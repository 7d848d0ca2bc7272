import pytest

from pipelines.shard_job import Tally, TooManyRejects, _hold_to_limit, report


def rejects(count: int) -> list[dict]:
    return [{"path": f"a{n}.flac", "reason": "missing", "detail": "no file"} for n in range(count)]


def test_a_few_rejects_say_nothing_many_stop_the_run():
    _hold_to_limit(Tally(examples=0, rejects=rejects(5)), 0.05)
    _hold_to_limit(Tally(examples=190, rejects=rejects(10)), 0.05)
    with pytest.raises(TooManyRejects, match="a0.flac: missing") as error:
        _hold_to_limit(Tally(examples=180, rejects=rejects(10)), 0.05)
    assert "10 of 190" in str(error.value)


def test_failed_shards_are_named(capsys):
    report(Tally(failures=["shard-000003.tar: LabelError: snr_db"]), asked=9)
    said = capsys.readouterr().err
    assert "shard-000003.tar" in said
    assert "1 of 9" in said
