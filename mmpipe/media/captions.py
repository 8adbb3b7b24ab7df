"""Read text that comes with media: WebVTT, SubRip, plain text, JSON, JSON lines and CSV. Pure: bytes in, values out."""

from __future__ import annotations

import codecs
import csv
import html
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmpipe.config import TextConfig
from mmpipe.errors import SampleError
from mmpipe.media.cue_lines import Lost, parse_clock_ns, read_cue_lines
from mmpipe.media.encodings import decode_unmarked
from mmpipe.types import NANOSECONDS_PER_SECOND, Cue

# The tags of SubRip and WebVTT, and the times that WebVTT has between words: whatever else stands between < and > was
# said. `b`, `i`, `u` and `ruby` say nothing but a class, so that `a<b and b>c` is none.
_TAG = re.compile(
    r"</?(?:(?:b|i|u|s|c|ruby|rt)(?:\.[^<>\s]{0,200})?|(?:v|lang|font)(?:[.\s][^<>]{0,200})?)\s*/?>"
    r"|<(?:\d{1,4}:)?\d{1,2}:\d{1,2}[.,]\d{1,9}>"
    r"|\{\\[^{}]{0,200}\}",
    re.IGNORECASE,
)
_ONCE_A_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|</?\d[^<>]{0,40}>")  # as the first reader had it
_MAX_SECONDS = 10_000_000.0
_PLAIN = TextConfig()
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
    lost: tuple[Lost, ...] = ()  # lines of which nobody can tell what they mean
    is_newly_read: bool = False  # the first reader made something else of the same bytes


def parse_vtt(data: bytes, config: TextConfig = _PLAIN) -> Captions:
    """Read WebVTT; cue settings, comments, styles and inline tags are left out."""
    return _timed(decode_text(data, config.repair), is_vtt=True)


def parse_srt(data: bytes, config: TextConfig = _PLAIN) -> Captions:
    """Read SubRip, also without numbers or fractions, with a dot or a colon for the comma, or blank lines in a cue."""
    text = decode_text(data, config.repair)
    return _timed(text, is_vtt=text.lstrip("\ufeff\n ").startswith("WEBVTT"))


def parse_txt(data: bytes, config: TextConfig = _PLAIN) -> Captions:
    """Read plain text."""
    return Captions(text=decode_text(data, config.repair).strip(), cues=())


def parse_json(data: bytes, config: TextConfig = _PLAIN) -> Captions:
    """Read a JSON text, or an object with `text`, or with `cues` or `segments` of {start, end, text} in seconds.

    Where `fields` are named they take the place of `text`. Raise SampleError decode_error where it is none of these.
    """
    written = decode_text(data, config.repair)
    value, is_newly_read = _json(written, ""), _is_newly_read(written)
    if isinstance(value, str):
        return Captions(text=_clean(value), cues=(), is_newly_read=is_newly_read)
    entries = value if isinstance(value, list) else None
    text = None
    if isinstance(value, dict):
        entries = next((value[name] for name in ("cues", "segments") if isinstance(value.get(name), list)), None)
        text = _words(value, config)
    if entries is None and text is None:
        named = ", ".join(f"`{name}`" for name in _fields(config))
        raise SampleError("decode_error", f"JSON without {named}, `cues` or `segments`: say text.fields")
    cues = _in_order(_record_cues(entries or (), config))
    told = _clean(text) if text is not None else _joined(cues)
    return Captions(text=told, cues=cues, is_newly_read=is_newly_read)


def parse_jsonl(data: bytes, config: TextConfig = _PLAIN) -> Captions:
    """Read a JSON object or text a line: a cue where it has start and end, else a line of the text."""
    text = decode_text(data, config.repair)
    lines = enumerate(text.split("\n"), start=1)
    read = _records([_json(line, f"line {number}: ") for number, line in lines if line.strip()], config)
    return replace(read, is_newly_read=_is_newly_read(text))


def parse_csv(data: bytes, config: TextConfig = _PLAIN) -> Captions:
    """Read a table with a header, between commas, semicolons or tabs: a row is a cue where it has start and end."""
    text = decode_text(data, config.repair)
    header = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=header.count)
    csv.field_size_limit(max(len(text), 1))  # what is too large was refused by its bytes
    try:
        rows = list(csv.DictReader(io.StringIO(text.lstrip()), delimiter=separator))
    except csv.Error as error:
        raise SampleError("decode_error", f"not a table: {error}") from error
    return replace(_records(rows, config), is_newly_read=_is_newly_read(text))


PARSERS: dict[str, Callable[..., Captions]] = {
    ".vtt": parse_vtt,
    ".srt": parse_srt,
    ".txt": parse_txt,
    ".json": parse_json,
    ".jsonl": parse_jsonl,
    ".csv": parse_csv,
}
_OF_RECORDS = (".json", ".jsonl", ".csv")


def reading_of(suffix: str, config: TextConfig) -> tuple[str, ...]:
    """Return what of the settings decides how a file is read, beside its bytes; nothing where it is as by default."""
    said = ("fields", *config.fields) if config.fields and suffix in _OF_RECORDS else ()
    return said if config.repair else (*said, "not repaired")


