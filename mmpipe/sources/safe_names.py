"""Names that somebody else gave: judged before any of them becomes a path."""

from __future__ import annotations

import os
import unicodedata

from mmpipe.errors import SampleError

_PART_BYTES = 240  # below the 255 of file systems: escaping and suffixes add some
_NAME_BYTES = 3000
_NO_NAMES = (b"", b".", b"..")


def safe_name(name: bytes) -> bytes:
    """Return a relative name without a leading `./`. Raise SampleError unsafe_name where it leads elsewhere."""
    while name.startswith(b"./"):
        name = name[2:]
    parts = name.split(b"/")
    if b"\x00" in name or any(part in _NO_NAMES for part in parts):
        raise SampleError("unsafe_name", "the name is empty, absolute, or leads out of its folder")
    if len(name) > _NAME_BYTES or any(len(part) > _PART_BYTES for part in parts):
        raise SampleError("unsafe_name", f"the name is longer than {_PART_BYTES} bytes a part, {_NAME_BYTES} in all")
    return name


class NameBook:
    """The names that were given so far; a second thing of the same name, or of one that differs in case, is refused."""

    def __init__(self) -> None:
        """Begin empty."""
        self._names: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: bytes) -> None:
        """Take a safe name. Raise SampleError name_twice, where a file system may hold only one of the two."""
        plain = unicodedata.normalize("NFC", os.fsdecode(name)).casefold()
        folders = [plain[:end] for end, character in enumerate(plain) if character == "/"]
        if plain in self._names:
            raise SampleError("name_twice", "the name is there already, or one that differs only in case or form")
        if plain in self._folders or any(folder in self._names for folder in folders):
            raise SampleError("name_twice", "the name is there already as that of a folder")
        self._names.add(plain)
        self._folders.update(folders)
