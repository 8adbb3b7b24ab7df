"""A pickle of somebody else: plain data come out as pickle itself reads them, anything else is refused unexecuted."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmpipe.errors import ConfigError
from mmpipe.external.published.plain_pickle import read_plain_pickle

ARRAYS = {
    "f4": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "big": np.arange(3, dtype=">f8"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "i8": np.array([-1, 2]),
    "bool": np.array([True, False]),
    "empty": np.empty((0, 5), np.float32),
    "text": np.array(["häh", "b"]),
    "bytes": np.array([b"x", b"yz"]),
}


def save(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_are_what_pickle_reads(tmp_path: Path, protocol: int) -> None:
    shared = [1, "a", None, 2.5, b"\xff"]
    plain = {"train": {"ids": shared, "again": shared, "tuple": (1, (2,)), 3: True}}
    kept = {"arrays": ARRAYS, "scalar": np.float64(2.5), "ordered": OrderedDict(a=1), "lists": defaultdict(list, b=[2])}
    got = read_plain_pickle(save(tmp_path / "x.pkl", plain | kept, protocol))
    assert {"train": got["train"]} == plain
    for name, array in ARRAYS.items():
        assert got["arrays"][name].dtype == array.dtype
        np.testing.assert_array_equal(got["arrays"][name], array)
    assert got["scalar"] == 2.5 and got["ordered"] == {"a": 1} and got["lists"] == {"b": [2]}


def test_arrays_of_objects_are_lists(tmp_path: Path) -> None:
    got = read_plain_pickle(save(tmp_path / "x.pkl", np.array(["one", None, np.float32(2)], dtype=object)))
    assert got == ["one", None, 2.0]


class Evil:
    """What runs when pickle reads it."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    for call in ((os.mkdir, (str(made),)), (eval, (f"__import__('os').mkdir({str(made)!r})",)), (np.load, ("x",))):
        file = save(tmp_path / "x.pkl", {"train": [ARRAYS["f4"], Evil(*call)]}, protocol)
        with pytest.raises(ConfigError, match=r"would run code"):
            read_plain_pickle(file)
        assert not made.exists()
    with pytest.raises(FileNotFoundError):
        pickle.loads(file.read_bytes())  # the last of them does run: the refusal is not for a file that is broken


def forge(state: object, dtype: object = ("f4", False, True), order: str = "<") -> bytes:
    """An array whose state is not what numpy would write."""
    parts = pickle.PROTO + b"\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    kind = (
        b"cnumpy\ndtype\n" + pickle.dumps(dtype, 2)[2:-1] + b"R" + pickle.dumps((3, order, *[None] * 3), 2)[2:-1] + b"b"
    )
    head = b"(K\x01" + pickle.dumps((10**6,), 2)[2:-1] + kind + b"\x89"
    return parts + head + pickle.dumps(state, 2)[2:-1] + b"tb."


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (forge("x" * 8), "of other than so many bytes"),  # fewer bytes than the shape says
        (forge("x" * 8, ("O8", False, True), "|"), "objects that is not their list"),  # bytes as pointers
        (forge([1], ("V16", False, True)), "type 'V16'"),
        (forge("x", ("f4,O8", False, True)), "type 'f4,O8'"),
        (b"(lp0\ng0\na.", "in itself"),
        (b"cnumpy\nndarray\n)R.", "is cut off or is no pickle"),  # the class itself may not be called
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"Pcorpus\n.", "outside itself"),
        (b"(" * 40 + b"l" * 40 + b".", "deeper than"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "cut off|memory"),
        (b"not a pickle", "is no pickle"),
        (b"", "is no pickle"),
    ],
)
def test_what_no_numpy_writes_is_refused(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "x.pkl").write_bytes(data)
    with pytest.raises(ConfigError, match=word):
        read_plain_pickle(tmp_path / "x.pkl")


def test_a_file_that_is_cut_off_is_told_wherever_it_ends(tmp_path: Path) -> None:
    whole = pickle.dumps({"train": ARRAYS}, protocol=4)
    for end in range(0, len(whole) - 1, 7):
        (tmp_path / "x.pkl").write_bytes(whole[:end])
        with pytest.raises(ConfigError, match=r"x\.pkl is cut off"):
            read_plain_pickle(tmp_path / "x.pkl")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plain_pickle(tmp_path / "none.pkl")
