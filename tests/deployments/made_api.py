"""A server's work queues in memory, with its rule that no two of a pool have the same priority."""

from __future__ import annotations

from typing import Any


class MadeApi:
    """One pool: what `deployments.api.ServerApi` would reach."""

    def __init__(self, queues: dict[str, tuple[int, int | None]]) -> None:
        self.queues = dict(queues)
        self.asked: list[tuple[str, str]] = []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Do what the server does."""
        if path.endswith("/queues/filter"):
            return [
                {"name": name, "priority": priority, "concurrency_limit": limit}
                for name, (priority, limit) in self.queues.items()
            ]
        name = body["name"] if method == "POST" else path.rpartition("/")[2]
        self.asked.append((method, name))
        if method == "DELETE":
            del self.queues[name]
            return {}
        self._put(name, body["priority"], body["concurrency_limit"])
        return {}

    def _put(self, name: str, priority: int, limit: int | None) -> None:
        """Put a queue at its place: whoever stands there or behind steps on as far as need be."""
        others = sorted((place, other) for other, (place, _) in self.queues.items() if other != name)
        self.queues[name] = (priority, limit)
        last = priority
        for place, other in others:
            if place >= priority:
                last = max(place, last + 1)
                self.queues[other] = (last, self.queues[other][1])
