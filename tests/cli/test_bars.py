"""Progress as a terminal shows it: a bar that stands still, and under it what was last said."""

from __future__ import annotations

import os
import re
import subprocess
import sys

CHILD = """
import time
from mmpipe.cli.show import Bars
with Bars() as bars:
    bars.start("train", 4)
    bars.advance("train", 1, "concat, part 0: epoch 3 of 60, loss 0.312, validation 0.401, accuracy 0.875")
    bars.advance("train", 0)
    long_enough_s = time.monotonic() + 0.5  # a terminal is drawn ten times a second
    while time.monotonic() < long_enough_s:
        bars.advance("train", 0, "lmf, part 0: " + chr(27) + "[31m" + "x" * 300)
"""


def on_a_terminal(columns: int, term: str = "xterm") -> str:
    """Return what the child draws, without what moves the cursor and colours."""
    ours, theirs = os.openpty()
    quiet = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stderr=theirs, env=quiet | {"TERM": term, "COLUMNS": str(columns)}
    )
    os.close(theirs)
    drawn = b""
    try:
        while data := os.read(ours, 65_536):
            drawn += data
    except OSError:  # the other end is closed
        pass
    assert child.wait(timeout=60) == 0
    os.close(ours)
    assert b"\x1b[31m" not in drawn  # shown, not obeyed
    return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", drawn).decode()


def test_the_bar_keeps_its_place_however_long_the_words_are():
    drawn = re.split(r"[\r\n]+", on_a_terminal(80))
    bars = [line for line in drawn if line.startswith("train ")]
    assert any("1/4" in line for line in bars) and len({line.rindex("/4") for line in bars}) == 1
    words = [line.strip() for line in drawn if line.startswith("lmf, part 0: ")]
    assert words and all(len(line) <= 80 and line.endswith("…") for line in words)


def test_without_a_terminal_there_are_plain_lines():
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[0] == "train: 4 to do"


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines():
    drawn = on_a_terminal(80, term="dumb")
    assert drawn.splitlines()[0] == "train: 4 to do"
