"""What the tests of the deployment look at: every file, rendered from the defaults and from a description with all in it."""

import copy
import functools
import json
from typing import Any

import yaml

from infra.deploy.description import Description, Schedule, WorkerGroup
from infra.deploy.manifests import render

FULL = Description(
    name="ql",
    namespace="audio",
    image="example.test/quarkline@sha256:" + "0" * 64,
    bucket="some-bucket",
    prefix="team/v2",
    region="eu-central-1",
    account_id="999988887777",
    oidc_provider="oidc.eks.eu-central-1.amazonaws.com/id/ABC",
    workers=(
        WorkerGroup("small", "c7i.2xlarge", cpus=7, memory_gb=14, most=5, least=1, shared_memory_gb=2),
        WorkerGroup("l40s", "g6e.4xlarge", cpus=14, memory_gb=110, most=2, gpus=1, gpu_type="NVIDIA-L40S"),
        WorkerGroup("h200", "p5en.48xlarge", cpus=180, memory_gb=1800, most=1, gpus=8, spot=False),
    ),
    task="lass",
    ranks=8,
    arguments={"simulate": "--count 100000 --seed 1"},
    schedule=Schedule("30 1 * * 1-5", "Europe/Berlin", suspended=True),
    ami="ami-0123456789abcdef0",
    efs_address="fs-1.efs.eu-central-1.amazonaws.com",
    redis_address="redis.stores:6379",
    egress_cidrs=("10.0.0.0/8", "0.0.0.0/0", "::/0"),
)
CASES = {
    "defaults": Description(),
    "full": FULL,
    "no-gpus": Description(workers=(WorkerGroup("cpu", "c7i.xlarge", 3, 14, 4),), queue=""),
}
CUSTOM = ("RayCluster", "RayJob", "RayCronJob", "PodMonitor", "PrometheusRule")


def files_of(description: Description) -> dict[str, str]:
    """Rendered once a description: writing YAML takes a second."""
    return _rendered(next(name for name, case in CASES.items() if case == description))


@functools.cache
def _rendered(case: str) -> dict[str, str]:
    return render(CASES[case])


@functools.cache
def _objects(case: str) -> list[dict[str, Any]]:
    files = {name: text for name, text in _rendered(case).items() if name.endswith(".yaml") and not name.startswith("aws/")}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for text in files.values() for one in yaml.load_all(text, loader)]


def objects(description: Description) -> list[dict[str, Any]]:
    """Every Kubernetes object of the rendered YAML files, as they are read back; a copy, to be changed at will."""
    return copy.deepcopy(_objects(next(name for name, case in CASES.items() if case == description)))


def of_kind(description: Description, kind: str) -> list[dict[str, Any]]:
    return [one for one in objects(description) if one["kind"] == kind]


def policies(description: Description) -> dict[str, dict[str, Any]]:
    """S3 policies by step."""
    files = files_of(description)
    names = [name for name in files if name.startswith("iam/") and name.endswith(".policy.json") and "ray-up" not in name]
    return {name[4:].removesuffix(".policy.json"): json.loads(files[name]) for name in names}


def pods(description: Description) -> list[tuple[str, dict[str, Any]]]:
    """Every pod template of all objects: where it is, and the template."""
    return [found for one in objects(description) for found in _templates(one, one["kind"])]


def _templates(value: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict) and "containers" in value.get("spec", {}) and isinstance(value["spec"]["containers"], list):
        return [(where, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in _templates(inner, f"{where}.{key}")]
