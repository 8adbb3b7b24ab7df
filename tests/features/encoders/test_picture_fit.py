"""Pictures of any shape come to a model as its own processor of transformers would bring them: the same pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vision_models import MEAN, SIDE_PX, STD, make_model

from mmpipe.config import LimitsConfig
from mmpipe.errors import ConfigError
from mmpipe.features.encoders.picture_fit import classic_fit, processor_fit, timm_fit
from mmpipe.features.encoders.pictures import picture_input
from mmpipe.features.encoders.vision_hf import ImageHf, ImageHfParams, VideoHf, VideoHfParams
from mmpipe.features.extractor import fingerprint
from mmpipe.media.images import read_image
from mmpipe.types import COVER, STRETCH, Fit, ImageClip, ImageNeeds
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import quiet_transformers

SHAPES = ((301, 121), (97, 160), (64, 64), (33, 21), (20, 27))  # wide, high, square, and smaller than what is cut out
COLOURS = {"image_mean": MEAN, "image_std": STD}
CROP = {"height": SIDE_PX, "width": SIDE_PX}
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {  # a class of transformers, and its settings
    "as CLIP": ("CLIP", {"size": {"shortest_edge": SIDE_PX}, "crop_size": CROP}),
    "scaled to more": ("CLIP", {"size": {"shortest_edge": 37}, "crop_size": CROP}),
    "scaled to less": ("CLIP", {"size": {"shortest_edge": 27}, "crop_size": CROP}),
    "not a square": ("CLIP", {"size": {"shortest_edge": 40}, "crop_size": {"height": 24, "width": 31}}),
    "lanczos": ("CLIP", {"size": {"shortest_edge": 40}, "crop_size": CROP, "resample": 1}),
    "as DINOv2": ("Bit", {"size": {"shortest_edge": 37}, "crop_size": CROP}),
    "as ViT": ("ViT", {"size": CROP}),
    "ViT, bicubic": ("ViT", {"size": CROP, "resample": 3}),
    "as DeiT": ("DeiT", {"size": {"height": 37, "width": 37}, "crop_size": CROP}),
    "as SigLIP": ("Siglip", {"size": CROP}),
    "as ConvNeXT": ("ConvNext", {"size": {"shortest_edge": SIDE_PX}, "crop_pct": 0.875}),
    "ConvNeXT, large": ("ConvNext", {"size": {"shortest_edge": 384}}),
    "as LeViT": ("Levit", {"size": {"shortest_edge": SIDE_PX}, "crop_size": CROP}),
    "as PoolFormer": ("PoolFormer", {"size": {"shortest_edge": SIDE_PX}, "crop_size": CROP}),
    "as MobileNet": ("MobileNetV2", {"size": {"shortest_edge": 37}, "crop_size": CROP}),
    "as MobileViT": ("MobileViT", {"size": {"shortest_edge": 37}, "crop_size": CROP}),
    "as EfficientNet": ("EfficientNet", {"size": CROP}),
}


def processor_of(kind: str, settings: dict[str, Any]) -> Any:
    """Return transformers' own, made of Pillow and numpy."""
    with quiet_transformers():
        import transformers

        return getattr(transformers, f"{kind}ImageProcessorPil")(**COLOURS, **settings)


