"""What the tests of remote stores share: a real S3 server on this machine, and a cache of their own."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmpipe.remote import store_path

sys.path.insert(0, str(Path(__file__).parent.parent / "steps"))
_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start moto's S3 server on a free port; yield its address."""
    pytest.importorskip("s3fs", reason="the extra mmpipe[s3] is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a cache of its own."""
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def s3_root(s3_server: str, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the URL of a store that is not there yet, in a bucket of its own."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{next(_numbers)}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(bucket)
    return store_path(f"s3://{bucket}/team/store")


@pytest.fixture
def memory_root(cache_folder: Path) -> Iterator[Path]:
    """Return the URL of a store in this process's memory."""
    import fsspec

    yield store_path(f"memory://store-{next(_numbers)}")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def store_content() -> Callable[[Path], dict[str, bytes]]:
    """Return what tells all that a store's readers may look at."""
    return _content


def _content(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    found = {str(path.relative_to(root)): path.read_bytes() for path in paths}
    return {name: data for name, data in found.items() if not name.startswith(("_staging", "_leases", "_runs"))}
