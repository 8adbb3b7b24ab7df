"""Models of timm, from folders as timm writes them for the hub, give what timm gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mmpipe.errors import ConfigError
from mmpipe.features.registry import make_extractor
from mmpipe.store.shard import check_value
from mmpipe.types import ImageClip, VideoClip
from mmpipe.weights.loading import quiet_transformers
from mmpipe.weights.timm_models import import_timm

SIDE_PX, MEAN, STD = 32, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
KINDS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": SIDE_PX, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "resnet18": {},
}


def make_model(kind: str) -> Any:
    import torch

    timm = import_timm()
    torch.manual_seed(0)
    return timm.create_model(kind, num_classes=7, **KINDS[kind]).eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from safetensors.torch import save_file

    found = {}
    for kind in KINDS:
        network, folder = make_model(kind), tmp_path_factory.mktemp(kind)
        save_file(network.state_dict(), folder / "model.safetensors")
        config = {
            "architecture": kind,
            "num_classes": 7,
            "num_features": network.num_features,
            "model_args": KINDS[kind],
            "pretrained_cfg": {"input_size": [3, SIDE_PX, SIDE_PX], "mean": MEAN, "std": STD},
        }
        (folder / "config.json").write_text(json.dumps(config))
        found[kind] = folder
    return found


@quiet_transformers()
def test_what_is_no_model_of_timm_is_told_for_what_it_is(models: dict[str, Path], tmp_path: Path) -> None:
    """A model of transformers, a model without what timm notes, and weights of another architecture."""
    from transformers import BertConfig, BertModel

    BertModel(
        BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "bert")
    with pytest.raises(ConfigError, match=r"'bert' is a model of transformers .* model_type = 'bert'.* not of timm"):
        make_extractor("image-timm", {"model": str(tmp_path / "bert")})
    config = json.loads((models["resnet18"] / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((models["vit_tiny_patch16_224"] / "model.safetensors").read_bytes())
    (other / "config.json").write_text(json.dumps({**config, "pretrained_cfg": {}}))
    with pytest.raises(ConfigError, match=r"its config\.json lacks input_size, which timm writes"):
        make_extractor("image-timm", {"model": str(other)})
    (other / "config.json").write_text(json.dumps(config))
    extractor = make_extractor("image-timm", {"model": str(other), "dtype": "float32"})
    with pytest.raises(ConfigError, match=r"holds the weights of another network: of .* it has .*, expected ") as told:
        extractor.setup("cpu")
    assert "\n" not in str(told.value)


def pictures(num: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num, SIDE_PX, SIDE_PX, 3), np.uint8)


def pixels_of(images_NHWC: np.ndarray) -> Any:
    import torch

    scaled = (images_NHWC.astype(np.float64) / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(np.moveaxis(scaled, -1, 1).astype(np.float32).copy())


def values_of(folder: Path, images: np.ndarray, **params: Any) -> np.ndarray:
    extractor = make_extractor("image-timm", {"model": str(folder), "dtype": "float32", **params})
    extractor.setup("cpu")
    found = extractor.extract([ImageClip(image=image) for image in images])
    for value in found:
        check_value(extractor.schema, value)
    return np.stack([value.array for value in found])


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_timm(models: dict[str, Path], kind: str) -> None:
    import torch

    network, images = make_model(kind), pictures(3)
    with torch.inference_mode():
        features = network.forward_features(pixels_of(images))
        pooled = network.forward_head(features, pre_logits=True).numpy()
    tokens = (features if features.ndim == 3 else features.flatten(2).transpose(1, 2)).numpy()
    close = {"atol": 1e-5, "rtol": 1e-5}
    np.testing.assert_allclose(values_of(models[kind], images, batch=2), pooled, **close)
    np.testing.assert_allclose(values_of(models[kind], images, pool="none"), tokens, **close)
    np.testing.assert_allclose(values_of(models[kind], images, pool="mean"), tokens.mean(1), **close)


def test_a_row_per_frame(models: dict[str, Path]) -> None:
    extractor = make_extractor("video-timm", {"model": str(models["resnet18"]), "dtype": "float32", "num_frames": 4})
    extractor.setup("cpu")
    (value,) = extractor.extract([VideoClip(frames=pictures(4), times_ns=np.arange(4))])
    check_value(extractor.schema, value)
    np.testing.assert_allclose(value.array, values_of(models["resnet18"], pictures(4)), atol=1e-5, rtol=1e-5)


def test_what_is_not_of_timm_or_has_no_class_token_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no class token"):
        values_of(models["resnet18"], pictures(1), pool="cls")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="image-hf"):
        make_extractor("image-timm", {"model": str(tmp_path)})
