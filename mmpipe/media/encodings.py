"""Tell in which encoding a text without a mark is written. Pure: bytes in, text out.

Latin code pages are told apart by charset-normalizer; for short texts in other scripts it guesses, so those are told
by what they are written with: the letters of one script, words that do not mix scripts, and vowels.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257")  # the first where several fit
_SAMPLE_BYTES = 20_000
_MIXED = re.compile(r"[A-Za-z](?=[^\W\d_A-Za-z])|(?<=[^\W\d_A-Za-z])[A-Za-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Script:
    """An encoding, and what a text in it shows."""

    encoding: str
    names: tuple[str, ...]  # how the Unicode names of its letters begin
    least: float  # share of the letters beyond ASCII that are such
    vowels: str = ""  # of which a text has at least a third


# In this order: those that show themselves best come first, and what any bytes may look like comes last.
_SCRIPTS = (
    _Script(encoding="cp932", names=("HIRAGANA", "KATAKANA"), least=0.2),
    _Script(encoding="euc_jp", names=("HIRAGANA", "KATAKANA"), least=0.2),
    _Script(encoding="cp949", names=("HANGUL SYLLABLE",), least=0.8),
    _Script(encoding="cp1251", names=("CYRILLIC SMALL",), least=0.6, vowels="аеиоуяыіАЕИОУ"),
    _Script(encoding="koi8_r", names=("CYRILLIC SMALL",), least=0.6, vowels="аеиоуяыАЕИОУ"),
    _Script(encoding="cp1255", names=("HEBREW LETTER",), least=0.9),
    _Script(encoding="cp1253", names=("GREEK SMALL",), least=0.6, vowels="αεηιουωάέήίόύώ"),
    _Script(encoding="cp1256", names=("ARABIC LETTER",), least=0.8, vowels="اويىةأإهلي"),
    _Script(encoding="gb18030", names=("CJK UNIFIED",), least=0.7),
    _Script(encoding="big5", names=("CJK UNIFIED",), least=0.7),
)
_COMMON_CHINESE = frozenset(
    "的一是不了在人有我他这個们們中来上大为為和国國地到以说說要时時就出会會也你對对生能而子那得于下自之年過发發後天好气氣"
)


def decode_unmarked(data: bytes) -> str:
    """Return text that is neither UTF-8 nor marked. Raise UnicodeDecodeError where it is in no encoding in use."""
    sample = data[:_SAMPLE_BYTES]
    fitting = []
    for script in _SCRIPTS:
        try:
            text = data.decode(script.encoding)
        except UnicodeDecodeError:
            continue
        if _shows(script, text[:_SAMPLE_BYTES]):
            if script.encoding not in ("gb18030", "big5"):
                return text
            fitting.append(text)
    if fitting:
        return max(fitting, key=lambda text: sum(letter in _COMMON_CHINESE for letter in text))
    return data.decode(_best_latin(sample))


def _shows(script: _Script, text: str) -> bool:
    beyond = [(letter, unicodedata.category(letter)[0]) for letter in text if letter > "\x7f"]
    letters = [letter for letter, kind in beyond if kind == "L"]
    num_signs = sum(kind in "SNMC" for _, kind in beyond)  # what other encodings make of letters
    if len(letters) < 2 or len(_MIXED.findall(text)) + num_signs > len(letters) / 20:
        return False
    named = sum(unicodedata.name(letter, "").startswith(script.names) for letter in letters)
    vowels = sum(letter in script.vowels for letter in letters)
    return named >= script.least * len(letters) and (not script.vowels or vowels >= len(letters) / 3)


def _best_latin(sample: bytes) -> str:
    """Return the Latin code page whose words look most like a language's."""
    from charset_normalizer import from_bytes

    found = {
        encoding: match.coherence
        for match in from_bytes(sample, cp_isolation=list(_LATIN))
        for encoding in match.could_be_from_charset
        if encoding in _LATIN
    }
    return max(_LATIN, key=lambda encoding: (found.get(encoding, -1.0), -_LATIN.index(encoding)))
