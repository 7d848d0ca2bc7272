"""Who may talk to whom in the namespace: nobody, but for what is listed here."""

from typing import Any

from infra.deploy.description import Description
from infra.deploy.pods import METRICS_PORT, Manifest, labels, metadata

DASHBOARD_PORT = 8265
METADATA_SERVICES = ("169.254.169.254/32", "fd00:ec2::254/128")  # whoever reaches it has the node's role
HEAD = {"ray.io/node-type": "head"}


def policies(description: Description) -> list[Manifest]:
    """Rules add up: the first denies all, the others allow.

    Rules cannot say "of the same Ray cluster" for clusters whose names KubeRay draws; that one cluster is not another's is the
    work of their tokens.
    """
    ray = {"podSelector": {"matchLabels": {"ray.io/is-ray-node": "yes", "app.kubernetes.io/part-of": description.name}}}
    ours = {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": description.name}}}
    operator = {**_namespace(description.operator_namespace), "podSelector": {}}
    return [
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
        _policy(description, "https", ours["podSelector"], egress=[_https(description)]),
    ]


def _https(description: Description) -> Manifest:
    """S3, STS and the Kubernetes API; not the node's metadata service."""
    to = []
    for cidr in description.egress_cidrs:
        block: dict[str, Any] = {"cidr": cidr}
        if cidr in ("0.0.0.0/0", "::/0"):
            block["except"] = [METADATA_SERVICES[cidr == "::/0"]]
        to.append({"ipBlock": block})
    return {"to": to, "ports": [_tcp(443)]}


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
