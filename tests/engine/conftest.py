"""What the tests of the engines share: their helper modules, and a cluster."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # local workers get our sys.path, and find faulty_work by it
    sys.path.insert(0, str(HERE))

from ray_nodes import RayNodes  # noqa: E402


@pytest.fixture(scope="session")
def ray_nodes() -> Iterator[RayNodes]:
    """Return a running Ray cluster of a head and two nodes."""
    if find_spec("ray") is None:  # not imported here: Ray reads how to authenticate when it is
        pytest.skip("the extra mmpipe[ray] is not installed")
    with pytest.MonkeyPatch.context() as environment:
        nodes = RayNodes()
        (nodes.folder / "token").write_text(secrets.token_hex(32))
        environment.setenv("RAY_AUTH_MODE", "token")  # of the nodes and of this process
        environment.setenv("RAY_AUTH_TOKEN_PATH", str(nodes.folder / "token"))
        try:
            nodes.start()
            yield nodes
        finally:
            nodes.stop()
