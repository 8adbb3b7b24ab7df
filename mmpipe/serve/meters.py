"""What a server counts of itself, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Meters:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry: CollectorRegistry = CollectorRegistry()
        at: dict[str, Any] = {"namespace": "mmpipe_serve", "registry": self.registry}
        self.requests = Counter("requests", "Requests that were answered.", ("route", "status"), **at)
        self.seconds = Histogram(
            "request_seconds", "From the first byte of a request to the last of its answer.", ("route",),
            buckets=_SECONDS, **at,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "stage_seconds", "Parts of a question: upload, wait for a worker, read, answer.", ("stage",),
            buckets=_SECONDS, **at,
        )  # fmt: skip
        self.batch_questions = Histogram("batch_questions", "Questions per call.", buckets=_SIZES, **at)
        self.rejected = Counter("rejected", "Questions without an answer, by reason.", ("reason",), **at)
        self.clips = Counter("clips", "Clips that were answered.", **at)
        self.swaps = Counter("swaps", "Versions that took over, and those that could not.", ("outcome",), **at)
        self.ready = Gauge("ready", "1 where questions are answered.", **at)
        self.version = Gauge("model", "1 for the version that answers now.", ("model", "version"), **at)
        self._depth = Gauge("queue_depth", "Requests that wait, for a worker or for a call.", ("of",), **at)
        self._temporary = Gauge("temporary_bytes", "Bytes of uploads on the disk.", **at)

    def watch(self, workers: Callable[[], int], network: Callable[[], int], temporary: Callable[[], int]) -> None:
        """Read how much waits whenever somebody scrapes."""
        self._depth.labels("worker").set_function(workers)
        self._depth.labels("network").set_function(network)
        self._temporary.set_function(temporary)

    def show_version(self, model: str, version: str) -> None:
        """Say which version answers from now on."""
        self.version.clear()
        self.version.labels(model, version).set(1)

    def render(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self.registry))
