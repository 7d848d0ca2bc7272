import json

import pytest

from infra.deploy.steps import STEPS
from tests.infra.deploy.rendered import CASES, FULL, files_of, of_kind, policies

PARTS = ("corpora", "data/train", "data/test", "data/retrain", "tokens/train", "tokens/test", "checkpoints/codec")
PARTS += ("checkpoints/lm", "bundle", "evaluation", "registry")
ACTIONS = {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}


def may(policy, action: str, key: str) -> bool:
    """Whether a policy allows an action on a key, as IAM matches a trailing `*`."""
    arn = f"arn:aws:s3:::{FULL.bucket}/{key}"
    return any(
        action in statement["Action"] and any(arn.startswith(resource.removesuffix("*")) for resource in statement["Resource"])
        for statement in policy["Statement"]
        if "Condition" not in statement
    )


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_no_action_has_a_wildcard_and_no_resource_lies_outside_the_prefix(description):
    inside = f"arn:aws:s3:::{description.bucket}/{description.prefix}/"
    for name, policy in policies(description).items():
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}, name
            assert set(statement["Action"]) <= ACTIONS
            if statement["Action"] == ["s3:ListBucket"]:
                assert statement["Resource"] == [f"arn:aws:s3:::{description.bucket}"]
                prefixes = statement["Condition"]["StringLike"]["s3:prefix"]
                assert prefixes and all(
                    prefix.startswith(f"{description.prefix}/") and len(prefix) > len(description.prefix) + 2
                    for prefix in prefixes
                )
            else:
                assert statement["Resource"], (name, statement["Sid"])
                for resource in statement["Resource"]:
                    place = resource.removeprefix(inside)
                    assert resource.startswith(inside) and place.endswith("/*") and "*" not in place[:-1] and len(place) > 2


def test_each_step_writes_its_own_and_reads_what_it_needs():
    rights = policies(FULL)
    root = FULL.prefix
    writes = {
        name: {place for place in PARTS if may(policy, "s3:PutObject", f"{root}/{place}/x")} for name, policy in rights.items()
    }
    assert writes == {
        "simulate": {"data/train"},
        "simulate-test": {"data/test"},
        "train-codec": {"checkpoints/codec"},
        "encode": {"tokens/train"},
        "encode-test": {"tokens/test"},
        "train-lm": {"checkpoints/lm"},
        "bundle": {"bundle"},
        "evaluate": {"evaluation"},
        "retrain": {"data/retrain", "registry"},
        "interactive": set(PARTS) - {"corpora", "registry"},
    }
    assert not may(rights["train-lm"], "s3:GetObject", f"{root}/data/test/x")
    assert not may(rights["evaluate"], "s3:GetObject", f"{root}/data/train/x")
    champion = f"{root}/registry/champion.json"
    assert [name for name, policy in rights.items() if may(policy, "s3:PutObject", champion)] == ["retrain"]
    assert not any(may(policy, "s3:DeleteObject", champion) for policy in rights.values())
    for place in ("models/id/model.json", "history/000001.json", "lease.json"):
        assert not any(may(policy, "s3:DeleteObject", f"{root}/registry/{place}") for policy in rights.values())
    assert [name for name, policy in rights.items() if may(policy, "s3:DeleteObject", f"{root}/registry/runs/id/lm/x")] == [
        "retrain"
    ]  # checkpoints of a run that goes on, bulky files of old ones
    assert not any(may(policy, "s3:PutObject", f"{root}/corpora/x") for policy in rights.values())
    assert may(rights["encode"], "s3:GetObject", f"{root}/registry/models/id/model.safetensors")
    assert not may(rights["encode"], "s3:GetObject", champion)
    assert not may(rights["simulate"], "s3:GetObject", f"{root}/checkpoints/x")
    assert not may(rights["simulate"], "s3:GetObject", "another/data/x")


def test_a_role_is_for_one_account_of_one_cluster_and_every_account_has_its_role():
    files = files_of(FULL)
    accounts = {one["metadata"]["name"]: one["metadata"].get("annotations", {}) for one in of_kind(FULL, "ServiceAccount")}
    for step in STEPS:
        account = f"ql-{step.name}"
        assert accounts[account] == {"eks.amazonaws.com/role-arn": f"arn:aws:iam::999988887777:role/{account}"}
        (statement,) = json.loads(files[f"iam/{step.name}.trust.json"])["Statement"]
        equal = statement["Condition"]["StringEquals"]
        assert equal[f"{FULL.oidc_provider}:sub"] == f"system:serviceaccount:audio:{account}"
        assert equal[f"{FULL.oidc_provider}:aud"] == "sts.amazonaws.com"
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert accounts["ql-schedule"] == {}
    used = {
        job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["serviceAccountName"]
        for job in of_kind(FULL, "RayJob")
    }
    assert used == {f"ql-{step.name}" for step in STEPS}


def test_whoever_creates_scheduled_jobs_can_do_nothing_else():
    (role,), (binding,) = of_kind(FULL, "Role"), of_kind(FULL, "RoleBinding")
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == ["ql-schedule"]


def test_the_head_of_ray_up_ends_only_machines_of_its_own_cluster():
    policy = json.loads(files_of(FULL)["iam/ray-up-head.policy.json"])
    for statement in policy["Statement"]:
        assert not any("*" in action for action in statement["Action"])
        if "*" in statement["Resource"]:
            assert all(action.startswith("ec2:Describe") for action in statement["Action"])
        if "ec2:TerminateInstances" in statement["Action"]:
            assert statement["Condition"] == {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": "ql"}}
        if "iam:PassRole" in statement["Action"]:
            assert statement["Resource"] == ["arn:aws:iam::999988887777:role/ql-node"]
