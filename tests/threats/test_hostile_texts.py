"""Texts and arrays that are none: read in their encoding, or refused by their code."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from hostile_makers import LONGEST_REFUSAL_S, fate, listed

from mmpipe.config import ArraysConfig, LimitsConfig
from mmpipe.media.probe import probe_file


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("grüße".encode(), "text"),
        ("grüße".encode("utf-16"), "text"),
        (b"\xff\xfe\x00", "encoding"),
        (b"a\x00b", "encoding"),
        (b"\xed\xa0\x80 lone", ("encoding", "text")),
        (b"caf\xe9 \x81\x8d\x8f", "encoding"),
        (b"", "empty_file"),
    ],
)
def test_text_is_read_in_its_encoding_or_refused(tmp_path, data, code):
    (tmp_path / "a.txt").write_bytes(data)
    assert fate(tmp_path / "a.txt") in code if isinstance(code, tuple) else fate(tmp_path / "a.txt") == code


def test_a_line_of_a_hundred_megabytes_is_refused_unread(tmp_path):
    with open(tmp_path / "a.txt", "wb") as file:
        file.truncate(100 << 20)
    started = time.monotonic()
    assert fate(tmp_path / "a.txt") in ("limit_text", "not_media")
    assert time.monotonic() - started < LONGEST_REFUSAL_S


def test_values_that_are_not_finite_never_reach_a_shard(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.inf], [0.0, 1.0]], np.float32), allow_pickle=False)
    arrays = ArraysConfig(suffixes=("npy",), rate_hz=10)
    (drop,) = probe_file(tmp_path, listed(tmp_path / "a.npy"), LimitsConfig(), arrays).drops
    assert drop.code == "nonfinite"


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    arrays = ArraysConfig(suffixes=("npy",), rate_hz=1)
    (drop,) = probe_file(tmp_path, listed(tmp_path / "a.npy"), LimitsConfig(), arrays).drops
    assert drop.code in ("array_dtype", "not_media") and not (tmp_path / "ran").exists()
