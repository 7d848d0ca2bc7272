import pytest

from infra.deploy.pods import GRACE_S, LEAVE, LEAVE_S, METRICS_PORT
from tests.infra.deploy.rendered import CASES, FULL, of_kind, pods

ALL = [(f"{case}:{where}", template) for case, description in CASES.items() for where, template in pods(description)]


@pytest.fixture(params=ALL, ids=[where for where, _ in ALL])
def pod(request):
    return request.param[1]


def test_pods_are_restricted_and_write_to_volumes_only(pod):
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all("hostPath" not in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["runAsUser"] > 0


def test_memory_is_promised_as_it_is_limited_and_shared_memory_is_bounded(pod):
    spec = pod["spec"]
    for container in spec["containers"]:
        assert container["resources"]["requests"] == container["resources"]["limits"]
    (shared,) = [volume for volume in spec["volumes"] if volume["name"] == "shm"]
    assert shared["emptyDir"]["medium"] == "Memory"
    limits = spec["containers"][0]["resources"]["limits"]["memory"]
    assert amount(shared["emptyDir"]["sizeLimit"]) < amount(limits)
    mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def amount(text: str) -> int:
    return int(text[:-2]) * {"Mi": 2**20, "Gi": 2**30}[text[-2:]]


def test_head_is_on_demand_workers_are_where_the_description_says():
    (cluster,) = of_kind(FULL, "RayCluster")
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]
    assert head["nodeSelector"] == {"karpenter.sh/capacity-type": "on-demand"}
    selectors, tolerated = {}, {}
    for group in cluster["spec"]["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        selectors[group["groupName"]] = spec["nodeSelector"]
        tolerated[group["groupName"]] = [toleration["key"] for toleration in spec["tolerations"]]
    assert selectors == {
        "small": {"karpenter.sh/capacity-type": "spot"},
        "l40s": {"karpenter.sh/capacity-type": "spot", "nvidia.com/gpu.product": "NVIDIA-L40S"},
        "h200": {"karpenter.sh/capacity-type": "on-demand"},
    }
    assert tolerated == {"small": ["spot"], "l40s": ["spot", "nvidia.com/gpu"], "h200": ["nvidia.com/gpu"]}


def test_only_who_calls_kubernetes_has_a_token_for_it():
    with_token = {where.split(".")[0] + ":" + template["metadata"]["labels"]["app.kubernetes.io/component"]
                  for where, template in pods(FULL) if template["spec"]["automountServiceAccountToken"]
                  and "headGroupSpec" not in where}  # fmt: skip
    assert with_token == {"CronJob:schedule"}


def test_a_worker_tells_ray_before_it_goes_and_has_the_time_to():
    workers = [template for where, template in pods(FULL) if "workerGroupSpecs" in where]
    for template in workers:
        (container,) = template["spec"]["containers"]
        assert container["lifecycle"]["preStop"]["exec"]["command"][-1] == LEAVE
        assert template["spec"]["terminationGracePeriodSeconds"] == GRACE_S
        assert {"name": "metrics", "containerPort": METRICS_PORT} in container["ports"]
    assert "DRAIN_NODE_REASON_PREEMPTION" in LEAVE
    assert LEAVE_S < GRACE_S < 120
