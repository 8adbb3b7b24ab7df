"""Tell by its first bytes what a file is; its name only decides how text is read."""

from __future__ import annotations

import codecs
from enum import StrEnum

from mmpipe.errors import SampleError
from mmpipe.media.captions import PARSERS

HEAD_BYTES = 4096

_IMAGE_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
# Text formats that name other files or addresses: FFmpeg would follow them.
_FOLLOWING_HEADS = (
    b"#extm3u",
    b"ffconcat",
    b"<?xml",
    b"<mpd",
    b"<svg",
    b"<smil",
    b"<asx",
    b"v=0",
    b"[playlist]",
    b"[reference]",
)
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


class Content(StrEnum):
    """Which reader a file needs."""

    TRACKS = "tracks"  # video and sound, by FFmpeg
    IMAGE = "image"
    TEXT = "text"


def sniff(head: bytes, suffix: str) -> Content:
    """Return who reads a file that begins so. Raise SampleError empty_file, not_media or format_not_allowed."""
    if not head:
        raise SampleError("empty_file", "0 bytes")
    if suffix in PARSERS and (not _is_binary(head) or _is_text_with_nul(head)):
        return Content.TEXT
    if _is_image(head):
        return Content.IMAGE
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        raise SampleError("format_not_allowed", "HEIF and AVIF pictures are not read here; convert them to PNG or JPEG")
    start = head.lstrip(codecs.BOM_UTF8 + b" \t\r\n").lower()
    if start.startswith(_FOLLOWING_HEADS):
        raise SampleError("format_not_allowed", "a playlist or document, which may name other files")
    if not _is_binary(head) and _is_utf8(head):
        raise SampleError("not_media", f"text, in a file named {suffix or 'without a suffix'}")
    return Content.TRACKS


def _is_binary(head: bytes) -> bool:
    return b"\x00" in head and not head.startswith(_MARKS)


def _is_text_with_nul(head: bytes) -> bool:
    """Say whether there is a NUL among letters, or nothing else: the reader of texts refuses it in words."""
    letters = head.replace(b"\x00", b"")
    return (not letters or len(letters) * 2 >= len(head)) and _is_utf8(letters)


def _is_image(head: bytes) -> bool:
    bitmap = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS
    return bitmap or head.startswith(_IMAGE_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _is_utf8(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the head may end inside a character
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
