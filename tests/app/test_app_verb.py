"""`mmpipe app` as a person types it: it tells its address, shows the store, and ends as Ctrl-C ends it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import typer
from shown_app import CORPUS, start_app
from typer.testing import CliRunner

from mmpipe.cli.app import register


@pytest.mark.slow
def test_the_app_is_started_looked_at_and_ended(street: Path, tmp_path: Path) -> None:
    with start_app(street, tmp_path) as address:
        with urllib.request.urlopen(f"{address}/corpora/{CORPUS}?format=json", timeout=60) as answer:
            assert json.load(answer)["corpus"] == CORPUS
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(address, data=b"x"), timeout=60)
        assert refused.value.code == 405
        refused.value.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "0.0.0.0"), "--password-env"),
        (("--password-env", "NO_SUCH_PASSWORD"), "8 letters"),
        (("--host", "192.0.2.1", "--password-env", "A_PASSWORD"), "cannot listen at 192.0.2.1"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anybody_listens(
    street: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PASSWORD", "long enough")
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["--no-open", "-c", str(street / "mmpipe.toml"), *words])
    assert said in str(result.exception)
