import json
from pathlib import Path

import jsonschema
import pytest
import ray

from infra.deploy.description import Description
from infra.deploy.steps import STEPS
from tests.infra.deploy.rendered import CASES, FULL, objects, of_kind, pods

SCHEMAS = Path(__file__).parents[4] / "shared" / "kuberay" / "jsonschema"
KINDS = ("RayCluster", "RayJob", "RayCronJob")


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_what_kuberay_s_own_definitions_ask_for(kind, description):
    if not SCHEMAS.is_dir():
        pytest.skip(f"no KubeRay schemas in {SCHEMAS}")
    schema = json.loads((SCHEMAS / f"{kind.lower()}_v1.json").read_text())
    found = of_kind(description, kind)
    assert len(found) == (len(STEPS) if kind == "RayJob" else 1)
    if kind == "RayJob":
        found += [
            json.loads(one["data"]["rayjob.json"]) for one in of_kind(description, "ConfigMap") if "rayjob.json" in one["data"]
        ]
    for one in found:
        jsonschema.Draft7Validator(schema).validate(one)


def test_the_schema_can_refuse():
    if not SCHEMAS.is_dir():
        pytest.skip(f"no KubeRay schemas in {SCHEMAS}")
    schema = json.loads((SCHEMAS / "rayjob_v1.json").read_text())
    job = of_kind(Description(), "RayJob")[0]
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.Draft7Validator(schema).validate(job)


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_rules_of_the_operator_that_no_schema_knows(description):
    for one in objects(description):
        if one["kind"] in KINDS:
            assert len(one["metadata"]["name"]) <= 47 - 9  # a schedule adds a dash and the minute
            for spec in specs(one):
                assert spec["rayVersion"] == ray.__version__
                assert all("restartPolicy" not in template["spec"] for _, template in pods_of(spec))
                assert "labels" not in spec["headGroupSpec"]["rayStartParams"]
                assert [
                    name for _, template in pods_of(spec) for name in template["metadata"]["labels"] if name.endswith("/name")
                ] == []


def specs(one) -> list[dict]:
    spec = one["spec"].get("jobTemplate", one["spec"])
    return [spec.get("rayClusterSpec", spec)]


def pods_of(spec):
    return [("head", spec["headGroupSpec"]["template"])] + [(g["groupName"], g["template"]) for g in spec["workerGroupSpecs"]]


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_tokens_are_on_everywhere_and_nothing_is_in_a_runtime_env(description):
    for one in objects(description):
        if one["kind"] in KINDS:
            for spec in specs(one):
                assert spec["authOptions"] == {"mode": "token"}
            assert "runtimeEnvYAML" not in json.dumps(one)
    for where, template in pods(description):
        for container in template["spec"]["containers"]:
            names = {variable["name"] for variable in container.get("env", [])}
            assert not names & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"}, where


def test_jobs_are_tried_again_end_in_time_and_leave_no_nodes():
    for job in of_kind(FULL, "RayJob"):
        spec = job["spec"]
        assert spec["backoffLimit"] == FULL.retries
        assert spec["activeDeadlineSeconds"] == 3600 * FULL.deadline_hours
        assert spec["shutdownAfterJobFinishes"] is True
        assert spec["rayClusterSpec"]["enableInTreeAutoscaling"] is True
        head = spec["rayClusterSpec"]["headGroupSpec"]
        assert head["rayStartParams"]["num-cpus"] == "0"


def test_groups_with_gpus_are_for_steps_that_use_them():
    groups = {
        job["metadata"]["labels"]["app.kubernetes.io/component"]: [
            g["groupName"] for g in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        ]
        for job in of_kind(FULL, "RayJob")
    }
    assert groups["simulate"] == ["small"]
    assert all(groups[step.name] == ["small", "l40s", "h200"] for step in STEPS if step.gpu)


def test_kueue_sees_jobs_and_clusters_only_where_there_is_a_queue():
    for case, description in CASES.items():
        for one in of_kind(description, "RayJob") + of_kind(description, "RayCluster"):
            queue = one["metadata"]["labels"].get("kueue.x-k8s.io/queue-name", "")
            assert queue == description.queue, case
            assert ("annotations" in one["metadata"]) == bool(queue)


def test_a_redis_keeps_the_head_s_state_where_one_is_given():
    (cluster,) = of_kind(FULL, "RayCluster")
    options = cluster["spec"]["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == FULL.redis_address
    assert "secretKeyRef" in options["redisPassword"]["valueFrom"]
    assert "gcsFaultToleranceOptions" not in of_kind(Description(), "RayCluster")[0]["spec"]


def test_kuberay_s_own_schedule_comes_suspended_beside_the_cron_job():
    (cron,) = of_kind(FULL, "RayCronJob")
    assert (cron["spec"]["schedule"], cron["spec"]["timeZone"], cron["spec"]["suspend"]) == (
        "30 1 * * 1-5",
        "Europe/Berlin",
        True,
    )