def picture(folder: Path, shape: tuple[int, int]) -> Path:
    """Write a jpeg of coarse and of fine grain."""
    rng = np.random.default_rng(shape[0])
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize(shape, Image.Resampling.BICUBIC)
    grain = rng.integers(-30, 30, (shape[1], shape[0], 3))
    path = folder / f"{shape[0]}x{shape[1]}.jpg"
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def read(path: Path, needs: Any) -> ImageClip:
    assert isinstance(needs, ImageNeeds)
    with path.open("rb") as file:
        return read_image(file.fileno(), needs, LimitsConfig())


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_the_processor(tmp_path: Path, name: str) -> None:
    import torch

    kind, settings = PROCESSORS[name]
    processor = processor_of(kind, settings)
    processor.save_pretrained(tmp_path)
    model = ModelFolder(name=name, folder=tmp_path, sha256="0" * 64)
    size = picture_input(model, SIDE_PX, "model", "features.image-hf")
    needs = ImageNeeds(width_px=size.width_px, height_px=size.height_px, fit=size.fit, filter=size.filter)
    for shape in SHAPES:
        path = picture(tmp_path, shape)
        with Image.open(path) as image:
            expected = processor(image, return_tensors="np")["pixel_values"][0]
        found = size.normalise(torch.from_numpy(read(path, needs).image)[None], torch.float32)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5, err_msg=str(shape))


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("clip", "CLIP", {"size": {"shortest_edge": SIDE_PX}, "crop_size": CROP}),
        ("dinov2", "Bit", {"size": {"shortest_edge": 37}, "crop_size": CROP}),
        ("convnext", "ConvNext", {"size": {"shortest_edge": SIDE_PX}}),
        ("vit", "ViT", {"size": CROP}),
    ],
)
def test_values_are_those_of_the_processor_and_the_model(
    tmp_path: Path, name: str, kind: str, settings: dict[str, Any]
) -> None:
    import torch

    network, processor = make_model(name), processor_of(kind, settings)
    network.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    paths = [picture(tmp_path, shape) for shape in SHAPES]
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(processor(image, return_tensors="pt")["pixel_values"][0])
    with torch.inference_mode():
        seen = network.get_image_features if name == "clip" else network
        expected = seen(pixel_values=torch.stack(pixels)).pooler_output.flatten(1).numpy()

    def values(**params: Any) -> np.ndarray:
        extractor = ImageHf(ImageHfParams(**{"model": str(tmp_path), "dtype": "float32", **params}))
        extractor.setup("cpu")
        return np.stack([one.array for one in extractor.extract([read(path, extractor.needs) for path in paths])])

    found, off = values(), np.abs(values(fit="stretch" if name != "vit" else "cover") - expected).max()
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99999
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    assert off > 1e-3  # the other way of fitting is seen


def test_what_older_settings_leave_to_their_class() -> None:
    clip = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3}
    resnet = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875, "resample": 3}
    deit = {"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224, "resample": 3}
    vit = {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 2}
    fits = [processor_fit(settings, 224) for settings in (clip, resnet, deit, vit)]
    assert {(one.width_px, one.height_px) for one in fits} == {(224, 224)}
    assert [one.fit for one in fits] == [
        COVER,
        Fit(keeps_shape=True, box_px=(256, 256)),
        Fit(box_px=(256, 256)),
        STRETCH,
    ]
    assert [one.filter for one in fits] == ["bicubic", "bicubic", "bicubic", "bilinear"]


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in PROCESSORS.values()} - {"ViT", "Siglip", "EfficientNet"}))
def test_defaults_are_those_of_the_class(kind: str) -> None:
    """Settings that say nothing are completed as the class does it. Of the others the model says the size."""
    whole = json.loads(processor_of(kind, {}).to_json_string())
    assert processor_fit({"image_processor_type": f"{kind}ImageProcessor"}, 224) == processor_fit(whole, 224)


def test_timm_says_its_share_and_mode() -> None:
    said = {"input_size": [3, 224, 192], "crop_pct": 0.9, "interpolation": "lanczos"}
    found = timm_fit(said, "model", "t")
    assert (found.width_px, found.height_px, found.filter) == (192, 224, "lanczos")
    assert found.fit == Fit(keeps_shape=True, box_px=(213, 248))
    assert timm_fit({"input_size": [3, 32, 32]}, "model", "t").fit.box_px == (36, 36)
    assert timm_fit({"input_size": [3, 32, 32], "crop_pct": 1.0}, "model", "t").fit == COVER
    assert timm_fit({**said, "crop_mode": "squash"}, "model", "t").fit == Fit(box_px=(213, 248))
    with pytest.raises(ConfigError, match='set fit = "stretch"'):
        timm_fit({**said, "crop_mode": "border"}, "model", "t")
    assert timm_fit({**said, "crop_mode": "border"}, "cover", "t").fit == COVER


def test_a_person_may_ask_for_another_fit() -> None:
    usual = classic_fit(224)
    assert (usual.fit, usual.wished("model")) == (Fit(keeps_shape=True, box_px=(256, 256)), usual)
    assert (usual.wished("stretch").fit, usual.wished("cover").fit) == (STRETCH, COVER)


def test_the_fit_is_in_the_needs_and_in_the_fingerprint(tmp_path: Path) -> None:
    make_model("vit").save_pretrained(tmp_path)
    settings = {"size": {"shortest_edge": 37}, "do_center_crop": True, "crop_size": CROP, **COLOURS}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    made = [ImageHf(ImageHfParams(model=str(tmp_path), fit=fit)) for fit in ("model", "stretch", "cover")]
    boxes = [Fit(keeps_shape=True, box_px=(37, 37)), STRETCH, COVER]
    assert [one.needs.fit for one in made] == boxes
    assert len({fingerprint(one) for one in made}) == 3
    frames = VideoHf(VideoHfParams(model=str(tmp_path)))
    assert frames.needs.fit == boxes[0]
