"""Read the lines of SubRip and WebVTT: timed words, and the lines of which nobody can tell what they mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mmpipe.types import NANOSECONDS_PER_SECOND

# Hours may be missing, and so may the fraction; behind a colon only three digits are one: two are frames of a film.
_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9})|:(\d{3}))?"
_TIMING = re.compile(rf"^\s*{_CLOCK}\s*(-{{1,2}})>\s*{_CLOCK}(?:\s|$)")
_CLOCK_ALONE = re.compile(rf"\s*{_CLOCK}\s*")
_LIKE_TIMING = re.compile(r"\s*-?\d\S*\s*-{1,2}>")
_ARROW = "-->"
_UNSAID = ("NOTE", "STYLE", "REGION")  # blocks of WebVTT that nobody says


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A line that is not understood: nothing is made of it."""

    number: int  # from 1
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedWords:
    """The words between two times, as they are written."""

    start_ns: int
    end_ns: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CueLines:
    """What the lines of a file of captions say."""

    cues: tuple[TimedWords, ...]
    lost: tuple[Lost, ...]
    is_newly_read: bool  # what the first reader made of the same bytes was less


def read_cue_lines(text: str, is_vtt: bool) -> CueLines:
    """Return the cues in the order of the lines.

    In WebVTT a blank line ends a cue, and other blocks have no times. In SubRip words go on to the next line of times,
    whatever blank lines are between: it has nothing else that could follow.
    """
    reader = _Reader(is_vtt=is_vtt)
    for number, line in enumerate(text.lstrip("\ufeff").split("\n"), start=1):
        reader.take(number, line)
    return reader.finish()


def parse_clock_ns(text: str) -> int | None:
    """Return a time such as 00:01:02.5 in nanoseconds, None where it is none: alone, it has a fraction."""
    found = _CLOCK_ALONE.fullmatch(text)
    return _clock_ns(*found.groups()) if found and found[4] else None


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Where in a file the reader stands."""

    is_vtt: bool
    cues: list[TimedWords] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    is_newly_read: bool = False
    span_ns: tuple[int, int] | None = None  # of the cue at hand
    words: list[tuple[str, bool]] = field(default_factory=list)  # its lines, and whether a blank one was before them
    loose: list[Lost] = field(default_factory=list)  # lines outside any cue: of this block, or before the first cue
    is_skipping: bool = False  # a comment, a header, or the words under times that are not understood
    is_after_blank: bool = True

    def take(self, number: int, line: str) -> None:
        """Read the next line."""
        if not line.strip():
            self._end_block()
        elif timing := _TIMING.match(line):
            self._close(before_times=True)
            groups = timing.groups()
            self.span_ns = _clock_ns(*groups[:5]), _clock_ns(*groups[6:])
            is_plain = groups[3] and groups[5] == "--" and groups[9]
            self.is_newly_read |= not is_plain
        elif self._is_broken(line):
            self.is_newly_read |= self.span_ns is not None
            self._close(before_times=True)
            self.lost.append(Lost(number=number, line=line))
            self.is_skipping = True
        elif self.span_ns:
            self.words.append((line, self.is_after_blank))
        elif not self.is_skipping:
            self._take_loose(Lost(number=number, line=line))
        self.is_after_blank = not line.strip()

    def finish(self) -> CueLines:
        """Return what was read."""
        self._close(before_times=False)
        return CueLines(cues=tuple(self.cues), lost=tuple(self.lost), is_newly_read=self.is_newly_read)

    def _is_broken(self, line: str) -> bool:
        """Say whether a line was meant to tell times; in a cue an arrow may be a word."""
        if self.is_skipping and self.is_vtt:
            return False
        line_before, is_apart = self.words[-1] if self.words else ("", False)
        is_named = is_apart and line_before.strip().isdecimal()  # the number of another cue
        is_word = self.span_ns is not None and not self.is_after_blank and not is_named
        return (":" in line and bool(_LIKE_TIMING.match(line))) or (_ARROW in line and not is_word)

    def _take_loose(self, line: Lost) -> None:
        starts_block = self.is_vtt and self.is_after_blank
        first = line.line.split()[0]
        if starts_block and (first in _UNSAID or (first == "WEBVTT" and not self.cues)):
            self.is_skipping = True
        else:
            self.loose.append(line)

    def _end_block(self) -> None:
        if self.is_vtt:
            self._close(before_times=False)
            self.is_skipping = False

    def _close(self, *, before_times: bool) -> None:
        """End what is open; before a line of times a line that only names the cue is no part of it."""
        if self.span_ns:
            words = self.words
            # Directly above the times, or after a blank line: else a number is what was said.
            is_apart = (before_times and not self.is_after_blank) or bool(words and words[-1][1])
            if is_apart and words and words[-1][0].strip().isdecimal():
                words = words[:-1]
            self.is_newly_read |= any(is_after for _, is_after in words)
            start_ns, end_ns = self.span_ns
            self.cues.append(TimedWords(start_ns=start_ns, end_ns=end_ns, words=" ".join(line for line, _ in words)))
        elif self.loose and (before_times if self.is_vtt else self.loose[-1].line.strip().isdecimal()):
            self.loose.pop()
        self.lost += self.loose
        self.span_ns, self.words, self.loose, self.is_skipping = None, [], [], False


def _clock_ns(hours: str | None, minutes: str, seconds: str, fraction: str | None, thousandths: str | None) -> int:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole * NANOSECONDS_PER_SECOND + int((fraction or thousandths or "0").ljust(9, "0"))


def tell_lost(lost: Iterable[Lost]) -> str:
    """Say how many lines are not understood, and which is the first; "" for none."""
    lines = sorted(lost, key=lambda one: one.number)
    if not lines:
        return ""
    first = f"line {lines[0].number}: {lines[0].line.strip()[:80]!r}"
    if len(lines) == 1:
        return f"1 line is not understood, {first}"
    return f"{len(lines)} lines are not understood, the first is {first}"
