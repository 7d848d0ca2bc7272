"""What a cluster is to be, in one place: every manifest, policy and cluster file is rendered from it, and from nothing else.

A file of it holds what differs from the defaults (YAML or JSON): `make manifests DESCRIPTION=cluster.yaml`. There are no
secrets in it, and no fields for any.
"""

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from infra.config import from_json

EXAMPLE_ACCOUNT = "111122223333"  # the one of AWS's own documentation
NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REDIS = re.compile(r"[\w-]+(\.[\w-]+)+:\d{1,5}")
CRON = re.compile(r"[-0-9*/,]+( [-0-9*/,A-Za-z]+){4}")
LONGEST_NAME = 22  # KubeRay takes 47 characters for a RayJob: name, step, and the minute that a schedule adds


@dataclass(frozen=True)
class Head:
    """The node of the driver, Ray's control store and the dashboard. On demand always: when it goes, the job starts anew."""

    instance_type: str = "m7i.2xlarge"
    cpus: int = 6
    memory_gb: int = 24


@dataclass(frozen=True)
class WorkerGroup:
    """Nodes of one kind, as many as there is work for."""

    name: str
    instance_type: str
    cpus: int
    """Of a pod: a little less than the machine has, the rest is the kubelet's."""
    memory_gb: int
    most: int
    """Nodes at most."""
    least: int = 0
    gpus: int = 0
    """Of a node."""
    gpu_type: str = ""
    """As the node label of the GPU operator's feature discovery names it; any if empty."""
    spot: bool = True
    """At the spot price: may be taken away with two minutes' notice. False: on demand."""
    shared_memory_gb: int = 8
    """/dev/shm: Ray's object store, and the tensors of data loaders. It counts as memory."""

    def __post_init__(self) -> None:
        _want(bool(NAME.fullmatch(self.name)), "workers.name", self.name, "small letters, digits and dashes")
        _want(0 <= self.least <= self.most and self.most > 0, f"workers.{self.name}.most", self.most, "more than 0, and least")
        _want(self.cpus > 0 and self.gpus >= 0, f"workers.{self.name}.cpus", self.cpus, "1 or more, and 0 or more GPUs")
        _want(
            0 < self.shared_memory_gb < self.memory_gb, f"workers.{self.name}.memory_gb", self.memory_gb, "more than /dev/shm"
        )


@dataclass(frozen=True)
class Schedule:
    """When retraining starts."""

    cron: str = "0 2 * * 6"
    time_zone: str = "Etc/UTC"
    suspended: bool = False
    """Render it, and let nothing start."""
    starting_deadline_s: int = 3600
    """A start that is missed by more than this is left out."""
    deadline_hours: int = 96
    """Then it is stopped; what it has committed stays."""

    def __post_init__(self) -> None:
        _want(bool(CRON.fullmatch(self.cron)), "schedule.cron", self.cron, "five fields: minute hour day month weekday")
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"schedule.time_zone is {self.time_zone!r}: give a name such as Europe/Berlin") from None
        _want(self.starting_deadline_s >= 60, "schedule.starting_deadline_s", self.starting_deadline_s, "60 or more")
        _want(self.deadline_hours > 0, "schedule.deadline_hours", self.deadline_hours, "more than 0")


@dataclass(frozen=True)
class Capacity:
    """How this Kubernetes cluster labels and taints its nodes. The defaults are Karpenter's and NVIDIA's."""

    label: str = "karpenter.sh/capacity-type"
    spot: str = "spot"
    on_demand: str = "on-demand"
    spot_taint: str = "spot"
    """Key of a taint on spot nodes that the workers tolerate."""
    gpu_label: str = "nvidia.com/gpu.product"


def _workers() -> tuple[WorkerGroup, ...]:
    return (
        WorkerGroup("cpu", "c7i.8xlarge", cpus=30, memory_gb=56, most=40),
        WorkerGroup(
            *("gpu", "p5.48xlarge"),
            cpus=180,
            memory_gb=1800,
            most=1,
            gpus=8,
            gpu_type="NVIDIA-H100-80GB-HBM3",
            shared_memory_gb=256,
        ),
    )


