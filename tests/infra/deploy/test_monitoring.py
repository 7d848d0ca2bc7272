import pytest

from infra.deploy.monitoring import RUNNING, rules
from infra.metrics import METRICS
from tests.infra.deploy.expressions import KUBERNETES, RAY, metrics_of, series_of
from tests.infra.deploy.rendered import FULL, of_kind, pods
from tests.infra.test_metrics import calls

ALERTS = [rule for group in rules(FULL)["spec"]["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_promql_on_metrics_that_the_code_exports(alert):
    exported = {series for name in calls() if calls()[name] for series in series_of(name, METRICS[name].kind)}
    named = metrics_of(alert["expr"])
    assert named and named <= exported | RAY | KUBERNETES
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert alert["annotations"]["summary"]


def test_what_the_last_step_left_is_alarming_only_while_training_runs():
    gauges = {
        f"ray_{name}" for name, metric in METRICS.items() if name.startswith("quarkline_train_") and metric.kind == "gauge"
    }
    about_now = [alert for alert in ALERTS if metrics_of(alert["expr"]) & gauges]
    assert {alert["alert"] for alert in about_now} >= {"QuarklineTrainingStands", "QuarklineLowUse"}
    for alert in about_now:
        value, _, condition = alert["expr"].partition(" and ")
        assert condition == RUNNING and "ray_quarkline_train_running" not in value


def test_a_worker_that_was_killed_does_not_stand_for_a_run_that_goes_on():
    """Ray names the worker in each series, and those of a dead one stay for a while."""
    (stands,) = [alert for alert in ALERTS if alert["alert"].endswith("TrainingStands")]
    assert stands["expr"].startswith("max by (namespace, ray_io_cluster, run) (changes(")


def test_the_parser_can_refuse():
    with pytest.raises(ValueError):
        metrics_of("sum by (a (x)")
    with pytest.raises(ValueError):
        metrics_of("rate(ray_x)")  # an instant vector


def test_names_of_alerts_are_unique_and_the_schedule_s_names_are_its_own():
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    (cron,) = of_kind(FULL, "CronJob")
    (late,) = [alert for alert in ALERTS if alert["alert"].endswith("RetrainLate")]
    assert f'cronjob="{cron["metadata"]["name"]}"' in late["expr"]
    assert 'namespace="audio"' in late["expr"]


def test_the_pod_monitor_finds_the_port_of_every_ray_pod():
    (monitor,) = of_kind(FULL, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["audio"]}
    for where, pod in pods(FULL):
        if "GroupSpec" in where:
            names = [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
            assert endpoint["port"] in names, where
