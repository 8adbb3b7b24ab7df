"""What the services are started with: settings that matter, and each secret only where it is used."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path

import pytest
from prefect.settings import Settings

from deployments.binding import Access
from deployments.credentials import AUTH, CLIENT_AUTH, DATABASE, NOTIFY, kept_secret, take_auth
from deployments.services import Service
from deployments.settings import (
    WITHOUT,
    base_environment,
    client_environment,
    decision_digest,
    run_environment,
    server_environment,
)
from deployments.up import Wish, parse_wish
from mmpipe.errors import ConfigError

SECRET = "canary-9c1f"
SHARED = Access(host="192.0.2.7", is_shared=True)


def whole_environment(access: Access = SHARED) -> dict[str, str]:
    """Everything that `up` puts together for a shared server."""
    auth = f"mmpipe:{SECRET}" if access.is_shared else ""
    database = f"postgresql+asyncpg://mmpipe:{SECRET}@127.0.0.1:5433/prefect"
    inherited = {"PATH": "/bin", "PREFECT_API_KEY": SECRET, "PREFECT_PROFILE": "cloud", NOTIFY: f"json://{SECRET}"}
    return {
        **base_environment(Path("/etc/mmpipe.toml"), "Europe/Berlin", Path("/var/prefect"), inherited),
        **server_environment(access, 4200, auth, database),
        **client_environment("http://192.0.2.7:4200", auth),
        **run_environment("gpu", "http://192.0.2.7:4201"),
    }


def test_prefect_understands_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in whole_environment().items():
        if name.startswith("PREFECT_"):
            monkeypatch.setenv(name, value)
    found = Settings()
    assert found.flows.heartbeat_frequency == 30
    assert found.logging.extra_loggers == ["mmpipe"]
    assert found.results.default_serializer == "json"
    assert found.server.analytics_enabled is False
    assert found.server.concurrency.lease_storage.endswith(".filesystem"), "a restart must not lose who holds a slot"
    assert found.server.api.csrf_protection_enabled is True
    assert found.server.api.cors_allowed_origins == "http://192.0.2.7:4200"
    assert found.server.ui.api_url == found.api.url == "http://192.0.2.7:4200/api"
    assert found.server.api.auth_string is not None
    assert found.api.auth_string is not None
    assert found.server.api.auth_string.get_secret_value() == found.api.auth_string.get_secret_value()


def test_a_login_to_another_server_is_left_behind() -> None:
    assert {"PREFECT_API_KEY", "PREFECT_PROFILE"}.isdisjoint(whole_environment())


def test_each_gets_the_secrets_that_it_uses_and_no_other() -> None:
    environment = whole_environment()
    secrets = {name for name, value in environment.items() if SECRET in value}
    assert secrets == {AUTH, CLIENT_AUTH, DATABASE, NOTIFY}
    got = {name: secrets - set(without) for name, without in WITHOUT.items()}
    assert got == {
        "keeper": {AUTH, CLIENT_AUTH, DATABASE},  # it starts the others again
        "postgres": set(),
        "server": {AUTH, DATABASE},
        "worker": {CLIENT_AUTH},
        "desk": {AUTH},
        "recover": {CLIENT_AUTH},
    }


def test_without_a_password_there_is_no_token_to_ask_for() -> None:
    environment = whole_environment(Access())
    assert {AUTH, CLIENT_AUTH, "PREFECT_SERVER_CSRF_PROTECTION_ENABLED"}.isdisjoint(environment)
    assert environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"


def test_what_is_written_down_of_a_service_has_no_secret() -> None:
    environment = whole_environment()
    digest = decision_digest(["prefect", "server"], environment, (AUTH, DATABASE))
    service = Service(name="server", pid=1, mark="m", log="l", without=WITHOUT["server"], decided=digest)
    other = environment | {AUTH: "mmpipe:another"}
    assert digest == decision_digest(["prefect", "server"], other, (AUTH, DATABASE)), "no secret can be guessed from it"
    assert SECRET not in json.dumps(asdict(service))
    del other[AUTH]
    assert digest != decision_digest(["prefect", "server"], other, (AUTH, DATABASE))


def test_a_password_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "home" / "server.password"
    first = take_auth("", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    user, _, password = first.partition(":")
    assert (user, password) == ("mmpipe", file.read_text().strip())
    assert len(password) > 30
    assert take_auth("", file) == first
    assert take_auth("me:mine", file) == "me:mine"


def test_a_password_that_others_can_read_is_none(tmp_path: Path) -> None:
    file = tmp_path / "server.password"
    kept_secret(file)
    os.chmod(file, 0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        kept_secret(file)
    os.chmod(file, 0o600)
    file.write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        kept_secret(file)


@pytest.mark.parametrize("given", [SECRET, f":{SECRET}", f"{SECRET}:"])
def test_a_password_of_no_use_is_refused_and_not_shown(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match="user:password") as refusal:
        take_auth(given, tmp_path / "file")
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "environment", "postgres"),
    [
        ([], {}, None),
        (["--postgres"], {}, ""),
        (["--postgres", "postgres://a:b@c/d"], {}, "postgresql+asyncpg://a:b@c/d"),
        ([], {DATABASE: "postgresql+asyncpg://a:b@c/d"}, "postgresql+asyncpg://a:b@c/d"),
        (["--postgres"], {DATABASE: "postgresql://a:b@c/d"}, "postgresql+asyncpg://a:b@c/d"),
    ],
)
def test_the_database_that_is_meant(words: list[str], environment: dict[str, str], postgres: str | None) -> None:
    wish = parse_wish([*words, "--config", "/c.toml"], environment)
    assert wish == Wish(config=Path("/c.toml"), postgres=postgres)


@pytest.mark.parametrize("url", [f"mysql://me:{SECRET}@host/db", SECRET, f"sqlite+aiosqlite:///{SECRET}.db"])
def test_another_database_is_refused_and_its_url_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_wish([], {DATABASE: url})
    assert SECRET not in str(refusal.value)
