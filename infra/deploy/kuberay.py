"""KubeRay's own objects: a Ray cluster to work at, a job for each verb, and the schedule as KubeRay would run it."""

from typing import Any

import ray

from infra.deploy.description import Description, WorkerGroup
from infra.deploy.pods import (
    METRICS_PORT,
    Manifest,
    container_security,
    head_pod,
    metadata,
    plain_pod,
    resources,
    worker_pod,
)
from infra.deploy.steps import INTERACTIVE, Step, command_of, named

API = "ray.io/v1"
KEPT_S = 24 * 3600  # a finished job's object, with its status; its nodes go at once


def cluster_spec(description: Description, step: Step) -> Manifest:
    """Head and workers, growing with the work. Tokens are on: the operator makes one for each cluster and gives it to its pods.

    The driver runs on the head, which has no CPUs for tasks: what has to stay is not beside what may be killed for memory.
    """
    spec: Manifest = {
        "rayVersion": ray.__version__,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "upscalingMode": "Default",
            "idleTimeoutSeconds": 60 * description.idle_minutes,
            "resources": resources("500m", "1Gi"),
            "securityContext": container_security(),
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        },
        "headGroupSpec": {
            "serviceType": "ClusterIP",
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0", "metrics-export-port": str(METRICS_PORT)},
            "template": head_pod(description, step),
        },
        "workerGroupSpecs": [_group(description, step, group) for group in _groups(description, step)],
    }
    if description.redis_address:
        password = {"valueFrom": {"secretKeyRef": {"name": f"{description.name}-redis", "key": "password"}}}
        spec["gcsFaultToleranceOptions"] = {"redisAddress": description.redis_address, "redisPassword": password}
    return spec


def ray_cluster(description: Description) -> Manifest:
    """A cluster that stays, to submit to by hand: its roles cannot touch the registry."""
    about = metadata(description, description.name, INTERACTIVE.name)
    return {"apiVersion": API, "kind": "RayCluster", "metadata": _queued(description, about)} | {
        "spec": cluster_spec(description, INTERACTIVE)
    }


def ray_job(description: Description, step: Step) -> Manifest:
    """A verb on a cluster of its own, which goes when the verb has ended."""
    about = metadata(description, f"{description.name}-{step.name}", step.name)
    return {"apiVersion": API, "kind": "RayJob", "metadata": _queued(description, about), "spec": job_spec(description, step)}


def job_spec(description: Description, step: Step) -> Manifest:
    """Any failure is tried again, on a new cluster: a run that a signal has stopped (75) goes on from what it saved.

    A mistake of a person (2) fails as quickly each time. There is no runtime_env: code and settings are in the image.
    """
    submitter = plain_pod(description, "submitter", [], "submitter")
    return {
        "entrypoint": command_of(description, step),
        "submissionMode": "K8sJobMode",
        "submitterConfig": {"backoffLimit": 2},
        "submitterPodTemplate": submitter,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEPT_S,
        "backoffLimit": description.retries,
        "activeDeadlineSeconds": 3600 * description.deadline_hours,
        "rayClusterSpec": cluster_spec(description, step),
    }


def ray_cron_job(description: Description) -> Manifest:
    """Retraining on KubeRay's own schedule, instead of the CronJob: it comes suspended.

    It has no concurrencyPolicy, no starting deadline and no history limits; that two runs never meet is then the lease's work.
    """
    schedule = description.schedule
    spec: dict[str, Any] = {
        "schedule": schedule.cron,
        "timeZone": schedule.time_zone,
        "suspend": True,
        "jobTemplate": scheduled_spec(description),
    }
    about = metadata(description, f"{description.name}-retrain", "retrain")
    return {"apiVersion": API, "kind": "RayCronJob", "metadata": about, "spec": spec}


def scheduled_spec(description: Description) -> Manifest:
    """The retrain job with the schedule's deadline."""
    limit = {"activeDeadlineSeconds": 3600 * description.schedule.deadline_hours}
    return job_spec(description, named("retrain")) | limit


def scheduled_job(description: Description) -> Manifest:
    """The RayJob that a firing of the schedule creates; whoever creates it gives it its name."""
    about = metadata(description, "", "retrain")
    del about["name"]
    return {"apiVersion": API, "kind": "RayJob", "metadata": _queued(description, about), "spec": scheduled_spec(description)}


def _queued(description: Description, about: Manifest) -> Manifest:
    """For Kueue, which lets a cluster that grows in only as an elastic job."""
    if not description.queue:
        return about
    return about | {
        "labels": about["labels"] | {"kueue.x-k8s.io/queue-name": description.queue},
        "annotations": {"kueue.x-k8s.io/elastic-job": "true"},
    }


def _groups(description: Description, step: Step) -> tuple[WorkerGroup, ...]:
    return description.workers if step.gpu else description.groups(gpu=False)


def _group(description: Description, step: Step, group: WorkerGroup) -> Manifest:
    return {
        "groupName": group.name,
        "replicas": group.least,
        "minReplicas": group.least,
        "maxReplicas": group.most,
        "rayStartParams": {"metrics-export-port": str(METRICS_PORT)},
        "template": worker_pod(description, step, group),
    }