def decode_text(data: bytes, repair: bool = True) -> str:
    """Return bytes as NFC text with plain newlines: by byte-order mark, else UTF-8, else as its letters show.

    What was decoded wrongly once before it was written is repaired, if asked. Raise SampleError encoding where it is
    no text in an encoding in use, or holds what no text holds.
    """
    try:
        text = _decode(data, repair)
    except UnicodeDecodeError as error:
        raise SampleError("encoding", f"in no encoding that is known here: {error.reason}") from error
    return _normal(text)


def _decode(data: bytes, repair: bool) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_other(data)
    return text if text.isascii() or not repair else _repair(text)


def _decode_other(data: bytes) -> str:
    import ftfy

    broken = data.decode("utf-8", "replace")
    num_broken = broken.count("\ufffd")
    if num_broken * 2 <= sum(character > "\x7f" for character in broken):
        # UTF-8 with a few bytes broken is repaired: other encodings look like UTF-8 nowhere.
        return ftfy.fix_encoding(data.decode("sloppy-windows-1252"))
    return decode_unmarked(data)


def _repair(text: str) -> str:
    import ftfy
    from ftfy.badness import is_bad

    return ftfy.fix_encoding(text) if is_bad(text) else text


def _normal(text: str) -> str:
    """Return text in NFC; refuse control characters and lone surrogates, which no store can hold."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    strange = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t\f\x1b\x85"), None)
    if strange == "\x00":
        raise SampleError(
            "encoding", "holds a NUL (U+0000), which text does not: remove it; UTF-16 is read with a byte-order mark"
        )
    if strange is not None:
        raise SampleError("encoding", f"holds the character U+{ord(strange):04X}, which text does not")
    return text


# --------------------------------------------------------------------------- records


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SampleError("decode_error", f"{where}not valid JSON: {error}") from error


def _fields(config: TextConfig) -> tuple[str, ...]:
    return config.fields or ("text",)


def _words(record: Mapping[str, Any], config: TextConfig) -> str | None:
    """Return what the named fields of a record say, None where it has none of them."""
    found = [record[name] for name in _fields(config) if isinstance(record.get(name), str)]
    return " ".join(value for value in found if value.strip()) if found else None


def _records(records: Sequence[Any], config: TextConfig) -> Captions:
    """Join records: timed ones are cues, and the text of a file without any is its lines."""
    spoken = [record if isinstance(record, dict) else {"text": record} for record in records]
    lines = [
        _words(record, config if isinstance(given, dict) else _PLAIN)
        for given, record in zip(records, spoken, strict=True)
    ]
    if records and all(line is None for line in lines):
        columns = sorted({str(name) for record in spoken for name in record})[:20]
        raise SampleError("decode_error", f"has no {' or '.join(_fields(config))}, only {columns}: say text.fields")
    cues = _in_order(_record_cues(spoken, config))
    return Captions(text=_joined(cues) if cues else "\n".join(_clean(line) for line in lines if line), cues=cues)


def _record_cues(entries: Iterable[Any], config: TextConfig) -> Iterator[Cue]:
    for entry in entries:
        words = _words(entry, config) if isinstance(entry, dict) else None
        if words is None:
            continue
        start_ns, end_ns = _time_ns(entry, "start_s", "start"), _time_ns(entry, "end_s", "end")
        if start_ns is not None and end_ns is not None:
            yield Cue(start_ns=start_ns, end_ns=end_ns, text=_clean(words))


def _time_ns(record: Mapping[str, Any], *names: str) -> int | None:
    """Return a time in seconds, or one like 00:01:02.5, in nanoseconds."""
    value = next((record[name] for name in names if name in record), None)
    if isinstance(value, str):
        clock_ns = parse_clock_ns(value)
        if clock_ns is not None:
            return clock_ns
        try:
            value = float(value)
        except ValueError:
            return None
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_SECONDS
    return round(value * NANOSECONDS_PER_SECOND) if usable and value is not None else None


# --------------------------------------------------------------------------- cues


def _timed(text: str, *, is_vtt: bool) -> Captions:
    read = read_cue_lines(text, is_vtt)
    cues = _in_order(Cue(start_ns=cue.start_ns, end_ns=cue.end_ns, text=_clean(cue.words)) for cue in read.cues)
    is_newly_read = read.is_newly_read or _is_newly_read(text)
    return Captions(text=_joined(cues), cues=cues, lost=read.lost, is_newly_read=is_newly_read)


def _is_newly_read(written: str) -> bool:
    """Say whether a text has between < and > what is no tag, and was once taken for one."""
    return bool(_ONCE_A_TAG.search(_TAG.sub("", written)))


def _clean(text: str) -> str:
    """Return the words alone: no tags, no entities, single spaces."""
    return " ".join(_normal(html.unescape(_TAG.sub("", text))).split())


def _in_order(cues: Iterable[Cue]) -> tuple[Cue, ...]:
    return tuple(sorted((cue for cue in cues if cue.text), key=lambda cue: (cue.start_ns, cue.end_ns)))


def _joined(cues: Iterable[Cue]) -> str:
    return " ".join(cue.text for cue in cues)
