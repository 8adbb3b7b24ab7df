"""Weights from one file, or random by a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mmpipe.errors import ConfigError
from mmpipe.weights.tensors import check_weights, find_weights

SHAPES = {
    "conv.weight": (8, 3, 3, 3),
    "conv.bias": (8,),
    "bn3.weight": (8,),
    "bn1.weight": (8,),
    "bn1.running_var": (8,),
}

EXPECTED = [0.45185944, 0.34964845]


def test_random_weights_are_a_function_of_the_seed() -> None:
    first, other = (find_weights("random", seed, "toy", "features.toy") for seed in (1, 2))
    assert first.sha256 != other.sha256 != find_weights("random", 2, "toad", "features.toy").sha256
    drawn = first.read(SHAPES)
    assert {name: tensor.shape for name, tensor in drawn.items()} == SHAPES
    np.testing.assert_array_equal(drawn["conv.weight"], first.read(SHAPES)["conv.weight"])
    assert np.abs(drawn["conv.weight"] - other.read(SHAPES)["conv.weight"]).max() > 0.1
    assert drawn["conv.weight"].std() == pytest.approx((2 / 27) ** 0.5, rel=0.2)
    assert not drawn["conv.bias"].any() and (drawn["bn1.weight"] == 1).all() and (drawn["bn1.running_var"] == 1).all()
    # The same numbers on every machine: a change of these is a change of what was stored.
    np.testing.assert_allclose(drawn["conv.weight"].ravel()[:2], EXPECTED, rtol=1e-6)


def test_a_file_is_read_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPIPE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "toy.safetensors"
    save_file({"a": np.ones((2, 3), np.float16), "b": np.zeros(4, np.float32)}, path)
    found = find_weights(str(path), 0, "toy", "features.toy")
    assert found.sha256 == find_weights(str(path), 5, "toad", "features.toy").sha256
    tensors = found.read({})
    outline = found.outline({})
    assert {name: array.shape for name, array in outline.items()} == {"a": (2, 3), "b": (4,)}
    assert not any(outline["a"].strides), "one number stands for all"
    assert tensors["a"].dtype == np.float32
    assert set(check_weights(tensors, {"a": (2, 3)}, found.name, "features.toy")) == {"a"}
    with pytest.raises(ConfigError, match=r"has \[2, 3\] as a, expected \[3, 2\]"):
        check_weights(tensors, {"a": (3, 2)}, found.name, "features.toy")
    with pytest.raises(ConfigError, match=r"has \[2, 3\] as a, expected \[3, 2\]"):
        check_weights(outline, {"a": (3, 2)}, found.name, "features.toy")
    with pytest.raises(ConfigError, match="has nothing as c"):
        check_weights(tensors, {"c": (1,)}, found.name, "features.toy")
    with pytest.raises(ConfigError, match=r"no such \.safetensors file"):
        find_weights(str(tmp_path / "none.safetensors"), 0, "toy", "features.toy")
