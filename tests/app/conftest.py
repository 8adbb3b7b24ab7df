"""What the tests of the app share: a small store, and a client of the app over it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / room) for room in ("steps", "flows"))]

from lent_engine import KeptEngine  # noqa: E402
from shown_app import Shown, make_street  # noqa: E402

from mmpipe.app.access import Access  # noqa: E402
from mmpipe.app.routes import make_app  # noqa: E402
from mmpipe.config import load_config  # noqa: E402
from mmpipe.steps.app.store_site import StoreSite  # noqa: E402


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory, _kept_engine: KeptEngine) -> Path:
    """Return a project of two dates, with a model, a snapshot and a report; do not change it."""
    folder = tmp_path_factory.mktemp("street")
    with _kept_engine.lent():
        make_street(folder)
    return folder


@pytest.fixture(scope="module")
def shown(street: Path, _kept_engine: KeptEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Return a client of the app over the project."""
    with pytest.MonkeyPatch.context() as patch, _kept_engine.lent():
        patch.setenv("MMPIPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        with StoreSite(lambda: load_config(street / "mmpipe.toml")) as site:
            client = TestClient(make_app(site, Access()), base_url="http://127.0.0.1", raise_server_exceptions=False)
            yield Shown(client=client, folder=street, site=site)
