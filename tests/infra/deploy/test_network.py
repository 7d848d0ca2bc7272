import dataclasses

import pytest

from infra.deploy.network import policies
from tests.infra.deploy.rendered import CASES, FULL, of_kind, pods


def policy(name: str, description=FULL) -> dict:
    (found,) = [one for one in of_kind(description, "NetworkPolicy") if one["metadata"]["name"] == f"{description.name}-{name}"]
    return found["spec"]


def ports(rules: list[dict]) -> set:
    return {port["port"] for rule in rules for port in rule.get("ports", [{"port": "any"}])}


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_all_is_denied_and_each_rule_names_who_and_what(description):
    assert policy("deny", description) == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for one in of_kind(description, "NetworkPolicy"):
        for rule in one["spec"].get("ingress", []) + one["spec"].get("egress", []):
            peers = rule.get("from") or rule.get("to")
            assert peers and {} not in peers, one["metadata"]["name"]


def test_ray_s_ports_are_for_its_own_nodes_only():
    ray = {"podSelector": {"matchLabels": {"ray.io/is-ray-node": "yes", "app.kubernetes.io/part-of": "ql"}}}
    spec = policy("ray")
    assert spec["podSelector"] == ray["podSelector"]
    assert (spec["ingress"], spec["egress"]) == ([{"from": [ray]}], [{"to": [ray]}])
    for one in of_kind(FULL, "NetworkPolicy"):
        if one["metadata"]["name"] != "ql-ray":
            assert ports(one["spec"].get("ingress", [])) <= {8265, 8080}


def test_the_dashboard_is_for_the_namespace_and_the_operator_metrics_are_for_prometheus():
    spec = policy("dashboard")
    assert ports(spec["ingress"]) == {8265}
    own, operator = spec["ingress"][0]["from"]
    assert own == {"podSelector": {}}
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kuberay-system"}
    (monitoring,) = policy("metrics")["ingress"][0]["from"]
    assert monitoring == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def test_outside_is_https_without_the_node_s_metadata_service():
    (rule,) = policy("https")["egress"]
    assert ports([rule]) == {443}
    assert rule["to"] == [
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}},
        {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128"]}},
    ]


def test_the_head_reaches_its_redis_and_nobody_else_does():
    spec = policy("redis")
    (rule,) = spec["egress"]
    assert (spec["policyTypes"], ports([rule])) == (["Egress"], {int(FULL.redis_address.rpartition(":")[2])})
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "stores"}
    assert spec["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "ql"}
    (chosen,) = spec["podSelector"]["matchExpressions"]  # KubeRay gives its pods this label
    assert chosen == {"key": "ray.io/node-type", "operator": "In", "values": ["head", "redis-cleanup"]}
    for one in of_kind(CASES["defaults"], "NetworkPolicy"):
        assert "redis" not in one["metadata"]["name"] and ports(one["spec"].get("egress", [])) <= {"any", 443, 53, 8265}


@pytest.mark.parametrize(
    ("address", "to"),
    [
        ("10.1.2.3:6380", [{"ipBlock": {"cidr": "10.1.2.3/32"}}]),
        ("a.b.svc.cluster.local:6380", None),
        ("master.redis.example.test:6380", policy("https")["egress"][0]["to"]),
    ],
)
def test_a_redis_may_be_a_service_an_address_or_a_host_outside(address, to):
    (found,) = [
        one for one in policies(dataclasses.replace(FULL, redis_address=address)) if one["metadata"]["name"].endswith("-redis")
    ]
    (rule,) = found["spec"]["egress"]
    namespace = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}, "podSelector": {}}
    assert (rule["to"], ports([rule])) == (to or [namespace], {6380})


@pytest.mark.parametrize("name", ["submitter", "schedule", "simulate"])
def test_every_pod_can_ask_for_names_and_reach_https(name):
    (labels, *_) = [
        pod["metadata"]["labels"] for _, pod in pods(FULL) if pod["metadata"]["labels"]["app.kubernetes.io/component"] == name
    ]
    for rule in ("names", "https"):
        assert policy(rule)["podSelector"]["matchLabels"].items() <= labels.items()
    if name == "submitter":
        assert policy("submit")["podSelector"]["matchLabels"].items() <= labels.items()
