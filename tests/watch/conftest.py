"""What the tests of watching share: their helper modules and those of the steps, and a server to send to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "steps")]

from http_receiver import Receiver, receiving  # noqa: E402


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a running receiver."""
    with receiving() as running:
        yield running
