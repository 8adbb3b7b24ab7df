"""Log lines: of stages as they begin and end, and of all that is logged below `mmpipe`, as text or as JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmpipe.config.watch import STDERR, LogFormat
from mmpipe.watch.lines import append_line
from mmpipe.watch.stage import Ending, StageEnd, StageRun
from mmpipe.watch.watcher import current_stage
from mmpipe.words import counted, printable

LIBRARY = logging.getLogger("mmpipe")
LOGGER = logging.getLogger("mmpipe.stage")
# What records may carry beside their message; a JSON line has those that are there.
FIELDS = ("shard", "clip", "asset", "origin", "code", "source", "feature", "seconds", "ending", "counts", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where lines go, how, and from which level on."""

    file: str  # "-": the standard error; "": nowhere of our own
    format: LogFormat
    level: int


class StageLog:
    """Logs a line for every stage that begins and ends."""

    wants_tables = False

    def begin(self, run: StageRun) -> None:
        """Say what begins."""
        LOGGER.info("%s began", _about(run))

    def end(self, run: StageRun, end: StageEnd) -> None:
        """Say how it ended, and what it came to."""
        fields = {"seconds": round(end.seconds, 3), "ending": str(end.ending), "counts": dict(end.counts)}
        took = f"{_about(run)} {end.ending} after {end.seconds:.1f} s"
        if end.ending is Ending.COMPLETED:
            told = ", ".join(f"{name}: {number}" for name, number in end.counts.items())
            LOGGER.info("%s%s", took, f": {told}" if told else "", extra=fields)
            return
        level = logging.ERROR if end.ending is Ending.FAILED else logging.WARNING
        LOGGER.log(level, "%s: %s: %s", took, end.error, printable(end.message), extra={**fields, "error": end.error})


def set_up_logs(settings: LogSettings) -> None:
    """Let the library's records through from a level on, and write them where the settings say, once a process."""
    LIBRARY.setLevel(settings.level)
    if not any(isinstance(handler, logging.NullHandler) for handler in LIBRARY.handlers):
        LIBRARY.addHandler(logging.NullHandler())  # without a place for them Python would print warnings bare
    ours = [handler for handler in LIBRARY.handlers if isinstance(handler, LineHandler)]
    if any(handler.settings == settings for handler in ours):
        return
    for handler in ours:
        LIBRARY.removeHandler(handler)
    if settings.file:
        LIBRARY.addHandler(LineHandler(settings))


class LineHandler(logging.Handler):
    """Writes each record as one line, whole, beside other processes that write to the same file."""

    def __init__(self, settings: LogSettings) -> None:
        super().__init__(settings.level)
        self.settings = settings
        self._has_failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; where that fails, say so once, and let the work go on."""
        try:
            line = (_as_json if self.settings.format == "json" else _as_text)(record)
            if self.settings.file == STDERR:
                sys.stderr.write(f"{line}\n")
            else:
                append_line(Path(self.settings.file), line.encode("utf-8", "backslashreplace"))
        except Exception as error:  # noqa: BLE001 - of anybody's record or disk: a line must not cost a night
            if not self._has_failed:
                self._has_failed = True
                sys.stderr.write(f"log lines are lost, from {record.name} to {self.settings.file}: {error}\n")


def _as_json(record: logging.LogRecord) -> str:
    """Return a record as one JSON object; control characters are escaped by JSON itself."""
    run = current_stage()
    table: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
        "process": os.getpid(),
    }
    if run:
        table |= {"stage": str(run.stage), "run": run.run_id, "root": run.root.run_id}
        table |= {name: value for name in ("corpus", "model") if (value := getattr(run, name))}
        table |= {"first_date": min(run.dates), "last_date": max(run.dates)} if run.dates else {}
    table |= {name: value for name in FIELDS if (value := getattr(record, name, None)) not in (None, "", {})}
    if record.exc_info:
        table["exception"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(table, ensure_ascii=True, default=str)


def _as_text(record: logging.LogRecord) -> str:
    """Return a record as one line of text, whatever its message holds."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    said = record.getMessage()
    if record.exc_info:
        said += f" {logging.Formatter().formatException(record.exc_info)}"
    return f"{time} {record.levelname:<7} {record.name}: {printable(said)}"


def _about(run: StageRun) -> str:
    dates = ""
    if run.dates:
        dates = f" dt={run.dates[0]}" if len(run.dates) == 1 else f", {counted(len(run.dates), 'date')}"
    return f"{run.stage} of {run.subject}{dates}"
