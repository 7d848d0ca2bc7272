"""Who may talk to whom in the namespace: nobody, but for what is listed here."""

import ipaddress
from typing import Any

from infra.deploy.description import Description
from infra.deploy.pods import METRICS_PORT, Manifest, labels, metadata

DASHBOARD_PORT = 8265
METADATA_SERVICES = ("169.254.169.254/32", "fd00:ec2::254/128")  # whoever reaches it has the node's role
HEAD = {"ray.io/node-type": "head"}
KEEPERS = ["head", "redis-cleanup"]  # the latter is KubeRay's own pod, which empties the Redis of a cluster that is gone


def policies(description: Description) -> list[Manifest]:
    """Rules add up: the first denies all, the others allow.

    Rules cannot say "of the same Ray cluster" for clusters whose names KubeRay draws; that one cluster is not another's is the
    work of their tokens.
    """
    ray = {"podSelector": {"matchLabels": {"ray.io/is-ray-node": "yes", "app.kubernetes.io/part-of": description.name}}}
    ours = {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": description.name}}}
    operator = {**_namespace(description.operator_namespace), "podSelector": {}}
    found = [
        _policy(description, "deny", {}, ["Ingress", "Egress"]),
        _policy(description, "ray", ray["podSelector"], ingress=[{"from": [ray]}], egress=[{"to": [ray]}]),
        _policy(
            *(description, "dashboard", {"matchLabels": HEAD}),
            ingress=[{"from": [{"podSelector": {}}, operator], "ports": [_tcp(DASHBOARD_PORT)]}],
        ),
        _policy(
            *(description, "submit", {"matchLabels": labels(description, "submitter")}),
            egress=[{"to": [{"podSelector": {"matchLabels": HEAD}}], "ports": [_tcp(DASHBOARD_PORT)]}],
        ),
        _policy(
            *(description, "metrics", ray["podSelector"]),
            ingress=[{"from": [_namespace(description.monitoring_namespace)], "ports": [_tcp(METRICS_PORT)]}],
        ),
        _policy(description, "names", ours["podSelector"], egress=[_dns()]),
        _policy(description, "https", ours["podSelector"], egress=[{"to": _outside(description), "ports": [_tcp(443)]}]),
    ]
    if description.redis_address:
        keepers = {"key": "ray.io/node-type", "operator": "In", "values": KEEPERS}
        pods = ours["podSelector"] | {"matchExpressions": [keepers]}
        found.append(_policy(description, "redis", pods, egress=[_redis(description)]))
    return found


def _redis(description: Description) -> Manifest:
    """A rule cannot name hosts: a service's whole namespace, an address, or all that is outside; on this one port."""
    host, _, port = description.redis_address.rpartition(":")
    parts = host.split(".")
    try:
        to = [{"ipBlock": {"cidr": str(ipaddress.ip_network(host))}}]
    except ValueError:
        in_cluster = len(parts) == 2 or parts[2] == "svc"
        to = [{**_namespace(parts[1]), "podSelector": {}}] if in_cluster else _outside(description)
    return {"to": to, "ports": [_tcp(int(port))]}


def _outside(description: Description) -> list[Manifest]:
    """S3, STS and the Kubernetes API; not the node's metadata service."""
    to = []
    for cidr in description.egress_cidrs:
        block: dict[str, Any] = {"cidr": cidr}
        if cidr in ("0.0.0.0/0", "::/0"):
            block["except"] = [METADATA_SERVICES[cidr == "::/0"]]
        to.append({"ipBlock": block})
    return to


def _dns() -> Manifest:
    to = [{**_namespace("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]
    return {"to": to, "ports": [{"protocol": "UDP", "port": 53}, _tcp(53)]}


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(port: int) -> Manifest:
    return {"protocol": "TCP", "port": port}


def _policy(
    description: Description,
    name: str,
    pods: Manifest,
    types: list[str] | None = None,
    *,
    ingress: list[Manifest] | None = None,
    egress: list[Manifest] | None = None,
) -> Manifest:
    rules = ({"ingress": ingress} if ingress else {}) | ({"egress": egress} if egress else {})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(description, f"{description.name}-{name}", "network"),
        "spec": {"podSelector": pods, "policyTypes": types or [rule.capitalize() for rule in rules], **rules},
    }
