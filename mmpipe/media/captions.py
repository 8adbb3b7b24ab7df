"""Read text that comes with media: WebVTT, SubRip, plain text and JSON. Pure: bytes in, values out."""

from __future__ import annotations

import codecs
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mmpipe.errors import SampleError
from mmpipe.types import NANOSECONDS_PER_SECOND, Cue

_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,9})"
_TIMING = re.compile(rf"^\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s|$)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|</?\d[^<>]{0,40}>|\{\\[^{}]{0,200}\}")
_MAX_SECONDS = 10_000_000.0
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its first two bytes are the same
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """The text of a file, and its timed parts in the order of time, where it has any."""

    text: str
    cues: tuple[Cue, ...]


def parse_vtt(data: bytes) -> Captions:
    """Read WebVTT; cue settings, comments, styles and inline tags are left out."""
    return _timed(decode_text(data))


def parse_srt(data: bytes) -> Captions:
    """Read SubRip, also without numbers, and with a dot for the comma."""
    return _timed(decode_text(data))


def parse_txt(data: bytes) -> Captions:
    """Read plain text."""
    return Captions(text=decode_text(data).strip(), cues=())


def parse_json(data: bytes) -> Captions:
    """Read a JSON text, or an object with `text`, or with `cues` or `segments` of {start, end, text} in seconds.

    Raise SampleError decode_error where it is none of these.
    """
    try:
        value = json.loads(decode_text(data))
    except (ValueError, RecursionError) as error:
        raise SampleError("decode_error", f"not valid JSON: {error}") from error
    if isinstance(value, str):
        return Captions(text=_clean(value), cues=())
    entries = value if isinstance(value, list) else None
    text = None
    if isinstance(value, dict):
        entries = next((value[name] for name in ("cues", "segments") if isinstance(value.get(name), list)), None)
        text = value.get("text")
    if entries is None and not isinstance(text, str):
        raise SampleError("decode_error", "JSON without a `text`, `cues` or `segments`: see the formats of text files")
    cues = _in_order(_json_cues(entries or ()))
    return Captions(text=_clean(text) if isinstance(text, str) else _joined(cues), cues=cues)


PARSERS: dict[str, Callable[[bytes], Captions]] = {
    ".vtt": parse_vtt,
    ".srt": parse_srt,
    ".txt": parse_txt,
    ".json": parse_json,
}


def decode_text(data: bytes) -> str:
    """Return bytes as NFC text with plain newlines: by byte-order mark, else UTF-8, else Windows-1252.

    Raise SampleError encoding where it is none of these, or holds what no text holds.
    """
    try:
        text = _decode(data)
    except UnicodeDecodeError as error:
        raise SampleError("encoding", f"neither UTF-8, marked UTF-16 nor Windows-1252: {error.reason}") from error
    return _normal(text)


def _decode(data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        import ftfy

        # UTF-8 with a few bytes broken, or read as Windows-1252 once before, is repaired; plain 1252 stays as it is.
        return ftfy.fix_encoding(data.decode("cp1252"))


def _normal(text: str) -> str:
    """Return text in NFC; refuse control characters and lone surrogates, which no store can hold."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    strange = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t\f\x1b\x85"), None)
    if strange is not None:
        raise SampleError("encoding", f"holds the character U+{ord(strange):04X}, which text does not")
    return text


# --------------------------------------------------------------------------- cues


def _timed(text: str) -> Captions:
    cues = _in_order(_blocks(text))
    return Captions(text=_joined(cues), cues=cues)


def _blocks(text: str) -> Iterator[Cue]:
    """Yield a cue per line of timing with the lines up to a blank one; headers, styles and comments have no timing."""
    span: tuple[int, int] | None = None
    words: list[str] = []
    for line in [*text.split("\n"), ""]:
        timing = _TIMING.match(line)
        if span and (timing or not line.strip()):
            number = timing and words and words[-1].strip().isdecimal()  # of the next cue, with no blank line before it
            yield Cue(start_ns=span[0], end_ns=span[1], text=_clean(" ".join(words[:-1] if number else words)))
            span, words = None, []
        if timing:
            span = _clock_ns(*timing.groups()[:4]), _clock_ns(*timing.groups()[4:])
        elif span:
            words.append(line)


def _clock_ns(hours: str | None, minutes: str, seconds: str, fraction: str) -> int:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole * NANOSECONDS_PER_SECOND + int(fraction.ljust(9, "0"))


def _json_cues(entries: Iterable[Any]) -> Iterator[Cue]:
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            continue
        start, end = _number(entry, "start_s", "start"), _number(entry, "end_s", "end")
        if start is not None and end is not None:
            start_ns, end_ns = (round(value * NANOSECONDS_PER_SECOND) for value in (start, end))
            yield Cue(start_ns=start_ns, end_ns=end_ns, text=_clean(entry["text"]))


def _number(entry: dict[str, Any], *names: str) -> float | None:
    value = next((entry[name] for name in names if name in entry), None)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_SECONDS
    return float(value) if usable and value is not None else None


def _clean(text: str) -> str:
    """Return the words alone: no tags, no entities, single spaces."""
    return " ".join(_normal(html.unescape(_TAG.sub("", text))).split())


def _in_order(cues: Iterable[Cue]) -> tuple[Cue, ...]:
    return tuple(sorted((cue for cue in cues if cue.text), key=lambda cue: (cue.start_ns, cue.end_ns)))


def _joined(cues: Iterable[Cue]) -> str:
    return " ".join(cue.text for cue in cues)
