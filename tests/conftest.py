"""What tests of several folders share: a real S3 server and a fresh bucket on it."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from infra import s3_server

# As many processes as cores run tests: threads of their own would wait for each other. Read when torch is imported, later.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure, and a commit's tests are the same each time they run.
settings.register_profile("quarkline", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quarkline")


@pytest.fixture(scope="module", autouse=True)
def no_ray_of_other_files() -> Iterator[None]:
    """A Ray that a file's tests started in this process is gone when the next file begins."""
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


@pytest.fixture(scope="session")
def s3_server_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.Server]:
    """A Ceph RGW of this test process alone (each xdist worker has its own), with the AWS variables set to it."""
    try:
        s3_server.install()
    except s3_server.ServerError as error:
        pytest.skip(f"no S3 server: {error}")
    server = s3_server.Server(tmp_path_factory.mktemp("s3"), port=0)
    with pytest.MonkeyPatch.context() as environment, _stopped_in_the_end(server):
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_CONFIG_FILE"):
            environment.delenv(name, raising=False)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        environment.setenv("QUARKLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        server.start()
        for name, value in server.environment().items():
            environment.setenv(name, value)
        yield server


@contextlib.contextmanager
def _stopped_in_the_end(server: s3_server.Server) -> Iterator[None]:
    """A process that stops the server when this one closes the pipe to it, or is killed."""
    command = 'read line; exec "$0" -m infra.s3_server stop --root "$1"'
    words = ["sh", "-c", command, sys.executable, str(server.root)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(words, stdin=subprocess.PIPE, cwd=root, start_new_session=True):
        yield


@pytest.fixture(scope="session")
def s3(s3_server_at: s3_server.Server) -> str:
    """The URL of a fresh bucket on a real S3 server."""
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    s3_server.make_bucket(s3_server_at, bucket)
    return f"s3://{bucket}"
