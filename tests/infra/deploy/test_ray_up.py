import copy

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.infra.deploy.rendered import CASES, FULL, files_of


def config(description):
    return yaml.safe_load(files_of(description)["aws/ray-cluster.yaml"])


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_ray_itself_takes_the_file(description):
    found = config(description)
    validate_config(copy.deepcopy(found))
    prepared = prepare_config(copy.deepcopy(found))
    validate_config(prepared)
    types = prepared["available_node_types"]
    assert types["head"]["max_workers"] == 0
    for group in description.workers:
        assert (types[f"{group.name}-workers"]["min_workers"], types[f"{group.name}-workers"]["max_workers"]) == (
            group.least,
            group.most,
        )


def test_ray_s_validation_can_refuse():
    found = config(FULL)
    found["max_worker"] = 3
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(found)
    found = config(FULL) | {"max_workers": 0}
    with pytest.raises(ValueError, match="max_workers"):
        validate_config(found)


def test_the_head_is_on_demand_workers_are_as_described_and_disks_are_encrypted():
    types = config(FULL)["available_node_types"]
    market = {name: one["node_config"].get("InstanceMarketOptions", {}).get("MarketType") for name, one in types.items()}
    assert market == {"head": None, "small-workers": "spot", "l40s-workers": "spot", "h200-workers": None}
    assert types["h200-workers"]["resources"] == {"CPU": 180, "GPU": 8}
    for one in types.values():
        machine = one["node_config"]
        assert machine["ImageId"] == FULL.ami
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        assert all(disk["Ebs"]["Encrypted"] for disk in machine["BlockDeviceMappings"])
        assert machine["IamInstanceProfile"]["Arn"].startswith("arn:aws:iam::999988887777:instance-profile/ql-")


def test_tokens_are_on_and_come_from_a_file():
    found = config(FULL)
    assert list(found["file_mounts"].values()) == ["~/.ray/auth_token"]
    for commands in (found["head_start_ray_commands"], found["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token ray start" in commands[-1]
    assert "--dashboard-host=127.0.0.1" in found["head_start_ray_commands"][-1]
    assert "mount -t nfs4" in found["initialization_commands"][0]
