"""The same cluster on plain machines of AWS: the file for `ray up`.

The token is a file of the person who starts it (`ray get-auth-token --generate`, then `RAY_AUTH_MODE=token ray up ...`), copied
to the nodes; S3 is reached by the instance profile. The dashboard listens on the head alone: `ray dashboard cluster.yaml`.
"""

from typing import Any

from infra.deploy.description import Description
from infra.deploy.permissions import LAUNCHER, NODE
from infra.deploy.pods import METRICS_PORT, Manifest
from infra.deploy.steps import SHARED

HEAD = "head"
TOKEN = "/home/quarkline/.ray/auth_token"
DISK_GB = 200
START = "ulimit -n 65536; RAY_AUTH_MODE=token ray start --object-manager-port=8076 --disable-usage-stats"
MOUNT = "sudo mkdir -p {folder} && (mountpoint -q {folder} || sudo mount -t nfs4 -o nfsvers=4.1,hard {address}:/ {folder})"


def cluster(description: Description) -> Manifest:
    """What `ray up` reads."""
    metrics = f"--metrics-export-port={METRICS_PORT}"
    head = f"{START} {metrics} --head --port=6379 --num-cpus=0 --dashboard-host=127.0.0.1"
    shared = [MOUNT.format(folder=SHARED, address=description.efs_address)] if description.efs_address else []
    return {
        "cluster_name": description.name,
        "max_workers": sum(group.most for group in description.workers),
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": description.idle_minutes,
        "provider": {"type": "aws", "region": description.region, "cache_stopped_nodes": False},
        "auth": {"ssh_user": "ubuntu"},
        "docker": {
            "image": description.image,
            "container_name": "quarkline",
            "pull_before_run": True,
            "run_options": _run_options(description),
        },
        "file_mounts": {TOKEN: "~/.ray/auth_token"},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "initialization_commands": shared,
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": ["ray stop", f"{head} --autoscaling-config=~/ray_bootstrap_config.yaml"],
        "worker_start_ray_commands": ["ray stop", f"{START} {metrics} --address=$RAY_HEAD_IP:6379"],
        "head_node_type": HEAD,
        "available_node_types": _node_types(description),
    }


def _run_options(description: Description) -> list[str]:
    """Of the container: settings, no secrets."""
    variables = {
        "AWS_REGION": description.region,
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "RAY_AUTH_MODE": "token",
    }
    options = ["--ulimit nofile=65536:65536", "--security-opt no-new-privileges"]
    options += [f"-e {name}={value}" for name, value in variables.items()]
    return options + ([f"-v {SHARED}:{SHARED}"] if description.efs_address else [])


def _node_types(description: Description) -> dict[str, Any]:
    head = {"resources": {"CPU": 0}, "node_config": _machine(description, description.head.instance_type, LAUNCHER)}
    types: dict[str, Any] = {HEAD: head | {"max_workers": 0}}
    for group in description.workers:
        machine = _machine(description, group.instance_type, NODE)
        if group.spot:
            machine["InstanceMarketOptions"] = {"MarketType": "spot"}
        resources = {"CPU": group.cpus} | ({"GPU": group.gpus} if group.gpus else {})
        limits = {"min_workers": group.least, "max_workers": group.most}
        types[f"{group.name}-workers"] = {"resources": resources, "node_config": machine} | limits
    return types


def _machine(description: Description, instance_type: str, role: str) -> dict[str, Any]:
    """One kind of machine: encrypted disk, and a metadata service that answers to sessions only."""
    disk = {"VolumeSize": DISK_GB, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    profile = f"arn:aws:iam::{description.account_id}:instance-profile/{description.name}-{role}"
    machine = {
        "InstanceType": instance_type,
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
        "IamInstanceProfile": {"Arn": profile},
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
    }
    return machine | ({"ImageId": description.ami} if description.ami else {})
