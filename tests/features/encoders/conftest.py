"""What the tests of encoders share: a cache of their own, and small models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is remembered of weights away from this machine's own cache."""
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
