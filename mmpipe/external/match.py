"""Whose row is whose: their keys joined to our clips, with what is left over on either side."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmpipe.errors import ConfigError
from mmpipe.external.pin import MatchBy, MatchRule
from mmpipe.types import FeatureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipName:
    """What a clip can be called by."""

    key: str
    asset_id: str
    source_id: str
    superseded: bool = False  # its recording's name belongs to other bytes now

    @property
    def stem(self) -> str:
        """Return the last part of the source id."""
        return self.source_id.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The rows of clips, and what has no partner."""

    rows: Mapping[str, str]  # clip key -> their key
    clips_without: tuple[str, ...]  # source ids of clips without a row, each once
    keys_without: tuple[str, ...]  # their keys that name no clip
    ambiguous: tuple[str, ...]  # their keys that could mean more than one recording or clip: nobody gets them


def match_keys(keys: Iterable[str], clips: Sequence[ClipName], rule: MatchRule, kind: FeatureKind) -> Match:
    """Join their keys to clips, as `name_clips` says; two of their keys that a pattern makes one are ambiguous."""
    named = name_clips(clips, rule.by, kind)
    theirs: defaultdict[str, list[str]] = defaultdict(list)
    unmatched, ambiguous = [], []
    for key in keys:
        name = name_of(key, rule)
        if name is None or name not in named:
            unmatched.append(key)
        else:
            theirs[name].append(key)
    rows: dict[str, str] = {}
    for name, found in theirs.items():
        if len(found) > 1 or not named[name]:
            ambiguous += found
        else:
            rows.update((clip, found[0]) for clip in named[name])
    return Match(
        rows=rows,
        clips_without=tuple(sorted({clip.source_id for clip in clips if clip.key not in rows})),
        keys_without=tuple(sorted(unmatched)),
        ambiguous=tuple(sorted(ambiguous)),
    )


def name_clips(clips: Iterable[ClipName], by: MatchBy, kind: FeatureKind) -> dict[str, tuple[str, ...]]:
    """Return the clip keys that each name stands for; none where the name is ambiguous.

    A clip key names one clip. A source id or a stem names a recording: a vector goes to every clip of it; a sequence
    only where the recording is a single clip, because nobody knows which of its steps lie in which clip. A name of
    two recordings is ambiguous; what was superseded has lost its name.
    """
    named: defaultdict[str, list[ClipName]] = defaultdict(list)
    for clip in clips:
        if by is MatchBy.CLIP or not clip.superseded:
            named[{MatchBy.CLIP: clip.key, MatchBy.SOURCE: clip.source_id, MatchBy.STEM: clip.stem}[by]].append(clip)
    return {
        name: () if _is_ambiguous(group, by, kind) else tuple(sorted({clip.key for clip in group}))
        for name, group in named.items()
    }


def name_of(key: str, rule: MatchRule) -> str | None:
    """Return what their key says of a clip; None where the pattern does not fit the whole key."""
    if not rule.pattern:
        return key
    found = re.fullmatch(rule.pattern, key)
    return found["key"] if found else None


def choose_match(keys: Sequence[str], clips: Sequence[ClipName], pattern: str, kind: FeatureKind) -> MatchRule:
    """Return the rule that gives the most clips a row; the strictest of equals. ConfigError where none gives any."""
    rules = [MatchRule(by=by, pattern=pattern) for by in MatchBy]
    counts = [len(match_keys(keys, clips, rule, kind).rows) for rule in rules]
    if not max(counts):
        ours = ", ".join(f"{clip.key} or {clip.source_id}" for clip in clips[:2]) or "none yet: ingest first"
        raise ConfigError(
            f"none of their {len(keys)} keys (such as {', '.join(map(repr, keys[:2]))}) names a clip of ours ({ours}). "
            "Say how with --match and, where the name is a part of their key, --match-pattern '...(?P<key>...)...'."
        )
    return rules[counts.index(max(counts))]


def check_pattern(pattern: str) -> str:
    """Return a regular expression with a group `key`, or refuse it."""
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ConfigError(f"{pattern!r} is no regular expression: {error}") from error
    if "key" not in groups:
        raise ConfigError(f"the pattern {pattern!r} needs a group named key, as in (?P<key>.+)")
    return pattern


def _is_ambiguous(group: Sequence[ClipName], by: MatchBy, kind: FeatureKind) -> bool:
    if by is MatchBy.CLIP:
        return False
    return len({clip.asset_id for clip in group}) > 1 or (kind is FeatureKind.SEQUENCE and len(group) > 1)
