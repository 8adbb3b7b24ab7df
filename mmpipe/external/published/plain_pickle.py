"""Read a pickle of plain containers and numpy arrays, and of nothing else: no name in it is ever imported.

Not even numpy's own constructors are called with what the file says: a forged dtype state would have numpy read memory
that is not its own. Stand-ins only keep what they are given, and the arrays are built from bytes whose type, shape and
length were checked. Formats: numpy `ndarray.__reduce__` (protocols 0 to 4) and `__reduce_ex__(5)`, `dtype.__reduce__`,
`numpy.generic.__reduce__`; pickles of Python 2 are read as latin-1, as the sets' own loaders do.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError

_KINDS = "biufSU"  # plain numbers and text; objects come as a list
_MAX_DEPTH = 16
_MAX_AXES = 8


class Refused(Exception):
    """What is in the pickle that plain data never has."""


def read_plain_pickle(path: Path) -> Any:
    """Return what a pickle holds: dict, list, tuple, str, bytes, numbers, None and numpy arrays.

    Arrays of objects become lists. The whole file is held in memory. Raise ConfigError where it names anything else,
    is cut off, or is no pickle.
    """
    try:
        with open(path, "rb") as file:
            return _Builder().build(_Plain(file, encoding="latin1").load())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except Refused as error:
        raise ConfigError(
            f"{path} is refused: {error}. Only arrays and plain containers are read from a pickle; whoever made it "
            "can save it as such."
        ) from error
    except MemoryError as error:
        raise ConfigError(f"{path} does not fit into memory, or says a size that is not its own") from error
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError,
    ) as error:  # fmt: skip
        raise ConfigError(f"{path} is cut off or is no pickle: {type(error).__name__}: {error}") from error


class _Dtype:
    """What a pickle says of a dtype."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subtype, names, fields, itemsize, alignment, flags, ...): only the order is taken
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise Refused("it has an array of records")
        self.order = state[1]

    def real(self) -> np.dtype:
        """Return the dtype; Refused where it is none of plain numbers or text."""
        code = self.code.decode("latin1") if isinstance(self.code, bytes) else self.code
        if not isinstance(code, str) or len(code) > 12 or code[:1] not in _KINDS or not code[1:].isdecimal():
            raise Refused(f"it has an array of type {str(code)[:40]!r}")
        if self.order not in ("<", ">", "=", "|"):
            raise Refused(f"it has an array of byte order {str(self.order)[:10]!r}")
        return np.dtype(code if self.order == "|" else self.order + code)

    @property
    def is_object(self) -> bool:
        return self.code in ("O", "O8", b"O8")


class _Array:
    """What a pickle says of an array."""

    def __init__(self, *arguments: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise Refused("it has an array whose state is not numpy's")
        self.state = state[-4:]  # shape, dtype, is it in Fortran's order, bytes or a list


class _Buffer(_Array):
    """What a pickle of protocol 5 says of an array."""

    def __init__(self, data: object, dtype: object, shape: object, order: object, *_: object) -> None:
        self.state = (shape, dtype, order == "F", data)


class _Scalar(_Array):
    """What a pickle says of one number of numpy's."""

    def __init__(self, dtype: object, data: object = b"") -> None:
        self.state = ((), dtype, False, data)


class _Marker:
    """Stands where numpy's class is named as an argument; it can be neither called nor changed."""

    __slots__ = ()


def _encode(text: object, encoding: object = "latin1", *_: object) -> bytes:
    """Return bytes that Python 3 wrote by an old protocol."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("it encodes text in a way that no array needs")
    return text.encode("latin1")


def _bytes(*arguments: object) -> bytes:
    if arguments:
        raise Refused("it makes bytes from something")
    return b""


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """Return the dict that an OrderedDict or a defaultdict was."""
    return dict(arguments[0]) if arguments and isinstance(arguments[0], list) else {}


def _byte_array(*arguments: object) -> bytes:
    data = arguments[0] if arguments else b""
    if not isinstance(data, bytes | str):
        raise Refused("it makes bytes from something else")
    return data if isinstance(data, bytes) else data.encode("latin1")


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _Array for module in _MULTIARRAY},
    **{(module, "scalar"): _Scalar for module in _MULTIARRAY},
    **{(module, "_frombuffer"): _Buffer for module in _NUMERIC},
    ("numpy", "ndarray"): _Marker(),
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _bytes,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _byte_array,
    ("__builtin__", "list"): _Marker(),  # the factory of a defaultdict
    ("builtins", "list"): _Marker(),
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): lambda *_: {},
}


class _Plain(pickle.Unpickler):
    """An unpickler for which nothing exists but the stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in; Refused where the file names anything else."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise Refused(f"it names {module[:80]}.{name[:80]}, and reading that would run code") from None

    def persistent_load(self, pid: object) -> Any:
        """Refuse what lies outside the file."""
        raise Refused("it refers to something outside itself")


class _Builder:
    """Makes arrays of what the stand-ins kept; what is shared stays shared, what holds itself is refused."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._open: set[int] = set()
        self._kept: list[Any] = []  # so that no id is given twice

    def build(self, value: Any, depth: int = 0) -> Any:
        """Return a value with its arrays."""
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return value
        if depth > _MAX_DEPTH or id(value) in self._open:
            raise Refused(f"it is nested deeper than {_MAX_DEPTH}, or in itself")
        if id(value) not in self._made:
            self._open.add(id(value))
            self._made[id(value)] = self._new(value, depth + 1)
            self._open.remove(id(value))
            self._kept.append(value)
        return self._made[id(value)]

    def _new(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {self._key(key, depth): self.build(one, depth) for key, one in value.items()}
        if isinstance(value, list):
            return [self.build(one, depth) for one in value]
        if isinstance(value, tuple):
            return tuple(self.build(one, depth) for one in value)
        if isinstance(value, bytearray):
            return bytes(value)
        if isinstance(value, _Array):
            return self._array(value, depth)
        raise Refused(f"it holds a {type(value).__name__}")

    def _key(self, key: Any, depth: int) -> Any:
        made = self.build(key, depth)
        return made.item() if isinstance(made, np.ndarray) and made.ndim == 0 else made

    def _array(self, array: _Array, depth: int) -> Any:
        if not array.state:
            raise Refused("it has an array without a state")
        shape, dtype, fortran, data = array.state
        if not isinstance(shape, tuple) or len(shape) > _MAX_AXES or not isinstance(dtype, _Dtype):
            raise Refused("it has an array whose state is not numpy's")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise Refused(f"it has an array of shape {str(shape)[:80]}")
        if dtype.is_object:
            if not isinstance(data, list) or len(data) != math.prod(shape):
                raise Refused("it has an array of objects that is not their list")
            return [self.build(one, depth) for one in data]
        real = dtype.real()
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape) * real.itemsize:
            raise Refused(f"it has an array {real} {list(shape)} of other than so many bytes")
        if not real.itemsize:
            return np.zeros(shape, dtype=real)
        made = np.frombuffer(data, dtype=real).reshape(shape, order="F" if fortran else "C")
        return made[()] if isinstance(array, _Scalar) else made
