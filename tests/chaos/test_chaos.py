"""The faults of `make chaos` that nothing else in these tests makes, once each: nothing is lost, nothing doubled."""

import pytest

from tests.chaos.arena import Arena, Outcome
from tests.chaos.campaign import row
from tests.chaos.faults import SCENARIOS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    arena = Arena(tmp_path_factory.mktemp("arena"), count=24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield arena
        arena.close()


def assert_well(arena: Arena, name: str) -> None:
    try:
        outcome = SCENARIOS[name](arena, arena.folder / name)
    except OSError as error:
        if "mounting" in str(error):
            pytest.skip(str(error))
        raise
    assert outcome.is_well and outcome.present == outcome.expected, outcome


@pytest.mark.parametrize("name", ["checkpoint-killed", "checkpoint-disk-full"])
def test_a_save_that_is_killed_or_finds_no_space_costs_no_checkpoint(arena, name):
    assert_well(arena, name)


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["encode-disk-full"])
def test_work_that_loses_its_disk_goes_on(arena, name):
    assert_well(arena, name)


@pytest.mark.cluster
@pytest.mark.s3
def test_a_store_that_is_restarted_in_mid_run_is_waited_for(arena, s3, s3_server_at):
    arena.server, arena.bucket = s3_server_at, s3.removeprefix("s3://")
    try:
        assert_well(arena, "s3-restart")
    finally:
        if not s3_server_at.answers():
            s3_server_at.start_gateway()


def test_the_report_of_a_loss_is_not_well():
    good = Outcome("simulate", "node killed", 24, 24, 0, True, 1.5)
    bad = Outcome("simulate", "node killed", 24, 23, 1, False, 9.0)
    assert good.is_well and not bad.is_well
    assert row([good, bad]) == "simulate | node killed | 2 | 2 | 48 | 47 | 1 | 1 | 9.0 | NO"
