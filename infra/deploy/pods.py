"""Pods of a Ray cluster on Kubernetes: what head and workers run as, with how much, where, and how a worker leaves."""

from typing import Any

from infra.deploy.description import Description, WorkerGroup
from infra.deploy.steps import SHARED, Step

Manifest = dict[str, Any]
USER = 10001  # of the image
METRICS_PORT = 8080
LEAVE_S, GRACE_S = 90, 115  # a spot node goes 120 s after its notice
SCRATCH = {"/tmp": "20Gi", "/home/quarkline": "2Gi", "/cache": "100Gi"}  # the only places that can be written
HEAD_STORE_GB = 4  # of /dev/shm on the head

# On a worker that has to go (spot notice, drained node, scaled down): Ray hears it, and why, while all of its processes still
# run; a training run then saves and goes on elsewhere. The node's Ray ends when its work has ended, SIGTERM comes after this.
LEAVE = f"""\
timeout 20 ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the pod is taken away' \
--deadline-remaining-seconds {LEAVE_S} || true
for second in $(seq {LEAVE_S - 20}); do pgrep -x raylet >/dev/null || exit 0; sleep 1; done
"""


def labels(description: Description, component: str) -> dict[str, str]:
    """Not app.kubernetes.io/name: that is KubeRay's own, by which the head's service finds its pod."""
    return {"app.kubernetes.io/part-of": description.name, "app.kubernetes.io/component": component}


def metadata(description: Description, name: str, component: str) -> Manifest:
    return {"name": name, "namespace": description.namespace, "labels": labels(description, component)}


def service_account(description: Description, step: Step) -> str:
    return f"{description.name}-{step.name}"


def container_security() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_security() -> Manifest:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def resources(cpus: int | str, memory: str, gpus: int = 0) -> Manifest:
    """Requests and limits alike: a pod that has been placed is never starved or killed for what others use."""
    amounts: Manifest = {"cpu": str(cpus), "memory": memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {"requests": dict(amounts), "limits": dict(amounts)}


def scratch(shared_memory: str, paths: tuple[str, ...] = tuple(SCRATCH)) -> tuple[list[Manifest], list[Manifest]]:
    """Volumes and mounts of what can be written on a node."""
    volumes: list[Manifest] = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shared_memory}}]
    mounts: list[Manifest] = [{"name": "shm", "mountPath": "/dev/shm"}]
    for path in paths:
        name = path.strip("/").replace("/", "-")
        volumes.append({"name": name, "emptyDir": {"sizeLimit": SCRATCH[path]}})
        mounts.append({"name": name, "mountPath": path})
    return volumes, mounts


def environment(description: Description) -> list[Manifest]:
    """No secrets: S3 by the service account's role, Ray's token by the operator from the Secret that it makes."""
    values = {
        "AWS_REGION": description.region,
        "AWS_DEFAULT_REGION": description.region,
        "HF_HUB_OFFLINE": "1",  # weights come by path and hash
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
        "QUARKLINE_CACHE": "/cache",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def head_pod(description: Description, step: Step) -> Manifest:
    """The pod of the driver: on demand, and not moved for tidiness."""
    head = description.head
    container = _ray_container(description, "ray-head", resources(head.cpus, f"{head.memory_gb}Gi"))
    container["ports"] = [
        {"name": "gcs-server", "containerPort": 6379},
        {"name": "dashboard", "containerPort": 8265},
        {"name": "metrics", "containerPort": METRICS_PORT},
    ]
    pod = _pod(description, step, container, f"{HEAD_STORE_GB}Gi")
    pod["spec"]["nodeSelector"] = {description.capacity.label: description.capacity.on_demand}
    pod["spec"]["automountServiceAccountToken"] = True  # the autoscaler beside it adds and removes workers
    pod["metadata"]["annotations"] = dict(_STAY)
    return pod


def worker_pod(description: Description, step: Step, group: WorkerGroup) -> Manifest:
    """A pod of a worker group. It has no right to call Kubernetes."""
    container = _ray_container(description, "ray-worker", resources(group.cpus, f"{group.memory_gb}Gi", group.gpus))
    container["ports"] = [{"name": "metrics", "containerPort": METRICS_PORT}]
    container["lifecycle"] = {"preStop": {"exec": {"command": ["/bin/sh", "-c", LEAVE]}}}
    pod = _pod(description, step, container, f"{group.shared_memory_gb}Gi")
    spec, capacity = pod["spec"], description.capacity
    spec["terminationGracePeriodSeconds"] = GRACE_S
    spec["nodeSelector"] = {capacity.label: capacity.spot if group.spot else capacity.on_demand}
    spec["tolerations"] = []
    if group.spot:
        spec["tolerations"].append({"key": capacity.spot_taint, "operator": "Exists", "effect": "NoSchedule"})
    if group.gpus:
        spec["tolerations"].append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
        pod["metadata"]["annotations"] = dict(_STAY)
        if group.gpu_type:
            spec["nodeSelector"][capacity.gpu_label] = group.gpu_type
    return pod


def plain_pod(description: Description, name: str, command: list[str], component: str) -> Manifest:
    """A small pod outside of Ray: it submits, or creates, and waits."""
    volumes, mounts = scratch("64Mi", ("/tmp", "/home/quarkline"))
    container = {
        "name": name,
        "image": description.image,
        "resources": resources("500m", "1Gi"),
        "securityContext": container_security(),
        "env": environment(description),
        "volumeMounts": mounts,
    } | ({"command": command} if command else {})
    spec = {
        "restartPolicy": "Never",
        "securityContext": pod_security(),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {description.capacity.label: description.capacity.on_demand},
        "containers": [container],
        "volumes": volumes,
    }
    return {"metadata": {"labels": labels(description, component)}, "spec": spec}


# Against those who move pods to save nodes; a node that is taken away does not ask.
_STAY = {"karpenter.sh/do-not-disrupt": "true", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def _ray_container(description: Description, name: str, amounts: Manifest) -> Manifest:
    return {
        "name": name,
        "image": description.image,
        "resources": amounts,
        "securityContext": container_security(),
        "env": environment(description),
    }


def _pod(description: Description, step: Step, container: Manifest, shared_memory: str) -> Manifest:
    volumes, mounts = scratch(shared_memory)
    claim = {"claimName": f"{description.name}-shared", "readOnly": not step.writes_shared}
    volumes.append({"name": "shared", "persistentVolumeClaim": claim})
    mounts.append({"name": "shared", "mountPath": SHARED, "readOnly": not step.writes_shared})
    spec = {
        "serviceAccountName": service_account(description, step),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": [container | {"volumeMounts": mounts}],
        "volumes": volumes,
    }
    return {"metadata": {"labels": labels(description, step.name)}, "spec": spec}
