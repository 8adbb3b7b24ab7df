"""What stands before every page: it only reads, it knows its name, it lets nothing foreign in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mmpipe.app.access import Access

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# No script at all, nothing from elsewhere, and no page of others may frame or read this one.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# A report brings its style and charts with it. It is cut off from the app: it can neither read nor ask it anything.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; media-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": POLICY,
}
_READING = ("GET", "HEAD")
_MOST_QUERY_BYTES = 2_000


class Guard:
    """An ASGI application around another: refuses what must not come through, and marks all that goes out."""

    def __init__(self, inner: Application, access: Access) -> None:
        self._inner = inner
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._inner(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await _send_refusal(send, *refusal, with_body=scope["method"] != "HEAD")
        else:
            await self._inner(scope, receive, _marking(send))

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] not in _READING:
            return 405, "The app only reads: GET and HEAD.", {"allow": ", ".join(_READING)}
        if not self._access.knows(headers.get("host", "")):
            return 421, "Not a name of this app. Open it under the address that it printed.", {}
        if not self._access.lets_in(headers.get("authorization", "")):
            return 401, "The password of the app opens this.", {"www-authenticate": 'Basic realm="mmpipe"'}
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return 403, "Pages of other sites may link here, and load nothing from here.", {}
        if len(scope["query_string"]) > _MOST_QUERY_BYTES:
            return 414, "The question is too long.", {}
        return None


def _marking(send: Send) -> Send:
    """Return a `send` that adds our headers to an answer that does not say otherwise."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in there)]
        await send(message)

    return marked


async def _send_refusal(send: Send, status: int, text: str, more: dict[str, str], with_body: bool) -> None:
    body = f"{text}\n".encode()
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), **_HEADERS, **more}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body if with_body else b""})
