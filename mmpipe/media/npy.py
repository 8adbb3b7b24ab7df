"""Read an npy file behind a descriptor: the header is judged before a number is read, and nothing is unpickled."""

from __future__ import annotations

import ast
import math
import mmap
import os
import re
import struct

import numpy as np

from mmpipe.errors import SampleError

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000  # as numpy itself allows; a deeply nested header costs memory
_KEYS = {"descr", "fortran_order", "shape"}
_NUMERIC = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


def map_npy(descriptor: int, max_values: int) -> np.ndarray:
    """Return the array of an npy file, mapped and read-only, with at least one axis and one number.

    Raise SampleError not_media, decode_error, array_dtype, limit_array or empty_array.
    """
    start, header = _read_header(descriptor)
    dtype, shape = _numeric_dtype(header["descr"]), _shape(header["shape"])
    num_values = math.prod(shape)
    if num_values > max_values:
        raise SampleError("limit_array", f"shape {list(shape)} is {num_values} numbers, allowed are {max_values}")
    held = os.fstat(descriptor).st_size - start
    if num_values * dtype.itemsize != held:
        what = f"{dtype} {list(shape)}, which is {num_values * dtype.itemsize} bytes"
        raise SampleError("decode_error", f"the header announces {what}; the file holds {held}")
    if not num_values:
        raise SampleError("empty_array", f"shape {list(shape)}: there is not one number in it")
    mapped = mmap.mmap(descriptor, start + held, access=mmap.ACCESS_READ)
    flat = np.frombuffer(mapped, dtype, num_values, start)
    return flat.reshape(shape or (1,), order="F" if header["fortran_order"] else "C")


def _read_header(descriptor: int) -> tuple[int, dict[str, object]]:
    """Return where the numbers start, and what the header says of them."""
    head = os.pread(descriptor, 12, 0)
    if head[:6] != _MAGIC or len(head) < 12:
        raise SampleError("not_media", "no npy file: it does not begin as one")
    if head[6] not in (1, 2, 3):
        raise SampleError("format_not_allowed", f"npy format {head[6]}.{head[7]}; read are 1.0, 2.0 and 3.0")
    start, size = (10, *struct.unpack("<H", head[8:10])) if head[6] == 1 else (12, *struct.unpack("<I", head[8:12]))
    if size > _MAX_HEADER_BYTES:
        raise SampleError("decode_error", f"an npy header of {size} bytes, allowed are {_MAX_HEADER_BYTES}")
    return start + size, _parse_header(os.pread(descriptor, size, start))


def _parse_header(data: bytes) -> dict[str, object]:
    try:
        header = ast.literal_eval(data.decode("latin-1").strip())  # constants only: a call is an error
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise SampleError("decode_error", f"the npy header is no plain description: {type(error).__name__}") from error
    if not isinstance(header, dict) or set(header) != _KEYS or not isinstance(header["fortran_order"], bool):
        raise SampleError("decode_error", "the npy header does not say descr, fortran_order and shape")
    return header


def _numeric_dtype(descr: object) -> np.dtype:
    if not isinstance(descr, str) or not _NUMERIC.fullmatch(descr):
        raise SampleError("array_dtype", f"numbers of type {str(descr)[:60]!r}; read are bool, int, uint and float")
    return np.dtype(descr)


def _shape(shape: object) -> tuple[int, ...]:
    whole = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    if not whole or len(shape) > 32:  # type: ignore[arg-type]
        raise SampleError("decode_error", f"the npy header says the shape {str(shape)[:60]}")
    return shape  # type: ignore[return-value]
