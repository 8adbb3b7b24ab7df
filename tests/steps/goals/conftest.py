from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fusion"))

from goal_store import GoalStore


@pytest.fixture(scope="session")
def goal_store(tmp_path_factory) -> GoalStore:
    """Return a store with sounds and captions, extracted once."""
    return GoalStore(tmp_path_factory.mktemp("goals"))
