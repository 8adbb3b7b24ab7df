from __future__ import annotations

import gzip
from typing import Any

import pytest
from http_receiver import Receiver

from mmpipe.errors import ShardError
from mmpipe.watch.spans import SpanListener, is_asked_for
from mmpipe.watch.stage import Stage
from mmpipe.watch.watcher import Watcher

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra mmpipe[otel] is not installed")


def spans_of(receiver: Receiver) -> dict[str, Any]:
    """The spans that came, by name, as the OTLP receiver parses them."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found: dict[str, Any] = {}
    for body in receiver.bodies:
        request = ExportTraceServiceRequest()
        request.ParseFromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        for resource in request.resource_spans:
            names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for scope in resource.scope_spans:
                found |= {span.name: (span, names) for span in scope.spans}
    return found


def values(span: Any) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def test_a_night_is_one_trace_with_its_stages_and_what_failed(receiver: Receiver) -> None:
    watcher = Watcher([SpanListener(f"{receiver.url}/v1/traces", 10)])
    with watcher.stage(Stage.NIGHT, corpus="tones", dates=["2026-11-20"]):
        with watcher.stage(Stage.EXTRACT, corpus="tones") as stage:
            stage.count(shards=3)
        with pytest.raises(ShardError), watcher.stage(Stage.TRAIN, corpus="tones", model="m"):
            raise ShardError("no memory")
    spans = spans_of(receiver)
    night, names = spans["night tones"]
    extract, train = spans["extract tones"][0], spans["train m"][0]
    assert names["service.name"] == "mmpipe" and set(receiver.paths) == {"/v1/traces"}
    assert night.parent_span_id == b"" and extract.parent_span_id == train.parent_span_id == night.span_id
    assert night.trace_id == extract.trace_id == train.trace_id
    assert values(extract)["mmpipe.shards"] == 3 and values(extract)["mmpipe.ending"] == "completed"
    assert train.status.code == train.status.STATUS_CODE_ERROR and "no memory" in train.status.message
    assert night.start_time_unix_nano <= extract.start_time_unix_nano <= extract.end_time_unix_nano
    assert values(train)["mmpipe.model"] == "m" and train.events[0].name == "exception"


def test_a_trace_goes_on_from_whoever_started_the_process(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)  # the standard variable alone is enough
    assert is_asked_for("")
    with Watcher([SpanListener("", 10)]).stage(Stage.VERIFY):
        pass
    span, _ = spans_of(receiver)["verify store"]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


def test_a_receiver_that_refuses_fails_no_stage(receiver: Receiver) -> None:
    receiver.answers = [400] * 10
    with Watcher([SpanListener(f"{receiver.url}/v1/traces", 1)]).stage(Stage.GC):
        pass
    assert receiver.refused and not receiver.bodies


def test_nobody_asks_where_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert not is_asked_for("") and is_asked_for("http://localhost:4318/v1/traces")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not is_asked_for("http://localhost:4318/v1/traces")
