"""VGG16 and ResNet50 in plain torch equal those of timm and transformers, from the files that these write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.classic import ClassicParams, ImageResNet50, ImageVgg16, VideoResNet50
from mmpipe.features.encoders.pictures import IMAGENET_MEAN, IMAGENET_STD
from mmpipe.features.extractor import fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.store.shard import check_value
from mmpipe.types import FeatureKind, ImageClip, VideoClip
from mmpipe.weights.loading import quiet_transformers
from mmpipe.weights.timm_models import import_timm

SIDE_PX = 64


def pictures(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, SIDE_PX, SIDE_PX, 3), np.uint8)


def pixels_of(images_NHWC: np.ndarray) -> Any:
    import torch

    scaled = (images_NHWC.astype(np.float64) / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    return torch.from_numpy(np.moveaxis(scaled, -1, 1).astype(np.float32).copy())


def values_of(name: str, images_NHWC: np.ndarray, **params: Any) -> np.ndarray:
    extractor = make_extractor(name, {"size_px": SIDE_PX, "dtype": "float32", **params})
    extractor.setup("cpu")
    found = extractor.extract([ImageClip(image=image) for image in images_NHWC])
    for value in found:
        check_value(extractor.schema, value)
    return np.stack([value.array for value in found])


def shuffled_norms(network: Any) -> Any:
    """Give the normalisations something to do: fresh ones pass everything through."""
    import torch

    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def hf_resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    import torch

    with quiet_transformers():
        from transformers import ResNetConfig, ResNetModel

        torch.manual_seed(0)
        network = shuffled_norms(ResNetModel(ResNetConfig()))
        folder = tmp_path_factory.mktemp("resnet")
        network.save_pretrained(folder)
    return network, folder / "model.safetensors"


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare relative to the size of the values: these networks make large ones."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))


def test_resnet50_equals_that_of_transformers(hf_resnet: tuple[Any, Path]) -> None:
    import torch

    network, path = hf_resnet
    images = pictures(3)
    with torch.inference_mode():
        found = network(pixel_values=pixels_of(images))
    assert_close(values_of("image-resnet50", images, weights=str(path)), found.pooler_output.flatten(1).numpy())
    places = found.last_hidden_state.flatten(2).transpose(1, 2).numpy()
    assert_close(values_of("image-resnet50", images, weights=str(path), pool="none"), places)


def test_resnet50_reads_the_names_of_torchvision(hf_resnet: tuple[Any, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    timm = import_timm()
    torch.manual_seed(0)
    network = shuffled_norms(timm.create_model("resnet50"))
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "fc.weight"} <= set(network.state_dict())
    save_file(network.state_dict(), tmp_path / "resnet50.safetensors")
    images = pictures(2)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(pixels_of(images)), pre_logits=True).numpy()
    assert_close(values_of("image-resnet50", images, weights=str(tmp_path / "resnet50.safetensors")), expected)


def test_vgg16_equals_that_of_timm(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    timm = import_timm()
    torch.manual_seed(0)
    network = timm.create_model("vgg16").eval()
    path = tmp_path / "vgg16.safetensors"
    save_file(network.state_dict(), path)
    images = pictures(2)
    with torch.inference_mode():
        places = network.forward_features(pixels_of(images))
        hidden = network.forward_head(places, pre_logits=True).numpy()
    assert_close(values_of("image-vgg16", images, weights=str(path)), hidden)
    assert_close(values_of("image-vgg16", images, weights=str(path), pool="mean"), places.mean((2, 3)).numpy())
    assert make_extractor("image-vgg16", {"weights": str(path)}).schema.dim == 4096


@pytest.mark.parametrize(("name", "dim"), [("image-resnet50", 2048), ("image-vgg16", 512)])
def test_random_weights_are_those_of_their_seed(name: str, dim: int) -> None:
    images = pictures(2)
    how = {"pool": "mean"}
    first, again, other = (values_of(name, images, seed=seed, **how) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, dim) and np.abs(first - other).max() > 0.01
    assert first.std() > 0.01 and np.abs(first).max() < 1e3, "neither vanished nor blown up"
    half = values_of(name, images, dtype="bfloat16", **how)
    cosines = (first * half).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(half, axis=1)
    assert cosines.min() >= 0.999


def test_the_fingerprint_is_of_seed_or_bytes(hf_resnet: tuple[Any, Path], tmp_path: Path) -> None:
    def mark(**params: Any) -> str:
        return fingerprint(ImageResNet50(ClassicParams(dtype="float32", **params)))

    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(hf_resnet[1].read_bytes())
    assert mark(weights=str(copy)) == mark(weights=str(hf_resnet[1]), seed=3)
    vgg = fingerprint(ImageVgg16(ClassicParams(dtype="float32")))
    assert len({mark(), mark(seed=1), mark(weights=str(copy)), mark(size_px=96), mark(pool="none"), vgg}) == 6
    assert "random 0" in ImageResNet50(ClassicParams()).schema.description


def test_a_row_per_frame(hf_resnet: tuple[Any, Path]) -> None:
    frames = pictures(3)
    extractor = make_extractor("video-resnet50", {"size_px": SIDE_PX, "dtype": "float32", "only_keyframes": True})
    assert isinstance(extractor, VideoResNet50) and extractor.needs.only_keyframes
    extractor.setup("cpu")
    (value,) = extractor.extract([VideoClip(frames=frames, times_ns=np.array([0, 5, 9]))])
    check_value(extractor.schema, value)
    assert extractor.schema.kind is FeatureKind.SEQUENCE and value.array.shape == (3, 2048)
    np.testing.assert_allclose(value.array, values_of("image-resnet50", frames), atol=1e-4, rtol=1e-5)


def test_a_file_that_is_of_another_network_is_refused(hf_resnet: tuple[Any, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"features\.0\.weight"):
        make_extractor("image-vgg16", {"weights": str(hf_resnet[1])})  # by its header: nothing is loaded yet
    from safetensors.numpy import save_file

    other = tmp_path / "other.safetensors"
    save_file({name: np.zeros(2, np.float32) for name in ("conv1.weight", "bn1.bias")}, other)
    with pytest.raises(ConfigError, match=r"has \[2\] as conv1\.weight, expected \[64, 3, 7, 7\]"):
        make_extractor("video-resnet50", {"weights": str(other)})
    pickled = tmp_path / "vgg16.pth"
    pickled.write_bytes(b"never read")
    with pytest.raises(ConfigError, match="pickled"):
        make_extractor("image-vgg16", {"weights": str(pickled)})
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no header")
    with pytest.raises(ConfigError, match="does not begin as a safetensors file does"):
        values_of("image-vgg16", pictures(1), weights=str(broken))
