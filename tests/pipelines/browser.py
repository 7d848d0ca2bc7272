"""A headless Chromium for tests, driven through chromedriver's own HTTP protocol (W3C WebDriver): no package, no download."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    # Ray's object stores share /dev/shm with the tests: a page crashes where they have filled it.
    "--disable-dev-shm-usage",
    *("--disable-sync", "--disable-component-update", "--autoplay-policy=no-user-gesture-required", "--window-size=1280,1600"),
)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing() -> str:
    """Why there can be no browser; empty if there can."""
    return (
        ""
        if shutil.which("chromium") and shutil.which("chromedriver")
        else "no Chromium: apt-get install chromium chromium-driver"
    )


class Browser:
    """One browser with a profile of its own in an empty folder; to be closed."""

    def __init__(self, profile: Path):
        command = [shutil.which("chromedriver"), "--port=0"]
        self._driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._session = ""
        try:
            said = iter(self._driver.stdout.readline, "")
            port = next(found[1] for line in said if (found := re.search(r"successfully on port (\d+)", line)))
            self._url = f"http://127.0.0.1:{port}/session"
            options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            self._session = "/" + self._call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.close()
            raise

    def _call(self, path: str, body: dict | None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._url}{self._session}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with DIRECT.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as refused:
            said = refused.read().decode(errors="replace")
            raise RuntimeError(f"the browser refused {path or method} {body}: {said}") from refused

    def open(self, page: Path) -> None:
        """Load a local page and wait for it."""
        self._call("/url", {"url": page.absolute().as_uri()})

    def run(self, script: str) -> Any:
        """The value that a piece of JavaScript returns, waited for if it is a promise."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def press(self, key: str) -> None:
        """Press a key and let it go, wherever the focus is."""
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def complaints(self) -> list[str]:
        """What the page wrote to the console, errors and refused requests included."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def close(self) -> None:
        try:
            if self._session:
                self._call("", None, "DELETE")
        finally:
            self._driver.terminate()
            self._driver.wait(20)
            self._driver.stdout.close()
