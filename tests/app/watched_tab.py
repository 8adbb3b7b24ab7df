"""A tab of a headless browser that also says what went wrong on its page, and what it asked of whom."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import Tab, open_browser

BAD_LEVELS = ("error", "warning")
LOAD_S = 60.0


class WatchedTab:
    """Drives a tab, and keeps the requests and complaints of each page that it opens."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._connection = tab._connection
        self._calls = 1_000_000  # beside those of the tab
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call the browser, and keep the events that come before its answer."""
        self._calls += 1
        self._connection.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=120))
            if message.get("id") == self._calls:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._events.append(message)

    def ask(self, script: str) -> Any:
        """Return what an expression comes to, as if a person had clicked; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, width_px: int, scheme: str) -> None:
        """Be a screen of a width, in the light or in the dark."""
        is_phone = width_px < 500
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=900, deviceScaleFactor=1, mobile=is_phone
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, address: str) -> None:
        """Load a page whole."""
        self._events.clear()
        self.call("Page.navigate", url=address)
        self.await_true(f"location.href === {json.dumps(address)}")

    def await_true(self, condition: str) -> None:
        """Wait for a page that is loaded whole and makes an expression true; it may be the next one."""
        end_s = time.monotonic() + LOAD_S
        whole = f"document.readyState === 'complete' && ({condition})"
        look = f"new Promise(done => setTimeout(() => done({whole}), 20))"
        while True:
            try:
                if self.ask(look):
                    return
            except AssertionError as error:
                if "navigated" not in str(error):  # the page that was asked has made way for the next
                    raise
            assert time.monotonic() < end_s, f"never true: {condition}\n{self.ask('document.body.innerText')[:2000]}"

    def complaints(self) -> list[str]:
        """Return what the browser found wrong with the page: errors, warnings, and what its policy forbade."""
        found = []
        for event in self._events:
            entry = event.get("params", {})
            if event.get("method") == "Log.entryAdded" and entry["entry"]["level"] in BAD_LEVELS:
                found.append(f"{entry['entry']['text']} {entry['entry'].get('url', '')}")
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(entry["exceptionDetails"]))
        return found

    def addresses(self) -> list[str]:
        """Return what the page asked others for; the browser's own icons are no others."""
        sent = (event["params"] for event in self._events if event.get("method") == "Network.requestWillBeSent")
        found = (request["request"]["url"] for request in sent)
        return [address for address in found if not address.startswith("data:")]


@contextmanager
def open_watched(program: str, home: Path) -> Iterator[WatchedTab]:
    """Start a browser, and end it with the block."""
    with open_browser(program, home) as tab:
        yield WatchedTab(tab)
