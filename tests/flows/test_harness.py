"""Few tests need a server: the rest is asked of functions, with runs and doors in memory."""

from __future__ import annotations

import pytest

MOST = 12


def test_at_most_a_dozen_tests_use_the_server(request: pytest.FixtureRequest) -> None:
    users = [item.nodeid for item in request.session.items if "prefect_server" in getattr(item, "fixturenames", ())]
    assert len(users) <= MOST, users
