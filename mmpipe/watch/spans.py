"""OpenTelemetry spans of stages, sent by OTLP over HTTP; the packages are the extra `mmpipe[otel]`."""

from __future__ import annotations

import os
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.watch.stage import Ending, StageEnd, StageRun

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE = "mmpipe"


def is_asked_for(endpoint: str) -> bool:
    """Say whether somebody wants spans: the config, or the environment as OpenTelemetry names it."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return bool(endpoint) or any(os.environ.get(name) for name in ENDPOINT_VARIABLES)


class SpanListener:
    """Makes a span of every stage, below the span that is open around it, and sends all when the outermost ends."""

    wants_tables = False

    def __init__(self, endpoint: str, timeout_s: float) -> None:
        """Connect to `endpoint`, or to what the environment names where that is ""; ConfigError without the extra."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError as error:
            raise ConfigError(f"watch.traces needs {error.name}. Install it: pip install 'mmpipe[otel]'") from error
        exporter = OTLPSpanExporter(endpoint=endpoint or None, timeout=timeout_s)
        # `Resource.create` lets OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
        self._provider = TracerProvider(resource=Resource.create(named))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)
        self._spans: dict[str, Any] = {}  # by run

    def begin(self, run: StageRun) -> None:
        """Open a span; without a stage around it, below whatever span the process is in."""
        from opentelemetry.trace import set_span_in_context

        parent = self._spans.get(run.parent.run_id) if run.parent else None
        attributes: dict[str, Any] = {"mmpipe.stage": str(run.stage), "mmpipe.run": run.run_id}
        attributes |= {f"mmpipe.{name}": value for name in ("corpus", "model") if (value := getattr(run, name))}
        if run.dates:
            attributes |= {"mmpipe.first_date": min(run.dates), "mmpipe.last_date": max(run.dates)}
        self._spans[run.run_id] = self._tracer.start_span(
            f"{run.stage} {run.subject}",
            context=set_span_in_context(parent) if parent else _context_of_process(),
            attributes=attributes,
            start_time=int(run.started.timestamp() * 1e9),
        )

    def end(self, run: StageRun, end: StageEnd) -> None:
        """Close the span; the outermost sends what is there."""
        from opentelemetry.trace import Status, StatusCode

        span = self._spans.pop(run.run_id)
        for name, number in end.counts.items():
            span.set_attribute(f"mmpipe.{name}", number)
        span.set_attribute("mmpipe.ending", str(end.ending))
        if end.ending is not Ending.COMPLETED:
            told = {"exception.type": end.error, "exception.message": end.message}
            span.add_event("exception", told, timestamp=int(end.ended.timestamp() * 1e9))
            span.set_status(Status(StatusCode.ERROR, f"{end.error}: {end.message}"))
        span.end(int(end.ended.timestamp() * 1e9))
        if run.parent is None:
            self._provider.force_flush()  # a flow's process may be gone before the batch is due


def _context_of_process() -> Any:
    """Return the span that is open here, else the one that started this process named in TRACEPARENT."""
    from opentelemetry import propagate, trace

    if trace.get_current_span().get_span_context().is_valid:
        return None  # the tracer takes it by itself
    carried = {name.lower(): value for name in ("TRACEPARENT", "TRACESTATE") if (value := os.environ.get(name))}
    return propagate.extract(carried) if carried else None
