"""The schedule of retraining: a CronJob whose pod creates the RayJob and waits for it.

Because it waits, `concurrencyPolicy: Forbid` forbids a second run, not only a second start; and the history of the CronJob's
jobs is that of the runs. It runs the image that is there already, so there is no second image (kubectl's) to trust and to keep.
"""

import json

from infra.command_line import EXIT_USAGE
from infra.deploy.description import Description
from infra.deploy.kuberay import scheduled_job
from infra.deploy.permissions import scheduler
from infra.deploy.pods import Manifest, metadata, plain_pod

FOLDER, FILE = "/etc/quarkline", "rayjob.json"
WAITING_S = 3600  # of a RayJob, beside its own deadline: for its nodes, and for Kueue


def job_file(description: Description) -> Manifest:
    """The RayJob to create, as a file of the CronJob's pod."""
    content = json.dumps(scheduled_job(description), indent=1, sort_keys=True)
    about = metadata(description, scheduler(description), "schedule")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {FILE: content}}


def cron_job(description: Description) -> Manifest:
    """A pod that is moved or killed starts anew and finds the RayJob of its firing; a refusal (exit code 2) ends the job."""
    schedule = description.schedule
    pod = plain_pod(description, "schedule", ["python", "-m", "infra.deploy.create_rayjob", f"{FOLDER}/{FILE}"], "schedule")
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    spec |= {"serviceAccountName": scheduler(description), "automountServiceAccountToken": True}
    spec["volumes"].append({"name": "job", "configMap": {"name": scheduler(description)}})
    container["volumeMounts"].append({"name": "job", "mountPath": FOLDER, "readOnly": True})
    field = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
    container["env"].append({"name": "JOB_NAME", "valueFrom": field})
    final = [1, EXIT_USAGE]  # the RayJob has failed, with all its retries; or it was refused
    job = {
        "backoffLimit": 6,
        "activeDeadlineSeconds": 3600 * schedule.deadline_hours + WAITING_S,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "schedule", "operator": "In", "values": final},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": pod,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(description, f"{description.name}-retrain", "schedule"),
        "spec": {
            "schedule": schedule.cron,
            "timeZone": schedule.time_zone,
            "suspend": schedule.suspended,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": schedule.starting_deadline_s,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": job},
        },
    }
