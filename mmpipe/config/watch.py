"""How the work is watched from outside: logs, traces and lineage. Nothing of it decides what is made."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from mmpipe.config.table import NAME_PATTERN, Table

STDERR = "-"  # as a log file: the standard error
_URL = re.compile(r"https?://[^\s/]+.*")
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def is_url(place: str) -> bool:
    """Say whether a place is a server, and not a file."""
    return bool(_URL.fullmatch(place))


class WatchConfig(Table):
    """Who hears of the stages of a night. The metrics need no setting: mmpipe metrics."""

    beside: ClassVar[frozenset[str]] = frozenset(
        {
            "log_file",
            "log_format",
            "log_level",
            "worker_log",
            "lineage",
            "lineage_namespace",
            "traces",
            "send_timeout_s",
        }
    )
    log_file: str = Field("", description='file that log lines are appended to, "-": the standard error; empty: none')
    log_format: LogFormat = Field("text", description="one line of text, or one JSON object, per record")
    log_level: LogLevel = Field("info", description="least level of what is logged, also in a flow's log")
    worker_log: Literal["off", "warning", "info"] = Field(
        "warning", description="least level of what worker processes say that reaches the log; off: nothing does"
    )
    lineage: str = Field("", description="OpenLineage run events: a file of JSON lines, or http(s)://...; empty: none")
    lineage_namespace: str = Field("mmpipe", pattern=NAME_PATTERN, description="namespace of the jobs in those events")
    traces: str = Field(
        "", description="OTLP/HTTP endpoint of OpenTelemetry spans, http://HOST:4318/v1/traces; else OTEL_* decides"
    )
    send_timeout_s: float = Field(3.0, gt=0, le=60, description="longest that a stage waits for a listener outside")

    def logs_alone(self) -> WatchConfig:
        """Return the same without lineage and traces: what a step makes in a scratch store is nobody's data."""
        return self.model_copy(update={"lineage": "", "traces": ""})

    @field_validator("traces")
    @classmethod
    def _traces_go_to_a_server(cls, traces: str) -> str:
        if traces and not is_url(traces):
            raise ValueError("must begin with http:// or https://")
        return traces

    @field_validator("lineage")
    @classmethod
    def _lineage_has_no_password(cls, lineage: str) -> str:
        if is_url(lineage) and "@" in lineage.split("/")[2]:
            raise ValueError("must hold no user or password: the key of a server is OPENLINEAGE_API_KEY")
        if "://" in lineage and not is_url(lineage):
            raise ValueError("must be a file, or begin with http:// or https://")
        return lineage
