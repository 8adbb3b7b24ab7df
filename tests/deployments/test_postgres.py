"""A PostgreSQL of our own: found or refused with the way out, closed to strangers, its data kept."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from deployments.down import bring_down
from deployments.postgres import choose_account, ensure_postgres, find_programs, with_driver
from deployments.services import is_alive, read_service
from mmpipe.errors import ConfigError


def is_installed() -> bool:
    """Say whether this machine has PostgreSQL."""
    try:
        find_programs()
    except ConfigError:
        return False
    return True


def install(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


ALL = ("initdb", "postgres", "pg_isready", "createdb")


def test_the_newest_that_is_whole_is_taken(tmp_path: Path) -> None:
    install(tmp_path / "9" / "bin", *ALL)
    newest = install(tmp_path / "17" / "bin", *ALL)
    install(tmp_path / "18" / "bin", "createdb")  # only the client
    assert find_programs(path="", installed=str(tmp_path)) == newest


def test_elsewhere_the_path_leads_there(tmp_path: Path) -> None:
    there = install(tmp_path / "pgsql" / "bin", *ALL)
    links = tmp_path / "links"
    links.mkdir()
    (links / "initdb").symlink_to(there / "initdb")
    assert find_programs(path=str(links), installed=str(tmp_path / "none")) == there


def test_without_any_the_way_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="apt install postgresql"):
        find_programs(path=str(tmp_path), installed=str(tmp_path))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_a_url_gets_the_driver_that_the_server_has(scheme: str) -> None:
    assert with_driver(f"{scheme}://me:p%40ss@db:5432/runs") == "postgresql+asyncpg://me:p%40ss@db:5432/runs"


def test_nobody_runs_it_as_root() -> None:
    assert choose_account(uid=1000).prefix == ()
    try:
        account = choose_account(uid=0)
    except ConfigError as error:
        assert "does not run as root" in str(error)
    else:
        assert account.uid != 0
        assert account.prefix


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that another account may pass; pytest's own is closed to all others."""
    folder = Path(tempfile.mkdtemp(prefix="mmpipe-postgres-"))
    folder.chmod(0o711)
    services = folder / "services"
    services.mkdir()
    yield folder
    bring_down(services)
    shutil.rmtree(folder)


def ask(url: str, *statements: str) -> list[object]:
    """Run statements and return the last one's values."""

    async def run() -> list[object]:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return [value for row in await connection.fetch(statements[-1]) for value in row]
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="no PostgreSQL is installed here")
def test_a_database_of_our_own_survives_down_and_kill(home: Path) -> None:
    services = home / "services"
    url = ensure_postgres(home, services, os.environ)
    assert ask(url, "create table kept (word text)", "insert into kept values ('first')", "show listen_addresses") == [
        "127.0.0.1"
    ]
    password = (home / "postgres.password").read_text().strip()
    assert stat.S_IMODE((home / "postgres.password").stat().st_mode) == 0o600
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(url.replace(password, "guessed"), "select 1")

    first = read_service(services, "postgres")
    assert first
    assert ensure_postgres(home, services, os.environ) == url
    assert read_service(services, "postgres") == first, "the second time nothing is done"
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert ask(ensure_postgres(home, services, os.environ), "select word from kept") == ["first"]

    assert bring_down(services) == {"postgres": 1}
    assert not is_alive(first)
    assert ask(ensure_postgres(home, services, os.environ), "select word from kept") == ["first"]
    told = [path.read_bytes() for path in services.iterdir()]
    assert not any(password.encode() in text for text in told), "the password is in its own file and nowhere else"


@pytest.mark.skipif(os.getuid() != 0 or not is_installed(), reason="only root needs another account")
def test_a_closed_folder_above_is_said(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="PREFECT_HOME"):
        ensure_postgres(closed / "prefect", closed, os.environ)
