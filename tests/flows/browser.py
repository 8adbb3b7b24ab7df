"""A headless Chromium, driven through its DevTools protocol: as much of it as reading a page takes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
START_S = 60.0
PAINT_S = 60.0
_KEYS = {"Tab": 9, "Enter": 13}


def find_chromium() -> str | None:
    """Return the program, or None where this machine has none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One open page."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._calls = connection, 0
        self._events: list[dict[str, Any]] = []

    def open(self, address: str) -> None:
        """Begin to load a page."""
        self._call("Page.navigate", url=address)

    def ask(self, script: str) -> Any:
        """Return what an expression of JavaScript comes to."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def await_true(self, condition: str, timeout_s: float = PAINT_S) -> None:
        """Wait until the page makes an expression true; else fail with what the page says instead."""
        # An application paints long after the page is loaded, and says nothing when it is done: so the page is asked.
        script = f"""new Promise(done => {{
            const end = Date.now() + {timeout_s * 1000}
            const look = () => {{
                let found = false
                try {{ found = Boolean({condition}) }} catch (error) {{ }}
                if (found || Date.now() > end) done(found); else setTimeout(look, 50)
            }}
            look()
        }})"""
        assert self.ask(script), f"never true: {condition}\n\n{self.text()[:3000]}"

    def await_text(self, *texts: str) -> None:
        """Wait until the page shows all of some texts."""
        for text in texts:
            self.await_true(f"document.body.innerText.includes({json.dumps(text)})")

    def text(self) -> str:
        """Return what the page shows."""
        return str(self.ask("document.body.innerText"))

    def click(self, text: str) -> None:
        """Click on the innermost thing that says just this."""
        found = (
            f"[...document.querySelectorAll('*')].filter(x => !x.children.length && x.innerText?.trim() == {text!r})"
        )
        self.await_true(f"{found}.length")
        x, y = self.ask(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({found}.pop().getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def watch(self) -> None:
        """Note from now on what a page says, what its policy forbids, and what it asks of the network."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def complaints(self) -> list[str]:
        """Return what pages have said on the console, or done against their policy, since the last time."""
        self.ask("0")  # an answer comes after all events before it
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        said = [json.dumps(event["params"]) for event in self._events if event["method"] in kinds]
        self._events = [event for event in self._events if event["method"] not in kinds]
        return said

    def requests(self) -> list[str]:
        """Return the addresses that were asked for, without what a page holds itself."""
        self.ask("0")
        sent = [event["params"]["request"]["url"] for event in self._events if "request" in event["params"]]
        return [address for address in sent if not address.startswith("data:")]

    def show_at(self, width_px: int, *, is_dark: bool = False, height_px: int = 900) -> None:
        """Be a screen of some width; by day, or dark."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def shoot(self, path: Path) -> None:
        """Write a picture of the whole page, however long."""
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_KEYS[key])

    def _call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        self._connection.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(timeout=START_S + PAINT_S))
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if "method" in answer:
                self._events.append(answer)


@contextmanager
def open_browser(program: str, home: Path) -> Iterator[Tab]:
    """Start a browser with an empty home, and end all of its processes with the block."""
    home.mkdir()
    command = [
        program,
        "--headless=new",
        "--no-sandbox",  # whoever tests in a container is root, and the only pages are our own
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={home}",
        "--window-size=1400,2400",
        "about:blank",
    ]
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        with connect(_address_of_page(process, home), max_size=None) as connection:
            yield Tab(connection)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _address_of_page(process: subprocess.Popen[bytes], home: Path) -> str:
    """Wait for the browser to say where it listens, and return the address of its first page."""
    said, end = home / "DevToolsActivePort", time.monotonic() + START_S
    while not (said.exists() and said.read_text().count("\n")):
        assert process.poll() is None and time.monotonic() < end, (home / "log").read_text()[-3000:]
        time.sleep(0.05)
    with urllib.request.urlopen(f"http://127.0.0.1:{said.read_text().split()[0]}/json", timeout=START_S) as answer:
        pages = [entry for entry in json.load(answer) if entry["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
