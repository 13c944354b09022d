"""A shared store in a bucket of a real server that speaks S3: moto's, in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeresnet.errors import ArtifactError, MachineError
from edgeresnet.store import Shared, shared

from . import shared_stores

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # botocore's own warnings
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
SERVER = Path(sys.executable).with_name("moto_server")


@contextlib.contextmanager
def serving(**environment: str) -> Iterator[str]:
    """Start a server, and yield its address."""
    if not SERVER.is_file():
        pytest.skip("moto's server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, quiet = f"http://127.0.0.1:{port}", subprocess.DEVNULL
    process = subprocess.Popen([SERVER, "-p", str(port)], stdout=quiet, stderr=quiet, env={**os.environ, **environment})
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """`connect(address)` lets all that speaks S3 from here on use this server."""
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def use(address: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        shared._files.cache_clear()

    yield use
    s3fs.S3FileSystem.clear_instance_cache()
    shared._files.cache_clear()


@pytest.fixture
def bucket(server: str, connect: Callable[[str], None], tmp_path: Path) -> str:
    """A new bucket's address."""
    connect(server)
    name = "b" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    return f"s3://{name}/folder/store"


def test_an_artifact_travels(bucket: str, tmp_path: Path) -> None:
    shared_stores.travels(bucket, tmp_path)


def test_changed_bytes_are_not_used(bucket: str, tmp_path: Path) -> None:
    shared_stores.changed_bytes_are_not_used(bucket, tmp_path)


def test_a_bucket_that_does_not_exist(bucket: str) -> None:
    with pytest.raises(ArtifactError, match="the shared store s3://absent-bucket/x does not exist"):
        Shared.open("s3://absent-bucket/x")


def test_a_bucket_without_rights(connect: Callable[[str], None]) -> None:
    with serving(INITIAL_NO_AUTH_ACTION_COUNT="0") as address:  # a server on which rights count
        connect(address)
        with pytest.raises(ArtifactError, match="the shared store s3://theirs/x cannot be used without permission"):
            Shared.open("s3://theirs/x")


def test_a_server_that_does_not_answer(connect: Callable[[str], None]) -> None:
    connect("http://127.0.0.1:1")
    with pytest.raises(MachineError, match="the shared store s3://bucket/x cannot be reached"):
        Shared.open("s3://bucket/x")
