"""What is there once for all steps: the namespace, its queue, the storage that nodes share, and what may not be disrupted."""

from infra.deploy.description import Description
from infra.deploy.pods import Manifest, labels, metadata


def namespace(description: Description) -> Manifest:
    """Kubernetes itself refuses pods here that are not restricted."""
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    about = {"name": description.namespace, "labels": labels(description, "namespace") | level}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": about}


def shared_storage(description: Description) -> Manifest:
    """Run folders of training: what many nodes must see under one path. Data and checkpoints are in the bucket."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(description, f"{description.name}-shared", "storage"),
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": description.shared_storage_class,
            "resources": {"requests": {"storage": f"{description.shared_storage_gb}Gi"}},
        },
    }


def head_budget(description: Description) -> Manifest:
    """The head of the cluster that stays is not evicted to tidy up nodes: all that runs on it would start anew."""
    head = {"ray.io/cluster": description.name, "ray.io/node-type": "head"}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(description, f"{description.name}-head", "interactive"),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": head}},
    }
