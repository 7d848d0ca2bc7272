"""The limits of a run: each is its figure over its rate, and the one that binds first is named first."""

import pytest

from pipelines.bounds import MOST_EXAMPLES, ROWS_PER_S, TASKS_PER_S, num_datasets, show, simulation_bounds
from pipelines.plan import read_prices

TOTALS = {"core_hours": 320.0, "gigabytes": 22_500.0, "put_requests": 2_520_000.0, "shards": 1e6, "examples": 64e6}


def hours(nodes: int = 10, **changes: float) -> dict[str, float]:
    found = simulation_bounds(TOTALS | changes, nodes, read_prices("infra/prices.toml"), shard_s=1.0)
    assert [bound.hours for bound in found] == sorted((bound.hours for bound in found), reverse=True)
    return {bound.name: bound.hours for bound in found}


def test_each_limit_is_its_amount_over_its_rate():
    found = hours()
    assert found["processors"] == 1.0
    assert found["network out of the nodes"] == pytest.approx(22_500 * 8 / 125 / 3600)
    assert found["PUT requests on one prefix"] == pytest.approx(0.2)
    assert found["driver: shards given out"] == pytest.approx(1e6 / TASKS_PER_S / 3600)
    assert found["driver: rows into the manifest"] == pytest.approx(64e6 / ROWS_PER_S / 3600)


def test_more_nodes_move_what_nodes_do_and_not_what_the_driver_does():
    few, many = hours(10), hours(1000)
    for name in ("processors", "network out of the nodes"):
        assert many[name] == pytest.approx(few[name] / 100)
    for name in ("driver: shards given out", "driver: rows into the manifest", "PUT requests on one prefix"):
        assert many[name] == few[name]
    assert next(iter(few)) == "processors" and next(iter(many)) == "driver: shards given out"


def test_a_run_is_parted_where_its_manifest_would_be_too_large():
    assert num_datasets(1) == num_datasets(MOST_EXAMPLES) == 1
    assert num_datasets(72e6) == 72


def test_the_first_that_binds_is_printed_with_what_moves_it(capsys):
    show(simulation_bounds(TOTALS, 1000, read_prices("infra/prices.toml"), 1.0))
    assert "first bottleneck: driver: shards given out; moved by shards 54 x as large" in capsys.readouterr().out
    show(simulation_bounds(TOTALS | {"shards": 1e5}, 1000, read_prices("infra/prices.toml"), 1.0))
    assert "first bottleneck: driver: rows into the manifest; moved by 64 datasets" in capsys.readouterr().out
