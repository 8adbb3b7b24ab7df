"""The command that tries a quarantined thing again."""

from __future__ import annotations

import shlex

from mmpipe.types import Drop


def replay_command(corpus: str, partition: str, drop: Drop) -> str:
    """Return a command line for a person to paste: it looks at this thing again, and tells what is wrong now."""
    if drop.stage == "extract":
        return shlex.join(["mmpipe", "extract", "--corpus", corpus, "--dt", partition, "--only", "failed"])
    if name := drop.file or drop.clip_key or drop.source_id:
        return shlex.join(["mmpipe", "probe", "--corpus", corpus, "--", name])
    return shlex.join(["mmpipe", "ingest", "--corpus", corpus, "--dt", partition])
