"""What workers say, in the log of the flow run that they work for, as the server has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import Log
from prefect.settings import PREFECT_API_URL

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
REPOSITORY = Path(__file__).resolve().parents[2]
RUN = """
import sys
from flows.nightly import nightly
from flows.parameters import NightlyParameters
nightly.with_options(flow_run_name="night-with-logs")(NightlyParameters(config=sys.argv[1], date="2026-11-03"))
"""


def logs_of(flow_run: str) -> list[Log]:
    """Every line that the server keeps of a flow run and its tasks."""
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[flow_run])))
        return client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=200)


def test_what_workers_say_is_in_the_log_of_the_flow_run(write_corpus: Callable[..., Path]) -> None:
    broken = b"\0\0\0\x18ftypmp42" + b"x" * 5000  # FFmpeg says what it misses, on the standard error of a worker
    config = write_corpus({"a.wav": None, "b.wav": None, "bad\nfilm.mp4": broken}, "max_quarantined = 0.5")
    environment = {
        **os.environ,
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "mmpipe",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(config)], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "attempted to send logs to the API without" not in done.stderr, "every line is said within a run"
    logs = logs_of("night-with-logs")
    by_logger = {name: [log for log in logs if log.name == name] for name in {log.name for log in logs}}
    (drop,) = by_logger["mmpipe.quarantine"]
    assert "bad%0Afilm" in drop.message and "not_media" in drop.message and drop.level == 30
    said = by_logger["mmpipe.worker"]
    assert any("bad%0Afilm.mp4: output: [mov,mp4" in log.message for log in said), "the clip's file, and FFmpeg's words"
    assert all(log.task_run_id is not None for log in said), "in the log of the very task"
    assert any("extract of tones" in log.message for log in by_logger["mmpipe.stage"])
