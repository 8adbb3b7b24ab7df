"""Search in a process of its own: `tune_child.py CONFIG TRIALS [NOTE]`, killed as soon as its progress says NOTE."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from mmpipe.config import parse_config
from mmpipe.steps.train.tune import tune_model


class KilledAt:
    """A listener that kills its own process when it hears some words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def start(self, stage: str, total: int) -> None:
        """Ignore."""

    def advance(self, stage: str, units: int = 1, note: str = "") -> None:
        """Die where the words are said."""
        if self.words and self.words in note:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Search, and say how many trials this process did."""
    path, trials, *words = sys.argv[1:]
    config = parse_config(json.loads(Path(path).read_text()))
    report = tune_model(config, None, int(trials), progress=KilledAt(words[0] if words else ""))
    print(report.num_new)


if __name__ == "__main__":
    main()
