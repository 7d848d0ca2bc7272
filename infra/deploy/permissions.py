"""Who may do what: a role for each step, with its own folders of the bucket, and who may take it.

Actions are those that infra/s3_store.py needs; there is no `*` in any, and no resource outside of the prefix.
"""

from typing import Any

from infra.deploy.description import Description
from infra.deploy.pods import Manifest, metadata, service_account
from infra.deploy.steps import INTERACTIVE, STEPS, Step

VERSION = "2012-10-17"  # of IAM's language
LAUNCHER, NODE = "head", "node"  # roles of `ray up`; both have the interactive step's rights in the bucket, too


def bucket_policy(description: Description, step: Step) -> Manifest:
    """What a step may do in the bucket. S3 says that an object is missing only to those who may list."""
    readable = tuple(dict.fromkeys((*step.reads, *step.writes)))
    statements = [
        {
            "Sid": "List",
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{description.bucket}"],
            "Condition": {"StringLike": {"s3:prefix": [f"{description.prefix}/{place}/*" for place in readable]}},
        },
        _objects(description, "Read", ["s3:GetObject"], readable),
        _objects(description, "Write", ["s3:PutObject"], step.writes),
    ]
    if step.deletes:
        statements.append(_objects(description, "Delete", ["s3:DeleteObject"], step.deletes))
    return {"Version": VERSION, "Statement": statements}


def trust_policy(description: Description, step: Step) -> Manifest:
    """The role is for this one service account of this one cluster."""
    provider = description.oidc_provider
    subject = f"system:serviceaccount:{description.namespace}:{service_account(description, step)}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{description.account_id}:oidc-provider/{provider}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{provider}:sub": subject, f"{provider}:aud": "sts.amazonaws.com"}},
    }
    return {"Version": VERSION, "Statement": [statement]}


def instance_trust_policy() -> Manifest:
    """The roles of `ray up` are for machines."""
    statement = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": VERSION, "Statement": [statement]}


def service_accounts(description: Description) -> list[Manifest]:
    """One a step, and one of the schedule, which has no role in AWS."""
    made = []
    for step in (*STEPS, INTERACTIVE):
        about = metadata(description, service_account(description, step), step.name)
        role = f"arn:aws:iam::{description.account_id}:role/{service_account(description, step)}"
        about["annotations"] = {"eks.amazonaws.com/role-arn": role}
        made.append(_account(about))
    return [*made, _account(metadata(description, scheduler(description), "schedule"))]


def scheduler(description: Description) -> str:
    """The account of whoever creates the scheduled RayJob."""
    return f"{description.name}-schedule"


def scheduler_role(description: Description) -> list[Manifest]:
    """Create RayJobs and look at them, nothing else. (RBAC cannot limit `create` to names.)"""
    about = metadata(description, scheduler(description), "schedule")
    rules = [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": scheduler(description), "namespace": description.namespace}
    return [
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": about, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": scheduler(description)},
            "subjects": [subject],
        },
    ]


def launcher_policy(description: Description) -> Manifest:
    """For the head of `ray up`, which starts and ends the workers of its own cluster. EC2 describes without limits only."""
    here = f"arn:aws:ec2:{description.region}:{description.account_id}"
    ours = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": description.name}}
    made_of = ("instance/*", "volume/*", "network-interface/*", "subnet/*", "security-group/*", "key-pair/*")
    start = [f"{here}:{kind}" for kind in made_of] + [f"arn:aws:ec2:{description.region}::image/*"]
    look = ["ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeImages", "ec2:DescribeSubnets"]
    look += ["ec2:DescribeSecurityGroups", "ec2:DescribeKeyPairs", "ec2:DescribeInstanceTypes"]
    tag = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    worker = f"arn:aws:iam::{description.account_id}:role/{description.name}-{NODE}"
    return {
        "Version": VERSION,
        "Statement": [
            {"Sid": "Look", "Effect": "Allow", "Action": look, "Resource": ["*"]},
            {"Sid": "Start", "Effect": "Allow", "Action": ["ec2:RunInstances"], "Resource": start},
            {"Sid": "Name", "Effect": "Allow", "Action": ["ec2:CreateTags"], "Resource": [f"{here}:*/*"], "Condition": tag},
            {
                "Sid": "Own",
                "Effect": "Allow",
                "Action": ["ec2:TerminateInstances", "ec2:CreateTags"],
                "Resource": [f"{here}:instance/*"],
                "Condition": ours,
            },
            {"Sid": "Pass", "Effect": "Allow", "Action": ["iam:PassRole"], "Resource": [worker]},
        ],
    }


def _objects(description: Description, name: str, actions: list[str], places: tuple[str, ...]) -> dict[str, Any]:
    where = [f"arn:aws:s3:::{description.bucket}/{description.prefix}/{place}/*" for place in places]
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": where}


def _account(about: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about, "automountServiceAccountToken": False}
