"""npy arrays, never unpickled: one file per row with the key in its name, or one matrix with the keys beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external.pin import Selection, Shape
from mmpipe.external.values import shape_of

SUFFIXES = (".npy",)
ANY_NAME = r"(?P<key>.+)\.npy"


def key_of_name(name: str, pattern: str) -> str | None:
    """Return the key that a file's name holds; None where the pattern does not fit the whole name."""
    found = re.fullmatch(pattern or ANY_NAME, name)
    return found["key"] if found else None


def read_header(file: BinaryIO, where: str) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and dtype that an npy file announces, without its data."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        raise ConfigError(f"{where} is no npy file: {error}") from error
    return shape, dtype


def load_array(data: bytes, where: str) -> np.ndarray:
    """Return the array in bytes of the npy format; SampleError where they are none."""
    file = BytesIO(data)
    try:
        shape, dtype = read_header(file, where)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
            raise SampleError("bad_npy", f"{where} holds objects, or not what its header says: {dtype} {list(shape)}")
        file.seek(0)
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    except (ConfigError, ValueError, EOFError) as error:
        raise SampleError("bad_npy", f"{where} cannot be read: {error}") from error
    return array


def read_file_shape(path: Path, name: str) -> Shape:
    """Return the shape of a file that is one row."""
    with open(path, "rb") as file:
        return shape_of(*read_header(file, name), name)


def read_matrix_shape(path: Path, name: str) -> tuple[Shape, int]:
    """Return the shape of a row of a matrix [N, D] or [N, T, D], and the number of rows."""
    with open(path, "rb") as file:
        shape, dtype = read_header(file, name)
        start = file.tell()
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != path.stat().st_size - start:
        raise ConfigError(f"{name} is cut short or longer than its header says: {dtype} {list(shape)}")
    if len(shape) < 2:
        raise ConfigError(f"{name} has the shape {list(shape)}; a matrix has one row per key: [N, D] or [N, T, D]")
    return shape_of(shape[1:], dtype, name), shape[0]


def read_keys_file(path: Path) -> list[str]:
    """Return the keys of a matrix: one per line."""
    return path.read_text("utf-8").splitlines()


def read_matrix_rows(
    path: Path, keys: list[str], wanted: Container[str] | None, selection: Selection
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the wanted rows of a matrix; only they are read from the disk."""
    matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    if len(matrix) != len(keys):
        raise ConfigError(f"{selection.keys_file} names {len(keys)} keys for {len(matrix)} rows of the matrix")
    for key, row in zip(keys, matrix, strict=True):
        if wanted is None or key in wanted:
            yield key, np.array(row)
