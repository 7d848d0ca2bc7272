import json

import pytest

from infra.deploy.dashboard import COLUMNS, WIDTH, dashboard
from infra.metrics import METRICS
from tests.infra.deploy.expressions import RAY, RAY_WITH_GPUS, metrics_of, series_of
from tests.infra.deploy.rendered import FULL, of_kind
from tests.infra.test_metrics import calls

PANELS = [panel for panel in dashboard(FULL)["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_is_promql_on_metrics_that_the_code_exports(panel):
    exported = {series for name in calls() if calls()[name] for series in series_of(name, METRICS[name].kind)}
    for target in panel["targets"]:
        named = metrics_of(target["expr"])
        assert named and named <= exported | RAY | RAY_WITH_GPUS
        assert 'namespace="$namespace"' in target["expr"]


def test_every_metric_that_is_exported_is_on_a_panel():
    shown = {name for panel in PANELS for target in panel["targets"] for name in metrics_of(target["expr"])}
    missing = [name for name, files in calls().items() if files and not series_of(name, METRICS[name].kind) & shown]
    assert missing == []


def test_panels_lie_beside_each_other_and_have_numbers_of_their_own():
    panels = dashboard(FULL)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH * COLUMNS
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_grafana_s_sidecar_gets_the_same_dashboard():
    (found,) = [one for one in of_kind(FULL, "ConfigMap") if one["metadata"]["labels"].get("grafana_dashboard")]
    (content,) = found["data"].values()
    assert json.loads(content) == dashboard(FULL)
