"""What a request may cost, and how many may wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeLimits:
    """The bounds of a server."""

    upload_bytes: int = 64 << 20  # of one request, all files and what is around them
    temporary_bytes: int = 256 << 20  # of all uploads that lie on the disk at one moment
    json_bytes: int = 16 << 10
    timeout_s: float = 30.0  # from the first byte of a request to its answer
    workers: int = 2  # that read uploads at one moment
    queue: int = 16  # requests that may wait beside those
    batch_window_s: float = 0.004  # a question waits so long for others
    batch_questions: int = 32  # most that are answered by one call
    drain_s: float = 30.0  # for what is under way when the server is told to stop

    def __post_init__(self) -> None:
        """Refuse bounds that let nothing through."""
        for name in ("upload_bytes", "temporary_bytes", "timeout_s", "workers", "batch_questions"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("queue", "batch_window_s", "drain_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
