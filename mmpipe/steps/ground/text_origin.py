"""Where the words of a text stream come from, as its `origin` says it, and what was left out of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Self

from mmpipe.errors import ConfigError
from mmpipe.signals.stop_words import STOP_WORDS
from mmpipe.signals.words import clean_words
from mmpipe.types import Stream, digest_of

SIDECAR, ASR, COLUMN = "sidecar", "asr", "column:"
UNREAD = "unread"  # of a sidecar where `text.sources` has no sidecars: it is forgotten with its asset, and not read
_WRITTEN = re.compile(r"(?P<source>.*?)(?:; stop_words=(?P<language>[a-z]{2,3}))?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOrigin:
    """What `Stream.origin` of a text says: "column:caption; stop_words=en"."""

    source: str  # "sidecar", "column:NAME", "asr:MODEL"; "" in stores from before origins
    stop_words: str = ""  # the language whose stop-words are left out of the clips' texts

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an origin."""
        found = _WRITTEN.fullmatch(text)
        assert found, text
        return cls(source=found["source"], stop_words=found["language"] or "")

    def __str__(self) -> str:
        """Write it as a stream has it."""
        return f"{self.source}; stop_words={self.stop_words}" if self.stop_words else self.source

    @property
    def column(self) -> str:
        """Return the column of the labels table that it was read from, "" where it was not."""
        return self.source.removeprefix(COLUMN) if self.source.startswith(COLUMN) else ""


def kept_words(text: str, stream: Stream | None) -> str:
    """Return what a clip's text is after the cleaning that its text stream names; twice is as once."""
    language = TextOrigin.parse(stream.origin).stop_words if stream else ""
    return " ".join(clean_words(text, language)) if language else text


def cleaned_digest(digest: str, language: str) -> str:
    """Return the digest of a text stream without the stop-words of a language; "" leaves nothing out."""
    return digest_of("mmpipe-words-1", digest, language, _list_digest(language)) if language else digest


def require_stop_words(language: str) -> None:
    """Raise ConfigError where there is no list of stop-words of a language."""
    if language and language not in STOP_WORDS:
        raise ConfigError(
            f"text.stop_words = {language!r}: there are lists for {', '.join(sorted(STOP_WORDS))}. "
            "Name one of them, or leave it out to keep every word."
        )


@cache
def _list_digest(language: str) -> str:
    """Return the digest of a list: a list that changes makes other texts."""
    return digest_of(*sorted(STOP_WORDS[language]))
