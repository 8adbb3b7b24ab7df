"""Walk over the blocks of a GIF without decoding any: how many pictures there are, and where it breaks off.

FFmpeg plays what is there of a GIF that was cut off, and says nothing (CompuServe's GIF89a tells the form of blocks).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

GIF = "gif"  # the name of its codec
_HEADS = (b"GIF87a", b"GIF89a")
_SCREEN_BYTES = 13
_PADDING_BYTES = 4096
_EXTENSION, _PICTURE, _TRAILER = b"\x21", b"\x2c", b"\x3b"


@dataclass(frozen=True, slots=True, kw_only=True)
class GifBlocks:
    """What the blocks of a GIF are."""

    width_px: int
    height_px: int
    num_pictures: int  # as far as they begin
    lost_share: float  # of the bytes: from the picture on in which it breaks off

    @property
    def is_moving(self) -> bool:
        """Say whether it is a film, and no still."""
        return self.num_pictures > 1


def read_gif_blocks(descriptor: int) -> GifBlocks | None:
    """Return what the blocks of a file are; None where it is no GIF."""
    with open(os.dup(descriptor), "rb") as file:
        file.seek(0)
        head = file.read(_SCREEN_BYTES)
        if len(head) < _SCREEN_BYTES or not head.startswith(_HEADS):
            return None
        width, height, flags = struct.unpack("<HHB", head[6:11])
        if not width or not height:
            return None
        file.seek(_colours(flags), os.SEEK_CUR)
        num_pictures, begin, nbytes = 0, _SCREEN_BYTES, os.fstat(descriptor).st_size
        whole = True
        while whole and (kind := file.read(1)) and kind != _TRAILER:
            if kind == _PICTURE:
                num_pictures += 1
                begin = file.tell() - 1
            whole = _pass_block(file, kind)
        share = 0.0 if whole and file.tell() <= nbytes else (nbytes - begin) / nbytes
    return GifBlocks(width_px=width, height_px=height, num_pictures=num_pictures, lost_share=share)


def _colours(flags: int) -> int:
    """Return how many bytes a table of colours takes."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _pass_block(file: BinaryIO, kind: bytes) -> bool:
    """Go behind a block; say whether it is there to its end."""
    if kind == _PICTURE:
        described = file.read(9)
        if len(described) < 9:
            return False
        file.seek(_colours(described[8]) + 1, os.SEEK_CUR)  # and the size of the codes
    elif kind == _EXTENSION:
        file.seek(1, os.SEEK_CUR)
    elif kind == b"\x00":  # what some writers leave before the end
        return not file.read(_PADDING_BYTES).strip(b"\x00")
    else:
        return False
    while size := file.read(1):
        if size == b"\x00":
            return True
        file.seek(size[0], os.SEEK_CUR)
    return False
