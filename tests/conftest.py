"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
CORPORA = REPOSITORY.parent / "shared" / "corpora"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `./run sweep` what takes long and finds what shorter tests find a part of."""
    if not os.environ.get("MMPIPE_SWEEP"):
        for item in items:
            if item.get_closest_marker("sweep"):
                item.add_marker(pytest.mark.skip(reason="a part of ./run sweep"))


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Return the folder of real media, or skip where it is absent."""
    if not CORPORA.is_dir():
        pytest.skip(f"the real media are not at hand: {CORPORA}")
    return CORPORA
