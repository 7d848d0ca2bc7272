"""PromQL read by a parser: which metrics an expression names."""

import re

import promql_parser

# Of Ray and of kube-state-metrics; a test of a real Ray looks for the first ones, but for GPUs, which it may not have.
RAY = {
    *("ray_cluster_active_nodes", "ray_node_cpu_utilization", "ray_node_disk_utilization_percentage", "ray_node_mem_total"),
    *("ray_node_mem_used", "ray_node_network_send_speed", "ray_object_store_used_memory"),
}
RAY_WITH_GPUS = {"ray_node_gpus_utilization"}
KUBERNETES = {"kube_cronjob_status_last_successful_time", "kube_job_status_failed"}
NAME = re.compile(r"\b(?:ray|kube)_[a-z0-9_]+")


def metrics_of(expression: str) -> set[str]:
    """ValueError for what is no PromQL."""
    promql_parser.parse(re.sub(r"\$\w+", "x", expression))
    labels_gone = re.sub(r"\b(?:by|on)\s*\([^)]*\)", "", expression)
    return set(NAME.findall(labels_gone))


def series_of(name: str, kind: str) -> set[str]:
    """What Prometheus sees of a metric of infra/metrics.py."""
    endings = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
    return {f"ray_{name}{ending}" for ending in endings}
