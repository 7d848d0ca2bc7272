"""Create a RayJob and wait for its end, from a pod: `python -m infra.deploy.create_rayjob rayjob.json`.

It is named after the Kubernetes Job that asks (JOB_NAME), so whoever asks again, after a kill or an answer that was lost, finds
the same one. Exit codes: 0 succeeded, 1 failed, 2 refused by Kubernetes, 5 Kubernetes cannot be reached or the RayJob is gone.
"""

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.command_line import run

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ENDED = ("Complete", "Failed")  # of status.jobDeploymentStatus
PASSING = (429, 500, 502, 503, 504)
POLL_S, REQUEST_S, PATIENCE_S = 30.0, 30.0, 900.0


class Gone(OSError):
    """The RayJob was there, and is not any more."""


@dataclass(frozen=True)
class Kubernetes:
    """The API server as a pod sees it. The token is read at each request: it is replaced while the pod runs."""

    url: str
    account: Path = ACCOUNT
    poll_s: float = POLL_S
    patience_s: float = PATIENCE_S
    context: ssl.SSLContext | None = field(default=None, compare=False)

    @classmethod
    def of_this_pod(cls) -> "Kubernetes":
        """ValueError outside of a pod."""
        try:
            host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
            context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        except (KeyError, OSError) as error:
            raise ValueError(f"this runs in a pod with a service account: {error}") from error
        return cls(f"https://{f'[{host}]' if ':' in host else host}:{port}", context=context)

    def rayjobs(self) -> str:
        return f"{self.url}/apis/ray.io/v1/namespaces/{(self.account / 'namespace').read_text().strip()}/rayjobs"

    def ask(self, url: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer; a fault that may pass is tried again for `patience_s`, then OSError."""
        end = time.monotonic() + self.patience_s
        while True:
            try:
                status, answer = self._ask(url, body)
                fault = f"{status} {answer.get('message', '')}"
            except (OSError, ValueError) as error:
                status, answer, fault = 0, {}, str(error)
            if status and status not in PASSING:
                return status, answer
            if time.monotonic() > end:
                raise OSError(f"{url}: {fault}; it was tried for {self.patience_s:.0f} s")
            time.sleep(min(self.poll_s, 5.0))

    def _ask(self, url: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {(self.account / 'token').read_text().strip()}")
        request.add_header("Content-Type", "application/json")
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)]
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=REQUEST_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else {}


def create_and_wait(kubernetes: Kubernetes, job: dict[str, Any], name: str) -> dict[str, Any]:
    """The status of the RayJob of this name when it has ended. ValueError for one that is refused, Gone, OSError."""
    made = job | {"metadata": job["metadata"] | {"name": name}}
    status, answer = kubernetes.ask(kubernetes.rayjobs(), made)
    if status not in (200, 201, 202, 409):
        raise ValueError(f"rayjob {name}: Kubernetes refuses it: {status} {answer.get('message', '')}")
    print(f"rayjob {name}: {'there already' if status == 409 else 'created'}", flush=True)
    shown = ""
    while True:
        status, answer = kubernetes.ask(f"{kubernetes.rayjobs()}/{name}")
        if status == 404:
            raise Gone(f"rayjob {name}: it was deleted before it had ended")
        if status != 200:
            raise ValueError(f"rayjob {name}: Kubernetes does not show it: {status} {answer.get('message', '')}")
        found = answer.get("status", {})
        line = (
            f"{found.get('jobDeploymentStatus') or 'waiting'} {found.get('jobStatus', '')} {found.get('message', '')}".strip()
        )
        if line != shown:
            print(f"rayjob {name}: {line}", flush=True)
        if found.get("jobDeploymentStatus") in ENDED:
            return found
        shown = line
        time.sleep(kubernetes.poll_s)


def main(argv: list[str]) -> int:
    if len(argv) != 1 or not os.environ.get("JOB_NAME"):
        raise ValueError("give the file of a RayJob, and its name as JOB_NAME")
    job = json.loads(Path(argv[0]).read_text())
    found = create_and_wait(Kubernetes.of_this_pod(), job, os.environ["JOB_NAME"])
    return 0 if found.get("jobStatus") == "SUCCEEDED" else 1


if __name__ == "__main__":
    run(main)
