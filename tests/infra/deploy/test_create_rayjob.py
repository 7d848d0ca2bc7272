"""Against a real HTTP server that answers as the API server of Kubernetes does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.deploy.create_rayjob import Gone, Kubernetes, create_and_wait, main

JOB = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"labels": {"a": "b"}}, "spec": {"entrypoint": "true"}}
PATH = "/apis/ray.io/v1/namespaces/audio/rayjobs"


class Api(ThreadingHTTPServer):
    """Keeps RayJobs by name; `statuses` are shown one after the other, `faults` are answered first."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs, self.statuses, self.faults, self.tokens, self.created = {}, [], [], [], 0


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handled(self) -> bool:
        self.server.tokens.append(self.headers["Authorization"])
        if self.server.faults:
            self.answer(self.server.faults.pop(0), {"message": "as the test wants it"})
            return True
        return False

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["metadata"]["name"]
        lost = self.server.faults and self.server.faults[0] == "lost"
        if not lost and self.handled():
            return
        assert self.path == PATH
        if name in self.server.jobs:
            return self.answer(409, {"message": "AlreadyExists"})
        self.server.jobs[name], self.server.created = body, self.server.created + 1
        if lost:
            self.server.faults.pop(0)
            return self.connection.close()
        self.answer(201, body)

    def do_GET(self):
        if self.handled():
            return
        name = self.path.removeprefix(f"{PATH}/")
        if name not in self.server.jobs:
            return self.answer(404, {"message": "not found"})
        status = self.server.statuses.pop(0) if len(self.server.statuses) > 1 else self.server.statuses[0]
        self.answer(200, self.server.jobs[name] | {"status": status})


@pytest.fixture
def api():
    server = Api()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kubernetes(api, tmp_path):
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "namespace").write_text("audio")
    return Kubernetes(f"http://127.0.0.1:{api.server_port}", tmp_path, poll_s=0.01, patience_s=0.5)


DONE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


def test_it_creates_waits_and_says_how_it_ended(api, kubernetes, capsys):
    api.statuses = [{}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, DONE]
    assert create_and_wait(kubernetes, JOB, "ql-retrain-29000000") == DONE
    assert api.jobs["ql-retrain-29000000"]["metadata"] == {"labels": {"a": "b"}, "name": "ql-retrain-29000000"}
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "rayjob ql-retrain-29000000: Running RUNNING",
        "rayjob ql-retrain-29000000: Complete SUCCEEDED",
    ]
    assert set(api.tokens) == {"Bearer abc"}


def test_whoever_asks_again_finds_the_same_one(api, kubernetes):
    api.statuses = [DONE]
    create_and_wait(kubernetes, JOB, "a")
    api.statuses = [{"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"}]
    assert create_and_wait(kubernetes, JOB, "a")["jobStatus"] == "FAILED"
    assert api.created == 1


def test_an_answer_that_was_lost_makes_no_second_job(api, kubernetes):
    api.statuses, api.faults = [DONE], ["lost"]
    create_and_wait(kubernetes, JOB, "a")
    assert api.created == 1


def test_faults_that_pass_are_waited_for_and_others_are_not(api, kubernetes):
    api.statuses, api.faults = [DONE], [503, 429, 500]
    assert create_and_wait(kubernetes, JOB, "a") == DONE
    api.faults = [503] * 1000
    with pytest.raises(OSError, match="503 as the test wants it"):
        create_and_wait(kubernetes, JOB, "b")
    api.faults = [403]
    with pytest.raises(ValueError, match="Kubernetes refuses it: 403"):
        create_and_wait(kubernetes, JOB, "b")


def test_a_job_that_is_deleted_meanwhile_is_an_error(api, kubernetes):
    api.statuses = [{}]
    threading.Timer(0.1, api.jobs.clear).start()
    with pytest.raises(Gone, match="deleted before it had ended"):
        create_and_wait(kubernetes, JOB, "a")


def test_a_new_token_is_used_at_once(api, kubernetes, tmp_path):
    api.statuses = [DONE]
    create_and_wait(kubernetes, JOB, "a")
    (tmp_path / "token").write_text("def")
    create_and_wait(kubernetes, JOB, "b")
    assert api.tokens[-1] == "Bearer def"


def test_outside_of_a_pod_it_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ValueError, match="JOB_NAME"):
        main([str(tmp_path / "rayjob.json")])
    monkeypatch.setenv("JOB_NAME", "a")
    (tmp_path / "rayjob.json").write_text(json.dumps(JOB))
    with pytest.raises(ValueError, match="in a pod"):
        main([str(tmp_path / "rayjob.json")])
