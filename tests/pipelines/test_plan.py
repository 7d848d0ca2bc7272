import pytest

from pipelines.plan import Measured, estimate, main, read_prices, with_changes
from pipelines.simulate import Simulate
from simulation.registry import task

ONE = Measured(cpu_s=0.01, num_bytes=200_000, duration_s=5.0, sources=2, num_rejects=0)


def totals(hours: float = 100.0, nodes: int = 10) -> dict[str, float]:
    recipe = Simulate(task("sr").Config()).recipe("sr")
    return estimate(ONE, recipe, hours, nodes, read_prices("infra/prices.toml"))


def test_the_plan_is_the_measurement_times_the_examples():
    plan = totals(hours=100)
    assert plan["examples"] == 72_000
    assert plan["shards"] == 1125
    assert plan["core_hours"] == pytest.approx(72_000 * 0.01 * 1.04 / 3600)
    assert plan["gigabytes"] == pytest.approx(14.4)


def test_twice_the_hours_cost_twice_and_twice_the_nodes_take_half_as_long():
    assert totals(200)["cost_compute"] == pytest.approx(2 * totals(100)["cost_compute"])
    assert totals(nodes=20)["wall_hours"] == pytest.approx(totals(nodes=10)["wall_hours"] / 2)


def test_a_price_file_is_checked(tmp_path):
    prices = tmp_path / "prices.toml"
    prices.write_text("cpu_core_hour = 1\n")
    with pytest.raises(ValueError, match="currency"):
        read_prices(str(prices))
    prices.write_text("cpu_core_hour = \n")
    with pytest.raises(ValueError, match=r"prices\.toml"):
        read_prices(str(prices))


def test_single_prices_are_replaced_and_unknown_ones_refused():
    prices = read_prices("infra/prices.toml")
    assert with_changes(prices, ("cpu_core_hour=0.5",)) == prices | {"cpu_core_hour": 0.5}
    for wrong in ("cpu_hour=1", "cpu_core_hour", "cpu_core_hour=much", "currency=1"):
        with pytest.raises(ValueError, match=f"--price {wrong}: give NAME=NUMBER"):
            with_changes(prices, (wrong,))


def test_a_few_examples_are_measured_and_multiplied(corpus, capsys):
    arguments = ["sr", "--run.corpus", str(corpus), "--run.task.duration-s", "1", "--measure", "8", "--hours", "10"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "x real time" in said
    assert "36,000.00" in said  # examples
    assert "first bottleneck: " in said
    with pytest.raises(ValueError, match="--hours"):
        main([*arguments, "--hours", "0"])
