import pytest

from infra.command_line import ShardsFailed, TooManyRejects
from pipelines.shard_job import Job, Tally, _hold_to_limit, settle, shard_task


def rejects(count: int) -> list[dict]:
    return [{"path": f"a{n}.flac", "reason": "missing", "detail": "no file"} for n in range(count)]


def test_a_few_rejects_say_nothing_many_stop_the_run():
    _hold_to_limit(Tally(examples=0, rejects=rejects(5)), 0.05)
    _hold_to_limit(Tally(examples=190, rejects=rejects(10)), 0.05)
    with pytest.raises(TooManyRejects, match=r"a0\.flac: missing") as error:
        _hold_to_limit(Tally(examples=180, rejects=rejects(10)), 0.05)
    assert "10 of 190" in str(error.value)


def test_failed_shards_are_named():
    settle(Tally(), asked=9)
    with pytest.raises(ShardsFailed, match=r"1 of 9 shards") as error:
        settle(Tally(failures=["shard-000003.tar: LabelError: snr_db"]), asked=9)
    assert "shard-000003.tar: LabelError: snr_db" in str(error.value)
    assert (error.value.exit_code, TooManyRejects.exit_code) == (4, 3)


def test_a_worker_with_other_code_refuses(tmp_path):
    job = Job(None, None, str(tmp_path), str(tmp_path), code="another")
    with pytest.raises(RuntimeError, match="the driver another: check out the same"):
        shard_task._function(job, 0, False)
    assert list(tmp_path.iterdir()) == []
