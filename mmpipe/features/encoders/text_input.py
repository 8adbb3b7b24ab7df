"""What a text must be before a tokenizer sees it."""

from __future__ import annotations

from mmpipe.errors import SampleError


def require_text(text: str) -> str:
    """Return the text; raise SampleError where it holds nothing, or what no encoding can write."""
    if not text.strip():
        raise SampleError("empty_text", "the text holds nothing but space")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise SampleError("encoding", "the text holds half of a surrogate pair, which no encoding can write")
    return text
