"""A weights file that is cut off is told before a worker meets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmpipe.errors import ConfigError
from mmpipe.weights.header import require_whole


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    from safetensors.numpy import save_file

    save_file({"a": np.ones((3, 4), np.float32), "b": np.zeros(5, np.float16)}, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_a_whole_file_passes(weights: Path) -> None:
    require_whole(weights, "features.x.model = './w'")


@pytest.mark.parametrize("length", [0, 5, 8, 40, -1])
def test_a_cut_file_is_told_by_its_place_in_the_config(weights: Path, length: int) -> None:
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(ConfigError, match=r"features\.x\.model = './w': .*w\.safetensors .*Fetch or save it again"):
        require_whole(weights, "features.x.model = './w'")


@pytest.mark.parametrize("content", [b"\xff" * 64, b"\x02" + bytes(7) + b"[]", b"\x04" + bytes(7) + b"null", bytes(64)])
def test_what_is_no_such_file_is_told(weights: Path, content: bytes) -> None:
    weights.write_bytes(content)
    with pytest.raises(ConfigError, match="does not begin as a safetensors file does"):
        require_whole(weights, "features.x.model = './w'")
