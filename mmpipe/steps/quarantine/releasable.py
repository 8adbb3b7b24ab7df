"""What of the quarantine a person can let in, and the way out for all else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmpipe.media.lifted import DAMAGED, LIFTED
from mmpipe.steps.ingest.near_told import NEAR
from mmpipe.types import Modality

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
    "label_ambiguous": _TABLE,
    "lines_not_understood": (
        "nothing is held back that could be let in: {what!r} is in use without them ({detail}). Correct the file"
    ),
    "first_picture_only": (
        "nothing is held back that could be let in: {what!r} is in use as a still ({detail}). "
        "Convert it to a film, such as a GIF, WebM or MP4, to have all of it"
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
    "no_split": "it belongs to no split: name one in its row of the labels table, in the column `labels.split`",
    "bad_date": "it belongs to no date: mend its name or its row, or the rule in `dates` of the corpus",
}
_BROKEN = (
    "only a film or a sound has a part that could be used; of broken texts, pictures and numbers there is none "
    "({detail}). Mend it at its source, then: {retry}"
)
_OTHERS = (
    "that is what the bytes or the tables are, and no policy that could be bent. Mend it at its source, then: {retry}"
)


def is_releasable(code: str) -> bool:
    """Say whether a person can let in what has this code: a policy refused it, or a part of it can be used."""
    return code in LIFTED or code == NEAR or code.startswith(FILTERED)


def can_be_let_in(row: Mapping[str, Any]) -> bool:
    """Say whether a row can be released; of what is damaged only films and sounds have a part that is whole."""
    if row["code"] != DAMAGED or not row["facts"]:
        return is_releasable(row["code"])
    facts = json.loads(row["facts"])
    return "tracks" in facts or facts.get("kind") in (Modality.VIDEO, Modality.AUDIO)


def why_not(corpus: str, row: Mapping[str, Any]) -> str:
    """Say why a row of the quarantine cannot be released, and what to do instead."""
    words = {
        "what": row["file"] or row["source_id"] or row["clip_key"],
        "detail": row["detail"],
        "retry": f"mmpipe quarantine retry --corpus {corpus}",
    }
    return _WAYS_OUT.get(row["code"], _BROKEN if row["code"] == DAMAGED else _OTHERS).format(**words)


def way_out(corpus: str, which: str, row: Mapping[str, Any]) -> str:
    """Say why nothing of what a person named can be released, by its first row, and what can."""
    can = f"{', '.join(sorted(LIFTED))}, {NEAR}, {FILTERED}NAME"
    return f"{which!r} is in quarantine for {row['code']!r}: {why_not(corpus, row)}. What can be released: {can}"


def why_left(corpus: str, code: str, now: Mapping[str, Any] | None) -> str:
    """Say why what was let in past a code is in quarantine all the same, by the row that it has now."""
    if now is not None and not is_vain(code, now["code"]):
        then = "release it, too" if can_be_let_in(now) else why_not(corpus, now)
        return f"{code!r} no longer binds it, but it is refused for {now['code']!r} ({now['detail']}): {then}"
    retry = f"mmpipe quarantine retry --corpus {corpus}"
    if code == DAMAGED:
        seen = f" ({now['detail']})" if now is not None else ""
        return f"nothing of it can be decoded{seen}, however much may be missing. Put a whole file there, then: {retry}"
    return f"it is refused all the same ({now['detail'] if now else ''}). Mend it at its source, then: {retry}"


def is_vain(code: str, now: str) -> bool:
    """Say by the code that a thing has now whether an exception lets nothing in; else it stays in force."""
    return now == code or (code == DAMAGED and not is_releasable(now))


def in_vain(which: str, left: Sequence[tuple[str, str]]) -> str:
    """Say that nothing of what a person named was let in: of each file, why."""
    told = "; ".join(f"{what!r}: {why}" for what, why in left)
    return f"{which!r} was not released: {told}"
