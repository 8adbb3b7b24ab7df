"""What the tests of hostile input share: corpora made in code, mutants, and warm workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpipe.config import EngineConfig, parse_config
from mmpipe.steps.workers import shared_engine

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "steps"), str(TESTS / "media"), str(TESTS / "threats")]


@pytest.fixture(scope="module")
def warm_workers() -> Iterator[None]:
    """Keep two real workers for a module: every step enters the same engine, and starts none of its own."""
    config = parse_config({}).model_copy(update={"engine": EngineConfig(workers=2)})
    with shared_engine(config):
        yield
