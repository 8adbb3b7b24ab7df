"""The lines of CoNLL files: a word a line with its columns, a blank line after a sentence.

Read are the files of the shared tasks (Tjong Kim Sang and De Meulder 2003: `U.N. NNP I-NP I-ORG`, -DOCSTART- between
documents), CoNLL-U (Nivre et al. 2020: numbered words, comments, ranges as 3-4 and empty nodes as 5.1, which are no
words), and the pictured tweets of Zhang et al. 2018 and Lu et al. 2018 (`IMGID:123` before a sentence).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmpipe.errors import ConfigError

_IMAGE = re.compile(r"IMGID:\s*(\S+)\s*")
_NUMBER = re.compile(r"\d+(?:[-.]\d+)?")
_COMMENT = re.compile(r"#\s*(newdoc|sent_id)\b(?:\s*(?:id\s*)?=\s*(.*))?")
_DOCUMENT = "-DOCSTART-"
_CONLL_U, _UPOS = 10, 3  # columns of a line, and where the part of speech stands
_MOST_ODD = 0.1  # share of lines that may be odd before they are what the file is like


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns are read, counted from 1, or from the end as -1; 0: as the file looks."""

    words: int = 0
    tags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Words and a tag for each; none of the words holds white space."""

    lines: tuple[int, ...]  # of the file, from 1, one per word
    words: tuple[str, ...]
    tags: tuple[str, ...]
    document: int  # counts from 1; 0: the file names no documents before
    sent_id: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSentence:
    """A sentence that cannot be read, and why."""

    line: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How the lines of a file are to be read."""

    is_tabbed: bool
    num_columns: int
    is_numbered: bool  # the first column counts the words of a sentence
    words: int  # column, from 0
    tags: int

    def split(self, line: str) -> list[str]:
        """Return the columns of a line."""
        return split_line(line, is_tabbed=self.is_tabbed)

    def is_comment(self, line: str) -> bool:
        """Say whether a line is a comment: a hashtag with its tag is none."""
        return line.startswith("#") and (self.is_numbered or len(self.split(line)) != self.num_columns)


def read_sentences(text: str, columns: Columns, name: str) -> Iterator[Sentence | BadSentence]:
    """Yield the sentences of a file; raise ConfigError where it has no lines of columns, or not those asked for."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    form = _find_form(lines, columns, name)
    block: list[tuple[int, list[str]]] = []
    document, sent_id, image = 0, "", ""
    for number, line in enumerate([*lines, ""], 1):
        told = _IMAGE.fullmatch(line)
        is_document = line.startswith(_DOCUMENT)
        if block and (told or is_document or not line.strip()):
            yield _sentence(block, form, document, sent_id, image)
            block, sent_id, image = [], "", ""
        if told:
            image = told[1]
        elif is_document:
            document += 1
        elif form.is_comment(line):
            said = _COMMENT.match(line)
            document += bool(said and said[1] == "newdoc")
            sent_id = (said[2] or "").strip() if said and said[1] == "sent_id" else sent_id
        elif line.strip():
            block.append((number, form.split(line)))


def _find_form(lines: Sequence[str], columns: Columns, name: str) -> Form:
    """Tell by the bulk of the lines what the columns are; single odd lines are for who reads them."""
    bulk = [line for line in lines if line.strip() and not line.startswith(("#", _DOCUMENT, "IMGID:"))]
    if not bulk:
        raise ConfigError(f"{name} has no line with a word. A CoNLL file has a word and its tag a line.")
    is_tabbed = sum("\t" in line for line in bulk) * 2 > len(bulk)
    split = [split_line(line, is_tabbed=is_tabbed) for line in bulk]
    ((num_columns, _),) = Counter(len(parts) for parts in split).most_common(1)
    if num_columns < 2:
        raise ConfigError(
            f"{name} has lines of one column, as {bulk[0][:60]!r}. A CoNLL file has a word and its tag a line, between "
            "tabs or blanks."
        )
    numbered = sum(bool(_NUMBER.fullmatch(parts[0])) for parts in split)
    is_numbered = num_columns > 2 and numbered >= (1 - _MOST_ODD) * len(split) and split[0][0][:1] in ("0", "1")
    tags = (_UPOS if num_columns == _CONLL_U else 2) if is_numbered else num_columns - 1
    return Form(
        is_tabbed=is_tabbed,
        num_columns=num_columns,
        is_numbered=is_numbered,
        words=_column(columns.words, int(is_numbered), num_columns, "words", name),
        tags=_column(columns.tags, tags, num_columns, "tags", name),
    )


def split_line(line: str, *, is_tabbed: bool) -> list[str]:
    """Return the columns of a line; other white space than tabs and blanks is part of a word."""
    return line.split("\t") if is_tabbed else re.split("[ \t]+", line.strip(" \t"))


def _column(asked: int, usual: int, num_columns: int, what: str, name: str) -> int:
    """Return a column from 0."""
    if not asked:
        return usual
    if abs(asked) > num_columns:
        raise ConfigError(f"{name} has {num_columns} columns: --{what} {asked} is none of them")
    return asked - 1 if asked > 0 else num_columns + asked


def _sentence(
    block: Sequence[tuple[int, list[str]]], form: Form, document: int, sent_id: str, image: str
) -> Sentence | BadSentence:
    lines: list[int] = []
    words: list[str] = []
    tags: list[str] = []
    for number, parts in block:
        if len(parts) != form.num_columns:
            said = f"has {len(parts)} columns, the others {form.num_columns}: {' '.join(parts)[:60]!r}. Add or remove"
            return BadSentence(line=number, code="bad_columns", detail=f"line {number} {said} what differs")
        if form.is_numbered and not _NUMBER.fullmatch(parts[0]):
            return _bad_number(number, parts[0], len(words) + 1)
        if form.is_numbered and ("-" in parts[0] or "." in parts[0]):
            continue  # a range is its words together, an empty node is no word of the text
        if form.is_numbered and parts[0] != str(len(words) + 1):
            return _bad_number(number, parts[0], len(words) + 1)
        word, tag = _token(parts[form.words]), _token(parts[form.tags])
        if not word or not tag:
            empty = "word" if not word else "tag"
            detail = f"line {number} has no {empty}: {' '.join(parts)[:60]!r}. Give it one, or remove the line"
            return BadSentence(line=number, code=f"no_{empty}", detail=detail)
        lines.append(number)
        words.append(word)
        tags.append(tag)
    if not words:
        return BadSentence(line=block[0][0], code="no_word", detail=f"line {block[0][0]} begins a sentence of no words")
    return Sentence(
        lines=tuple(lines),
        words=tuple(words),
        tags=tuple(tags),
        document=document,
        sent_id=sent_id,
        image=image,
    )


def _bad_number(line: int, found: str, wanted: int) -> BadSentence:
    detail = f"line {line} is word {found[:20]!r}, after {wanted - 1} word(s): one is missing, or a blank line is"
    return BadSentence(line=line, code="bad_number", detail=detail)


def _token(text: str) -> str:
    """Return a word as a store holds it, in NFC; white space inside it becomes `_`: between words stands a blank."""
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") or c == "\ufeff" else c for c in text)
    return "_".join(unicodedata.normalize("NFC", text).split())
