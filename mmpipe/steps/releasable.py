"""What of the quarantine a person can let in, and the way out for all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmpipe.media.lifted import DAMAGED, LIFTED
from mmpipe.steps.near import NEAR

FILTERED = "filtered_"
_TIME_AND_MEMORY = (
    "time and memory are lifted for no file: a single one could hold up or take down the whole run. "
    "Raise `limits.seconds_per_asset` or `limits.memory_bytes` of the corpus, then: {retry}"
)
_TABLE = "correct it in the labels table: the next ingest takes it. Nothing is held back, what it speaks of is in use"
_WAYS_OUT = {
    "label_conflict": (
        "nothing is held back that could be let in: {what!r} is in use, without labels, for which of the rows is right "
        "only their owner can say. Correct or remove the others in the labels table ({detail}), then ingest"
    ),
    "not_a_number": _TABLE,
    "rights_not_understood": _TABLE,
    "duplicate": "nothing is lost: {detail}",
    "sibling_unusable": "{detail}: let that in, or mend it, and this comes with it",
    "timeout": _TIME_AND_MEMORY,
    "memory": _TIME_AND_MEMORY,
    "worker_killed": _TIME_AND_MEMORY,
    "limit_archive": (
        "what an archive unpacks to is known only by unpacking it. Raise `limits.archive_bytes` or "
        "`limits.archive_members` of the corpus, or split it at its source"
    ),
    "unknown_type": "no reader is known for it; `arrays.suffixes` of the corpus names files of numbers",
    "format_not_allowed": "formats that are not known to be safe are opened for nobody: convert it, and put it there",
    "bad_date": "it belongs to no date: mend its name or its row, or the rule in `dates` of the corpus",
}
_OTHERS = (
    "that is what the bytes or the tables are, and no policy that could be bent. Mend it at its source, then: {retry}"
)


def is_releasable(code: str) -> bool:
    """Say whether a person can let in what has this code: a policy refused it, or a part of it can be used."""
    return code in LIFTED or code == NEAR or code.startswith(FILTERED)


def way_out(corpus: str, which: str, row: Mapping[str, Any]) -> str:
    """Say why a row of the quarantine cannot be released, and what to do instead."""
    words = {
        "what": row["file"] or row["source_id"] or row["clip_key"],
        "detail": row["detail"],
        "retry": f"mmpipe quarantine retry --corpus {corpus}",
    }
    reason = _WAYS_OUT.get(row["code"], _OTHERS).format(**words)
    can = f"{', '.join(sorted(LIFTED))}, {NEAR}, {FILTERED}NAME"
    return f"{which!r} is in quarantine for {row['code']!r}: {reason}. What can be released: {can}"


def in_vain(corpus: str, which: str, names: list[str]) -> str:
    """Say that files were tried without a bound to their damage, and what to do."""
    return (
        f"{which!r} was not released: nothing of {', '.join(map(repr, names))} can be decoded ({DAMAGED!r}), however "
        f"much may be missing. Put a whole file there, then: mmpipe quarantine retry --corpus {corpus}"
    )
