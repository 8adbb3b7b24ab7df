"""The command that tries a quarantined thing again."""

from __future__ import annotations

import shlex

from mmpipe.types import Drop


def replay_command(corpus: str, partition: str, drop: Drop) -> str:
    """Return a command line for a person to paste."""
    if drop.stage == "extract":
        return shlex.join(["mmpipe", "extract", "--corpus", corpus, "--dt", partition, "--only", "failed"])
    if drop.file:
        return shlex.join(["mmpipe", "probe", "--corpus", corpus, "--", drop.file])
    return shlex.join(["mmpipe", "ingest", "--corpus", corpus, "--dt", partition])
