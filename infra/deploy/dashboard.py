"""Our Grafana dashboard, beside those that Ray brings: what was made, how training goes, what the nodes do."""

import json
from typing import Any

from infra.deploy.description import Description
from infra.deploy.pods import Manifest, metadata

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3
WHERE = 'namespace="$namespace"'
RUN = f'{WHERE}, run=~"$run"'
STEP_TIME = "histogram_quantile({share}, sum by (run, le) (rate(ray_quarkline_train_step_seconds_bucket{{" + RUN + "}}[5m])))"

# Title, unit of Grafana's, and what is drawn: (PromQL, legend).
Panel = tuple[str, str, tuple[tuple[str, str], ...]]
SECTIONS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Simulate and encode",
        (
            (
                *("Examples", "cps"),
                ((f"sum by (verb, task) (rate(ray_quarkline_examples_total{{{WHERE}}}[5m]))", "{{verb}} {{task}}"),),
            ),
            (
                *("Times real time", "none"),
                ((f"sum by (verb, task) (rate(ray_quarkline_audio_seconds_total{{{WHERE}}}[5m]))", "{{verb}} {{task}}"),),
            ),
            (
                *("Shards in the last hour", "none"),
                ((f"sum by (verb, state) (increase(ray_quarkline_shards_total{{{WHERE}}}[1h]))", "{{verb}} {{state}}"),),
            ),
            (
                *("Rejects by reason", "cps"),
                ((f"sum by (reason) (rate(ray_quarkline_rejects_total{{{WHERE}}}[5m]))", "{{reason}}"),),
            ),
        ),
    ),
    (
        "Training",
        (
            ("Losses", "none", ((f'ray_quarkline_train_loss{{{RUN}, name!~"valid/.*"}}', "{{run}} {{name}}"),)),
            ("On held-out data", "none", ((f'ray_quarkline_train_loss{{{RUN}, name=~"valid/.*"}}', "{{run}} {{name}}"),)),
            ("Runs now", "none", ((f"max by (run) (ray_quarkline_train_running{{{RUN}}})", "{{run}}"),)),
            ("Step", "none", ((f"ray_quarkline_train_step{{{RUN}}}", "{{run}}"),)),
            ("Tokens a second", "none", ((f"ray_quarkline_train_tokens_per_second{{{RUN}}}", "{{run}}"),)),
            ("Use of the devices' peak (MFU)", "percentunit", ((f"ray_quarkline_train_mfu{{{RUN}}}", "{{run}}"),)),
            (
                *("Step time, median and 99 %", "s"),
                tuple((STEP_TIME.format(share=share), f"{{{{run}}}} {share}") for share in (0.5, 0.99)),
            ),
            (
                *("Share of time that waits for data", "percentunit"),
                ((f"rate(ray_quarkline_train_wait_seconds_total{{{RUN}}}[5m])", "{{run}}"),),
            ),
            (
                *("Skipped steps in the last hour", "none"),
                ((f"increase(ray_quarkline_train_skipped_steps_total{{{RUN}}}[1h])", "{{run}}"),),
            ),
            (
                *("Checkpoints: seconds, and failed in an hour", "none"),
                (
                    (
                        f"rate(ray_quarkline_checkpoint_seconds_sum{{{RUN}}}[1h])"
                        f" / rate(ray_quarkline_checkpoint_seconds_count{{{RUN}}}[1h])",
                        "{{run}} {{outcome}}",
                    ),
                    (f'increase(ray_quarkline_checkpoint_seconds_count{{{RUN}, outcome="failed"}}[1h])', "{{run}} failures"),
                ),
            ),
        ),
    ),
    (
        "Evaluation and retraining",
        (
            (
                *("Clips judged", "cps"),
                ((f"sum by (task, state) (rate(ray_quarkline_evaluated_clips_total{{{WHERE}}}[5m]))", "{{task}} {{state}}"),),
            ),
            (
                *("Steps of retraining, mean of a day", "s"),
                (
                    (
                        f"sum by (step) (increase(ray_quarkline_retrain_step_seconds_sum{{{WHERE}}}[1d]))"
                        f" / sum by (step) (increase(ray_quarkline_retrain_step_seconds_count{{{WHERE}}}[1d]))",
                        "{{step}}",
                    ),
                ),
            ),
            (
                *("Decisions in a week", "none"),
                (
                    (
                        f"sum by (decision) (increase(ray_quarkline_retrain_decisions_total{{{WHERE}}}[7d]))",
                        "{{decision}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Nodes",
        (
            ("Nodes", "none", ((f"sum by (ray_io_cluster) (ray_cluster_active_nodes{{{WHERE}}})", "{{ray_io_cluster}}"),)),
            ("CPU", "percent", ((f"ray_node_cpu_utilization{{{WHERE}}}", "{{pod}}"),)),
            (
                *("Memory", "percentunit"),
                ((f"ray_node_mem_used{{{WHERE}}} / ray_node_mem_total{{{WHERE}}}", "{{pod}}"),),
            ),
            ("GPU", "percent", ((f"ray_node_gpus_utilization{{{WHERE}}}", "{{pod}} {{GpuIndex}}"),)),
            ("Object store", "bytes", ((f"ray_object_store_used_memory{{{WHERE}}}", "{{pod}}"),)),
            ("Network out", "Bps", ((f"ray_node_network_send_speed{{{WHERE}}}", "{{pod}}"),)),
        ),
    ),
)


def dashboard(description: Description) -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "uid": f"{description.name}-pipeline",
        "title": f"{description.name}: pipeline",
        "tags": ["quarkline", "ray"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables(description)},
        "panels": list(_panels()),
    }


def config_map(description: Description) -> Manifest:
    """For Grafana's sidecar, which loads what has this label."""
    about = metadata(description, f"{description.name}-dashboard", "monitoring")
    about["labels"] |= {"grafana_dashboard": "1"}
    content = json.dumps(dashboard(description), indent=1, sort_keys=True)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {f"{description.name}.json": content}}


def _variables(description: Description) -> list[dict[str, Any]]:
    runs = f"label_values(ray_quarkline_train_step{{{WHERE}}}, run)"
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {"name": "namespace", "type": "constant", "query": description.namespace, "hide": 2},
        {
            **{"name": "run", "type": "query", "label": "Run", "datasource": SOURCE, "refresh": 2},
            **{"query": {"query": runs, "refId": "runs"}, "multi": True, "includeAll": True, "allValue": ".*"},
        },
    ]


def _panels() -> Any:
    number, top = 1, 0
    for title, panels in SECTIONS:
        place = {"h": 1, "w": WIDTH * COLUMNS, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        number, top = number + 1, top + 1
        for index, (name, unit, drawn) in enumerate(panels):
            place = {"h": HEIGHT, "w": WIDTH, "x": index % COLUMNS * WIDTH, "y": top + index // COLUMNS * HEIGHT}
            yield _panel(number, name, unit, drawn) | {"gridPos": place}
            number += 1
        top += -(-len(panels) // COLUMNS) * HEIGHT


def _panel(number: int, title: str, unit: str, drawn: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend, "datasource": SOURCE}
        for index, (expression, legend) in enumerate(drawn)
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]}},
        "targets": targets,
    }
