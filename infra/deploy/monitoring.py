"""What Prometheus collects, and when it calls a person. The metrics of the rules are those of infra/metrics.py, and a few of
Ray's own and of kube-state-metrics; a test holds them to what a real Ray shows."""

from infra.deploy.description import Description
from infra.deploy.pods import Manifest, metadata

PERIODS_MISSED_DAYS = 15  # without a retraining that has ended well
BY_TASK = "by (namespace, verb, task)"
BY_RUN = "(namespace, ray_io_cluster, run)"
# A process that goes on after its training (to evaluate) shows the last values for as long as it is there, a killed one for a
# minute: they say something about now only while training runs.
RUNNING = f"on {BY_RUN} (max by {BY_RUN} (ray_quarkline_train_running) == 1)"


def pod_monitor(description: Description) -> Manifest:
    """All nodes of all Ray clusters of the namespace. /metrics asks for no token: the network rules keep others away."""
    endpoint = {
        "port": "metrics",
        "path": "/metrics",
        "interval": "15s",
        "relabelings": [
            {"sourceLabels": ["__meta_kubernetes_pod_label_ray_io_cluster"], "targetLabel": "ray_io_cluster"},
            {"sourceLabels": ["__meta_kubernetes_pod_label_ray_io_node_type"], "targetLabel": "ray_io_node_type"},
        ],
        "metricRelabelings": [{"regex": "otel_scope_.*|SessionName", "action": "labeldrop"}],
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(description, f"{description.name}-ray", "monitoring"),
        "spec": {
            "namespaceSelector": {"matchNames": [description.namespace]},
            "selector": {"matchLabels": {"ray.io/is-ray-node": "yes"}},
            "podMetricsEndpoints": [endpoint],
        },
    }


def rules(description: Description) -> Manifest:
    """The alerts."""
    where = f'namespace="{description.namespace}"'
    cron = f'{where}, cronjob="{description.name}-retrain"'
    jobs = f'{where}, job_name=~"{description.name}-retrain-.+"'
    rejected, made = f"sum {BY_TASK} (rate(ray_quarkline_rejects_total[15m]))", "rate(ray_quarkline_examples_total[15m])"
    late = PERIODS_MISSED_DAYS * 86400
    alerts = [
        _alert("ShardsFail", 'increase(ray_quarkline_shards_total{state="failed"}[15m]) > 0', "0m", _FAILED),
        _alert("TooManyRejects", f"{rejected} / (sum {BY_TASK} ({made}) + {rejected}) > 0.05", "15m", _REJECTS),
        _alert(
            "TrainingStands",
            f"max by {BY_RUN} (changes(ray_quarkline_train_step[20m])) == 0 and {RUNNING}",
            *("10m", "{{ $labels.run }} has made no step for 20 minutes", "critical"),
        ),
        _alert("StepsSkipped", "increase(ray_quarkline_train_skipped_steps_total[10m]) > 5", "0m", _SKIPPED, "critical"),
        _alert("WaitsForData", f"rate(ray_quarkline_train_wait_seconds_total[15m]) > 0.3 and {RUNNING}", "30m", _WAITS),
        _alert(
            "CheckpointsFail",
            'increase(ray_quarkline_checkpoint_seconds_count{outcome="failed"}[30m]) > 0',
            *("0m", "{{ $labels.run }} could not save; training goes on, and more would be lost", "critical"),
        ),
        _alert("LowUse", f"ray_quarkline_train_mfu < 0.15 and {RUNNING}", "30m", _IDLE, "info"),
        _alert("MemoryShort", "ray_node_mem_used / ray_node_mem_total > 0.95", "5m", _MEMORY),
        _alert("DiskFull", "ray_node_disk_utilization_percentage > 90", "5m", "The disk of {{ $labels.pod }} is nearly full"),
        _alert("RetrainFails", f"kube_job_status_failed{{{jobs}}} > 0", "0m", _RETRAIN),
        _alert(
            "RetrainLate",
            f"time() - kube_cronjob_status_last_successful_time{{{cron}}} > {late}",
            *("1h", f"No retraining has ended well for {PERIODS_MISSED_DAYS} days"),
        ),
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(description, f"{description.name}-alerts", "monitoring"),
        "spec": {"groups": [{"name": description.name, "interval": "30s", "rules": alerts}]},
    }


_FAILED = "Shards of {{ $labels.task }} failed; a rerun tries them again"
_REJECTS = "More than 5 % of the draws of {{ $labels.task }} are thrown away: the corpus or the recipe has a fault"
_SKIPPED = "{{ $labels.run }} skips steps: something is not finite; its metrics.jsonl names the clips"
_IDLE = "{{ $labels.run }} uses little of its GPUs"
_MEMORY = "Ray will soon kill workers on {{ $labels.pod }}"
_RETRAIN = "{{ $labels.job_name }} has failed, with all retries"
_WAITS = "{{ $labels.run }} waits for data 30 % of its time: more loader processes, or storage nearer to it"


def _alert(name: str, expression: str, lasting: str, summary: str, severity: str = "warning") -> Manifest:
    return {
        "alert": f"Quarkline{name}",
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }
