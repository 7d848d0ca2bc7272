import json

from infra.deploy.description import Description
from infra.deploy.schedule import FILE, FOLDER
from tests.infra.deploy.rendered import FULL, of_kind


def test_one_run_at_a_time_in_its_time_zone_with_deadlines_and_a_history():
    (cron,) = of_kind(FULL, "CronJob")
    spec = cron["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("30 1 * * 1-5", "Europe/Berlin", True)
    assert spec["startingDeadlineSeconds"] == 3600
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 5)
    assert of_kind(Description(), "CronJob")[0]["spec"]["suspend"] is False


def test_the_pod_waits_longer_than_the_job_may_take():
    (cron,) = of_kind(FULL, "CronJob")
    (job,) = [json.loads(one["data"][FILE]) for one in of_kind(FULL, "ConfigMap") if FILE in one["data"]]
    assert job["kind"] == "RayJob" and "name" not in job["metadata"]
    assert "pipelines.retrain" in job["spec"]["entrypoint"]
    assert job["spec"]["activeDeadlineSeconds"] == 3600 * FULL.schedule.deadline_hours
    assert cron["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > job["spec"]["activeDeadlineSeconds"]


def test_the_pod_finds_the_file_its_name_and_its_account():
    (cron,) = of_kind(FULL, "CronJob")
    spec = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"] == ["python", "-m", "infra.deploy.create_rayjob", f"{FOLDER}/{FILE}"]
    assert [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "job"] == [FOLDER]
    (source,) = [volume["configMap"]["name"] for volume in spec["volumes"] if volume["name"] == "job"]
    assert source in [one["metadata"]["name"] for one in of_kind(FULL, "ConfigMap")]
    assert spec["serviceAccountName"] == "ql-schedule"
    (name,) = [variable for variable in container["env"] if variable["name"] == "JOB_NAME"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"


def test_what_has_failed_for_good_is_not_tried_again_and_a_moved_pod_is_no_failure():
    (cron,) = of_kind(FULL, "CronJob")
    codes, disruption = cron["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert (codes["action"], codes["onExitCodes"]["values"]) == ("FailJob", [1, 2])
    assert (disruption["action"], disruption["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
