"""What all tests share: which of them run, in which order, real media, and warm workers."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lent_engine import KeptEngine

REPOSITORY = Path(__file__).resolve().parent.parent
CORPORA = REPOSITORY.parent / "shared" / "corpora"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag of CI."""
    parser.addoption("--all", action="store_true", help="run the slow tests too, as CI does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to CI and to `./run sweep` what takes long; begin with files of slow tests: no core idles at the end."""
    is_sweep = bool(os.environ.get("MMPIPE_SWEEP"))
    is_all = is_sweep or config.getoption("--all")
    for item in items:
        if item.get_closest_marker("sweep") and not is_sweep:
            item.add_marker(pytest.mark.skip(reason="a part of ./run sweep"))
        elif item.get_closest_marker("slow") and not is_all:
            item.add_marker(pytest.mark.skip(reason="slow: ./run test --all"))
    if is_all:
        long = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """Spare the collector what lives to the end anyway, modules and tests: each full collection took 0.1 s of it."""
    gc.freeze()


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Return the folder of real media, or skip where it is absent."""
    if not CORPORA.is_dir():
        pytest.skip(f"the real media are not at hand: {CORPORA}")
    return CORPORA


@pytest.fixture(scope="session")
def _kept_engine() -> Iterator[KeptEngine]:
    """Keep two real workers for all modules; none is started before there is work."""
    from lent_engine import KeptEngine  # of tests/steps, which the rooms that use it have on their path

    with KeptEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def warm_workers(_kept_engine: KeptEngine) -> Iterator[None]:
    """Lend two real workers to a module: every step enters the same engine, and starts none of its own."""
    with _kept_engine.lent():
        yield
