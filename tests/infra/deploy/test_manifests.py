import json
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from infra.config import from_json
from infra.deploy.description import Description
from infra.deploy.manifests import main, parsed, render
from tests.infra.deploy.rendered import CASES, CUSTOM, FULL, files_of, objects, pods

ROOT = Path(__file__).parents[3]
KUBERNETES = "1.33"
# What secrets look like: AWS keys, private keys, long random words beside a telling name.
SECRETS = (
    re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"(?i)(secret|password|passwd|token|credential|api_?key)[\w-]*[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9+/_-]{16,}"),
    re.compile(r"//[^/\s:]+:[^/\s@]+@"),
)


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_objects_are_what_kubernetes_itself_asks_for(description):
    checked = 0
    for one in objects(description):
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
            checked += 1
    for _, template in pods(description):  # those inside of KubeRay's objects, too
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod"} | template, KUBERNETES, strict=True)
        checked += 1
    assert checked > 40


def test_kubernetes_validation_can_refuse():
    (cron,) = [one for one in objects(FULL) if one["kind"] == "CronJob"]
    cron["spec"]["concurencyPolicy"] = "Forbid"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(cron, KUBERNETES, strict=True)


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_no_file_holds_anything_like_a_secret(description):
    for name, text in files_of(description).items():
        for pattern in SECRETS:
            assert not pattern.search(text), (name, pattern.pattern)
    for one in objects(description):
        assert one["kind"] != "Secret"


def test_the_search_for_secrets_can_find_one():
    for text in ("key: AKIAABCDEFGHIJKLMNOP", 'RAY_AUTH_TOKEN: "0123456789abcdef0123"', "redis://user:hunter2@host"):
        assert any(pattern.search(text) for pattern in SECRETS), text


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_yaml_reads_back_and_has_no_anchors(description):
    for name, text in files_of(description).items():
        if name.endswith(".yaml"):
            parts = list(yaml.safe_load_all(text))
            assert parts and all(parts), name
            assert not re.search(r"[:-] [&*]id\d", text), name
        else:
            json.loads(text)


def test_the_same_description_gives_the_same_bytes_in_any_process():
    script = "import hashlib,json; from infra.deploy.manifests import render; from infra.deploy.description import Description;"
    script += "print(hashlib.sha256(json.dumps(render(Description())).encode()).hexdigest())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1 and len(seen.pop()) == 65


def test_names_of_a_kind_are_unique():
    for description in CASES.values():
        names = [(one["kind"], one["metadata"]["name"]) for one in objects(description)]
        assert len(set(names)) == len(names)


def test_two_deployments_share_nothing_but_what_they_must():
    def names(description):
        return {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects(description)}

    assert not names(FULL) & names(Description())


def test_the_command_writes_all_files_and_the_description_that_they_come_from(tmp_path, capsys):
    (tmp_path / "cluster.yaml").write_text("bucket: from-file\nnamespace: audio\n")
    words = ["--description", str(tmp_path / "cluster.yaml"), "--out", str(tmp_path / "out"), "--bucket", "from-words"]
    assert main(words) == 0
    config = parsed(words)
    assert (config.cluster.bucket, config.cluster.namespace) == ("from-words", "audio")
    written = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_text()
        for path in (tmp_path / "out").rglob("*.*")
        if path.is_file()
    }
    assert written == render(config.cluster)
    assert from_json(Description, json.loads(written["description.json"]), "") == config.cluster
    assert "warning: account_id" in capsys.readouterr().err
