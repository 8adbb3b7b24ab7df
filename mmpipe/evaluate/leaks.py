"""Ways in which the answer, or the test itself, slips into the training."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LABEL_IN_TEXT_SHARE = 0.95
MAX_EXAMPLES = 5
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRow:
    """What the search for leaks looks at.

    `part` is the name of the clip's split, or its fold: a clip of one part is judged by models that learnt on others.
    `streams` are the digests of the tracks that the model reads; leave out short texts, which may rightly be equal.
    `text` is the text that the model reads, empty where it reads none; `name` that of the file, which none reads.
    """

    key: str
    part: str
    group: str
    streams: tuple[str, ...] = ()
    text: str = ""
    label: str = ""
    asset: str = ""  # the recording that it is cut from
    start_ns: int = 0  # in that recording
    end_ns: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One way in which an evaluation is worth less than it looks."""

    code: str  # "group_overlap", "stream_overlap", "time_overlap", "near_duplicate", "label_in_text"
    count: int  # groups, streams, recordings, pairs or clips concerned
    detail: str  # one sentence for a person
    examples: tuple[str, ...]


def find_leaks(rows: Sequence[ClipRow], near: Sequence[tuple[str, str]] = ()) -> tuple[Leak, ...]:
    """Return every leak among the clips of an evaluation; none is the answer one hopes for.

    `near` are pairs of recordings that look and sound alike.
    """
    found = (
        group_overlap(rows),
        stream_overlap(rows),
        time_overlap(rows),
        near_duplicate(rows, near),
        label_in_text(rows),
    )
    return tuple(leak for leak in found if leak)


def group_overlap(rows: Sequence[ClipRow]) -> Leak | None:
    """Name the groups that stand in more than one part: their voice or scene is learnt, then tested."""
    shared = _in_several_parts((row.group, row.part) for row in rows)
    if not shared:
        return None
    detail = (
        f"{len(shared)} group(s) are in more than one split or fold, first {shared[0]!r}: what was learnt of a group "
        "is tested on it. Split by group: set corpora.NAME.labels.group."
    )
    return Leak(code="group_overlap", count=len(shared), detail=detail, examples=tuple(shared[:MAX_EXAMPLES]))


def stream_overlap(rows: Sequence[ClipRow]) -> Leak | None:
    """Name the tracks whose very bytes stand in more than one part."""
    shared = _in_several_parts((digest, row.part) for row in rows for digest in row.streams)
    if not shared:
        return None
    detail = (
        f"{len(shared)} track(s) have the same content in more than one split or fold, first {shared[0][:12]}: "
        "the test holds training material. Remove the copies, or put them in one group."
    )
    return Leak(code="stream_overlap", count=len(shared), detail=detail, examples=tuple(shared[:MAX_EXAMPLES]))


def time_overlap(rows: Sequence[ClipRow]) -> Leak | None:
    """Name the recordings of which the same moment stands in more than one part: clips that overlap."""
    cuts: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for row in rows:
        if row.asset and row.end_ns > row.start_ns:
            cuts[row.asset].append((row.start_ns, row.end_ns, row.part))
    shared = sorted(asset for asset, clips in cuts.items() if _overlaps_across(sorted(clips)))
    if not shared:
        return None
    detail = (
        f"clips of {len(shared)} recording(s) overlap in time and are in different splits or folds, first "
        f"{shared[0]!r}: the test holds moments that were learnt. Put all clips of a recording in one group."
    )
    return Leak(code="time_overlap", count=len(shared), detail=detail, examples=tuple(shared[:MAX_EXAMPLES]))


def near_duplicate(rows: Sequence[ClipRow], near: Sequence[tuple[str, str]]) -> Leak | None:
    """Name the pairs of recordings that look and sound alike and stand in different parts."""
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        parts[row.asset].add(row.part)
    ordered = {(min(pair), max(pair)) for pair in near if pair[0] != pair[1] and set(pair) <= parts.keys()}
    shared = sorted(f"{one} ~ {other}" for one, other in ordered if len(parts[one] | parts[other]) > 1)
    if not shared:
        return None
    detail = (
        f"{len(shared)} pair(s) of recordings are near duplicates of each other in different splits or folds, first "
        f"{shared[0]}: the test holds copies of training material. Remove one of each, or put both in one group."
    )
    return Leak(code="near_duplicate", count=len(shared), detail=detail, examples=tuple(shared[:MAX_EXAMPLES]))


def label_in_name(rows: Sequence[ClipRow], share: float = LABEL_IN_TEXT_SHARE) -> str:
    """Return a sentence if (nearly) every file's name holds the label, which no input reads; else ""."""
    named = [row for row in rows if row.label and row.name]
    holding = sum(_holds(row.name, row.label) for row in named)
    if not named or holding < share * len(named):
        return ""
    return (
        f"the file names of {holding} of {len(named)} clips hold the clip's own label. No input reads names, so the "
        "model cannot; whoever adds one that does gives the answer away."
    )


def label_in_text(rows: Sequence[ClipRow], share: float = LABEL_IN_TEXT_SHARE) -> Leak | None:
    """Say so if (nearly) every clip's text holds the clip's own label as words: the model would read the answer."""
    speaking = [row for row in rows if row.label and row.text]
    holding = [row.key for row in speaking if _holds(row.text, row.label)]
    if not speaking or len(holding) < share * len(speaking):
        return None
    detail = (
        f"the text of {len(holding)} of {len(speaking)} clips holds the clip's own label: one was written from the "
        "other. Leave the text feature out of models.NAME.inputs, or choose another target."
    )
    return Leak(code="label_in_text", count=len(holding), detail=detail, examples=tuple(holding[:MAX_EXAMPLES]))


def _in_several_parts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for value, part in pairs:
        parts[value].add(part)
    return sorted(value for value, seen in parts.items() if value and len(seen) > 1)


def _overlaps_across(clips: Sequence[tuple[int, int, str]]) -> bool:
    """Return whether two clips, sorted by their start, overlap and are of different parts."""
    reached: dict[str, int] = {}  # part -> the latest end so far
    for start, end, part in clips:
        if any(start < until for other, until in reached.items() if other != part):
            return True
        reached[part] = max(reached.get(part, end), end)
    return False


def _holds(text: str, label: str) -> bool:
    """Return whether the words of the label stand in the text, side by side."""
    wanted = _words(label)
    return bool(wanted) and f" {wanted} " in f" {_words(text)} "


def _words(text: str) -> str:
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("_", " ")))