@dataclass(frozen=True)
class Description:
    """A deployment of the whole pipeline."""

    name: str = "quarkline"
    namespace: str = "quarkline"
    """A namespace of its own: network rules are for all that is in it."""
    image: str = "quarkline:latest"
    """Built from infra/deploy/Dockerfile. With its digest (name@sha256:...), or two nodes may run different code."""
    bucket: str = "quarkline-data"
    prefix: str = "v1"
    """Everything is below s3://bucket/prefix."""
    region: str = "us-east-1"
    account_id: str = EXAMPLE_ACCOUNT
    """Of AWS."""
    oidc_provider: str = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE"
    """Of the EKS cluster, without https://: who vouches for service accounts."""
    head: Head = field(default_factory=Head)
    workers: tuple[WorkerGroup, ...] = field(default_factory=_workers)
    idle_minutes: int = 5
    """A node without work goes after this."""
    task: str = "all"
    """What the simulate job makes: a task, or all."""
    corpus: str = "corpora/main"
    """Below the prefix."""
    codec_preset: str = "small"
    lm_preset: str = "base"
    ranks: int = 0
    """Processes of training, a GPU each where there are any; they must divide its batch. 0: as many as GPUs (or nodes)."""
    arguments: dict[str, str] = field(default_factory=dict)
    """More words for the command of a step, such as {"simulate": "--count 100000"}."""
    schedule: Schedule = field(default_factory=Schedule)
    retries: int = 3
    """New Ray clusters after a job has failed, or was stopped by a signal with all saved (exit code 75)."""
    deadline_hours: int = 336
    """Of a job, all retries together."""
    queue: str = "quarkline"
    """Kueue's LocalQueue; none if empty."""
    shared_storage_class: str = "efs-sc"
    """Storage that many nodes can mount (ReadWriteMany): run folders of training lie on it."""
    shared_storage_gb: int = 500
    capacity: Capacity = field(default_factory=Capacity)
    operator_namespace: str = "kuberay-system"
    monitoring_namespace: str = "monitoring"
    egress_cidrs: tuple[str, ...] = ("0.0.0.0/0",)
    """Where pods may connect to on port 443: S3, STS, the Kubernetes API. A network rule cannot name hosts."""
    ami: str = ""
    """Machine image for `ray up`, with Docker and NVIDIA's drivers; Ray's choice for the region if empty."""
    efs_address: str = ""
    """DNS name of the file system that `ray up` mounts on all nodes as the shared folder; none if empty."""
    redis_address: str = ""
    """host:port of a Redis that keeps Ray's control store when the head is replaced; none if empty: the job starts anew. The
    host is a service of another namespace (name.namespace), an address, or a longer name outside of the cluster."""

    def __post_init__(self) -> None:
        for name in ("name", "namespace", "operator_namespace", "monitoring_namespace"):
            _want(bool(NAME.fullmatch(getattr(self, name))), name, getattr(self, name), "small letters, digits and dashes")
        _want(len(self.name) <= LONGEST_NAME, "name", self.name, f"at most {LONGEST_NAME} characters")
        _want(bool(BUCKET.fullmatch(self.bucket)), "bucket", self.bucket, "the name of a bucket, without s3://")
        _want(
            bool(re.fullmatch(r"[\w./-]+", self.prefix)) and self.prefix.strip("/") == self.prefix, "prefix", self.prefix, "a/b"
        )
        _want(bool(re.fullmatch(r"\d{12}", self.account_id)), "account_id", self.account_id, "12 digits")
        _want(bool(self.image) and not re.search(r"\s", self.image), "image", self.image, "the name of an image")
        _want(bool(re.fullmatch(r"[\w./-]+", self.corpus)), "corpus", self.corpus, "a path below the prefix")
        groups = [group.name for group in self.workers]
        _want(bool(groups) and len(set(groups)) == len(groups), "workers", groups, "one group or more, each name once")
        for name in ("retries", "idle_minutes", "deadline_hours"):
            _want(getattr(self, name) >= (name != "retries"), name, getattr(self, name), "a positive number")
        _want(self.ranks >= 0, "ranks", self.ranks, "0 or more")
        redis = self.redis_address
        _want(
            not redis or bool(REDIS.fullmatch(redis)),
            "redis_address",
            redis,
            "host:port, as redis.stores:6379 or 10.0.0.7:6379",
        )
        for cidr in self.egress_cidrs:
            ipaddress.ip_network(cidr)

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def groups(self, gpu: bool) -> tuple[WorkerGroup, ...]:
        """The worker groups with GPUs, or those without; all if there are none of the kind."""
        return tuple(group for group in self.workers if bool(group.gpus) == gpu) or self.workers

    def num_gpus(self) -> int:
        """Of the whole cluster at its largest."""
        return sum(group.gpus * group.most for group in self.workers)

    def num_ranks(self) -> int:
        """Of training."""
        return self.ranks or self.num_gpus() or sum(group.most for group in self.workers)

    def warnings(self) -> list[str]:
        """What can be rendered, and should not be applied."""
        found = []
        if self.account_id == EXAMPLE_ACCOUNT or self.oidc_provider.endswith("/EXAMPLE"):
            found.append("account_id and oidc_provider are examples: the roles of the service accounts will not exist")
        if "@sha256:" not in self.image:
            found.append(f"image {self.image} has no digest: nodes that start later may run other code, and refuse to work")
        return found


def load(path: str) -> Description:
    """The description in a YAML or JSON file; what it does not say is the default. ValueError names file and field."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read as YAML or JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(
            f"{path}: give a mapping with any of {', '.join(field.name for field in dataclasses.fields(Description))}"
        )
    return from_json(Description, values, path)


def _want(holds: bool, name: str, value: Any, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}: give {wanted}")
