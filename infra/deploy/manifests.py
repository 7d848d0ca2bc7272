"""Render everything a cluster needs from its description: `make manifests DESCRIPTION=cluster.yaml OUT=data/manifests`.

kubernetes/     kubectl apply -f, in the order of the names: namespace, accounts, network, storage, schedule, monitoring
jobs/           a RayJob a verb: kubectl create -f jobs/simulate.yaml
alternatives/   RayCronJob, in place of the CronJob; the RayCluster to work at by hand
iam/            a policy and a trust policy for each role
aws/            ray-cluster.yaml for `ray up`
grafana/        the dashboard, to import
description.json  what all this is rendered from
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from infra.command_line import run
from infra.config import to_json
from infra.deploy import dashboard, kuberay, monitoring, namespace, network, permissions, ray_up, schedule
from infra.deploy.description import Description, load
from infra.deploy.steps import INTERACTIVE, STEPS
from infra.storage import FolderStore


@dataclass(frozen=True)
class Manifests:
    """Render all files of a cluster into a folder; what is there under another name stays."""

    out: str = "data/manifests"
    """Folder for the files."""
    cluster: Annotated[Description, tyro.conf.arg(name="")] = field(default_factory=Description)


def render(description: Description) -> dict[str, str]:
    """File names and contents; the same description gives the same bytes."""
    files = {f"kubernetes/{name}.yaml": _yaml(*objects) for name, objects in kubernetes(description).items()}
    files |= {f"jobs/{step.name}.yaml": _yaml(kuberay.ray_job(description, step)) for step in STEPS}
    files |= {
        "alternatives/raycronjob.yaml": _yaml(kuberay.ray_cron_job(description)),
        "alternatives/raycluster.yaml": _yaml(kuberay.ray_cluster(description), namespace.head_budget(description)),
        "aws/ray-cluster.yaml": _yaml(ray_up.cluster(description)),
        "grafana/dashboard.json": _json(dashboard.dashboard(description)),
        "description.json": _json(to_json(description)),
    }
    for step in (*STEPS, INTERACTIVE):
        files[f"iam/{step.name}.policy.json"] = _json(permissions.bucket_policy(description, step))
        files[f"iam/{step.name}.trust.json"] = _json(permissions.trust_policy(description, step))
    files["iam/ray-up-head.policy.json"] = _json(permissions.launcher_policy(description))
    files["iam/ray-up.trust.json"] = _json(permissions.instance_trust_policy())
    return files


def kubernetes(description: Description) -> dict[str, list[dict[str, Any]]]:
    """Objects by file, in the order to apply them in."""
    return {
        "00-namespace": [namespace.namespace(description)],
        "10-accounts": [*permissions.service_accounts(description), *permissions.scheduler_role(description)],
        "20-network": network.policies(description),
        "30-storage": [namespace.shared_storage(description)],
        "40-retrain-schedule": [schedule.job_file(description), schedule.cron_job(description)],
        "50-monitoring": [
            monitoring.pod_monitor(description),
            monitoring.rules(description),
            dashboard.config_map(description),
        ],
    }


class _Plain(yaml.SafeDumper):
    """Without anchors: a value that occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(*objects: dict[str, Any]) -> str:
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, width=120, explicit_start=True)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def parsed(argv: list[str]) -> Manifests:
    """`[--description FILE] [--out FOLDER] [--bucket NAME ...]`: the command line wins over the file. ValueError."""
    argv, default = list(argv), Manifests()
    if "--description" in argv:
        at = argv.index("--description")
        path = argv[at + 1] if at + 1 < len(argv) else ""
        del argv[at : at + 2]
        default = Manifests(cluster=load(path))
    return tyro.cli(Manifests, default=default, args=argv, prog="infra.deploy.manifests")


def main(argv: list[str]) -> int:
    config = parsed(argv)
    files = render(config.cluster)
    store = FolderStore(config.out)
    for name, text in files.items():
        store.put(name, text.encode())
    for warning in config.cluster.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    print(
        f"{config.out}: {len(files)} files; kubectl apply -f {config.out}/kubernetes, {Path(config.out, 'jobs')} has the verbs"
    )
    return 0


if __name__ == "__main__":
    run(main)
