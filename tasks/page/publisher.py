"""Bring artifacts to the server without ever failing a run for them: the page is not worth a night."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from tasks.page.door import Artifact, ArtifactDoor

DELAYS_S = (0.5, 2.0, 5.0)
Result = TypeVar("Result")


class Publisher:
    """Tries a few times; a door that stays shut is told once, and then left alone."""

    def __init__(
        self, door: ArtifactDoor, delays_s: Sequence[float] = DELAYS_S, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Knock for the first time when there is something to show."""
        self.door = door
        self._delays_s, self._pause = tuple(delays_s), pause
        self._log = _run_log()
        self._gave_up = False

    def put(self, artifact: Artifact) -> bool:
        """Show something, and say whether it could be shown."""
        return not self._gave_up and self._patiently(artifact)

    def put_all(self, artifacts: Iterable[Artifact]) -> None:
        """Show one after the other; also what cannot be made into an artifact stops no run."""
        try:
            for artifact in artifacts:
                self.put(artifact)
        except Exception:  # noqa: BLE001 - a fault of ours in a page must not hide how its run ended
            self._log.exception("the page of this run could not be made as a whole; the run itself is not concerned")

    def once(self, act: Callable[[], Result]) -> Result | None:
        """Do something at the door; None where it failed: whoever moves a bar comes again soon anyway."""
        try:
            return act()
        # Whatever a server, a network and their client can fail with: the shards in the making matter more.
        except Exception as error:  # noqa: BLE001
            self._log.debug("an artifact was not shown: %s", error)
            return None

    def _patiently(self, artifact: Artifact) -> bool:
        for delay_s in (*self._delays_s, None):
            try:
                self.door.put(artifact)
                return True
            except Exception as error:  # noqa: BLE001 - as above
                if delay_s is None:
                    self._give_up(artifact, error)
                    return False
                self._pause(delay_s)
        return False

    def _give_up(self, artifact: Artifact, error: Exception) -> None:
        """Say it where a person will look for the page; what comes after it would only wait in vain too."""
        self._gave_up = True
        self._log.warning(
            "the page of this run stays incomplete from %r on: the server did not take it (%s: %s). The work goes on; "
            "`mmpipe status` and the report say the same.",
            artifact.key,
            type(error).__name__,
            error,
        )


def _run_log() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("mmpipe.page")
