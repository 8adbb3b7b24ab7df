"""A night goes on while its server is busy, locked or restarted; on a full disk it fails, and the next one goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.binding import free_port
from deployments.services import ROOT
from tests.faults.clips import Clips, content, differing, fill, fill_undisturbed, make_clips
from tests.faults.proxy import Proxy
from tests.faults.server import Server

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
FIRST_PORT = 4910
FIRST, BURST = 4, 3  # of some 14 requests that a night makes
LOCKED_S = 3.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Lay out a few tones, and fill a store of them that nothing disturbs."""
    folder = tmp_path_factory.mktemp("clips")
    made = make_clips(folder, folder / "no real media", num_clips=8, seed=7)
    fill_undisturbed(made, "nightly")
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server of our own."""
    server = Server(tmp_path_factory.mktemp("server"), free_port(FIRST_PORT))
    yield server
    server.kill()


class Trouble:
    """What befalls a night's requests: three in a row are refused, one meets a locked database, one no server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.proxy = Proxy(server.port, self.decide)
        self.befell: list[str] = []
        self._threads: list[threading.Thread] = []

    def decide(self, number: int) -> int:
        """Let something befall the night at some of its requests."""
        if FIRST <= number < FIRST + BURST:
            self.befell.append("refused")
            return 503
        if number == FIRST + BURST + 3:
            self.befell.append("locked")
            self._threads.append(self._server.lock_database(LOCKED_S))
        if number == FIRST + BURST + 5:
            self.befell.append("restarted")
            self.proxy.close()
            self._server.kill()
            self._threads.append(threading.Thread(target=self._come_back))
            self._threads[-1].start()
        return 0

    def end(self) -> None:
        """Wait until all is as before."""
        for thread in self._threads:
            thread.join()
        self.proxy.close()

    def _come_back(self) -> None:
        self._server.restart()
        self.proxy.open()


def undisturbed(clips: Clips) -> dict[str, str]:
    return content(clips.folder / "reference-nightly" / "store")


def night(environment: dict[str, str], config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.night", str(config)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_night_outlasts_a_busy_a_locked_and_a_restarted_server(server: Server, clips: Clips) -> None:
    config = clips.write_config("nightly", "troubled")
    trouble = Trouble(server)
    done = night(server.client_environment(trouble.proxy.port), config)
    trouble.end()
    assert trouble.befell == ["refused"] * BURST + ["locked", "restarted"], trouble.proxy.num_requests
    assert done.stdout.startswith("COMPLETED"), done.stdout + done.stderr
    assert differing(content(config.parent / "store"), undisturbed(clips)) == []


def test_on_a_full_disk_a_night_fails_by_name_and_the_next_one_ends_with_the_same_bytes(
    server: Server, clips: Clips
) -> None:
    config = clips.write_config("nightly", "full")
    full = {"MMPIPE_FAULT": "write:20+:ENOSPC"}
    done = night(server.client_environment(server.port) | full, config)
    assert done.stdout.startswith("FAILED"), done.stdout + done.stderr
    assert "No space left on device" in done.stdout and str(config.parent / "store") in done.stdout
    assert differing(content(config.parent / "store"), undisturbed(clips)) != []
    assert differing(content(fill(config, "nightly")), undisturbed(clips)) == []
