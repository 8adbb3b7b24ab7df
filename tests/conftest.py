"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
CORPORA = REPOSITORY.parent / "shared" / "corpora"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Return the folder of real media, or skip where it is absent."""
    if not CORPORA.is_dir():
        pytest.skip(f"the real media are not at hand: {CORPORA}")
    return CORPORA
