"""Vision models of transformers give what a straight call gives, whatever else is in the batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vision_models import NAMES, make_model, pixels_of, random_pictures, save_model

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.vision_hf import ImageHf, ImageHfParams, VideoHf, VideoHfParams
from mmpipe.features.extractor import Extractor, fingerprint
from mmpipe.store.shard import check_value
from mmpipe.types import FeatureKind, ImageClip, VideoClip

STILLS = tuple(name for name in NAMES if name != "videomae")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: save_model(root / name, name) for name in NAMES}


def still(folder: Path, **params: Any) -> ImageHf:
    extractor = ImageHf(ImageHfParams(**{"model": str(folder), "dtype": "float32", **params}))
    extractor.setup("cpu")
    return extractor


def video(folder: Path, **params: Any) -> VideoHf:
    extractor = VideoHf(VideoHfParams(**{"model": str(folder), "dtype": "float32", **params}))
    extractor.setup("cpu")
    return extractor


def values_of(extractor: ImageHf, pictures: np.ndarray) -> np.ndarray:
    found = extractor.extract([ImageClip(image=picture) for picture in pictures])
    for value in found:
        check_value(extractor.schema, value)
    return np.stack([value.array for value in found])


def film(num_frames: int, seed: int = 0) -> VideoClip:
    times_ns = np.arange(num_frames, dtype=np.int64) * 40_000_000 + 7
    return VideoClip(frames=random_pictures(num_frames, seed=seed), times_ns=times_ns)


def straight(name: str, pictures: np.ndarray) -> np.ndarray:
    """Return what transformers calls the pooled output."""
    import torch

    network, pixels = make_model(name), pixels_of(pictures)
    with torch.inference_mode():
        if name in ("clip", "siglip"):
            return network.get_image_features(pixel_values=pixels).pooler_output.numpy()
        found = network(pixel_values=pixels)
        pooled = found.last_hidden_state.mean(1) if name == "videomae" else found.pooler_output
    return pooled.flatten(1).numpy()


@pytest.mark.parametrize("name", STILLS)
def test_the_pooled_output_is_that_of_a_straight_call(models: Mapping[str, Path], name: str) -> None:
    pictures = random_pictures(5)
    extractor = still(models[name], batch=2)
    assert isinstance(extractor, Extractor)
    np.testing.assert_allclose(values_of(extractor, pictures), straight(name, pictures), atol=1e-5, rtol=1e-5)


def test_a_model_of_clips_reads_its_frames_together(models: Mapping[str, Path]) -> None:
    extractor, clip = video(models["videomae"]), film(4)
    assert extractor.needs.num_frames == 4
    (value,) = extractor.extract([clip])
    np.testing.assert_allclose(value.array, straight("videomae", clip.frames[None]), atol=1e-5, rtol=1e-5)
    assert value.times_ns is not None and value.times_ns.tolist() == [clip.times_ns[1]]
    long, short = extractor.extract([film(10), film(3)])
    assert long.array.shape == (3, 32) and short.array.shape == (1, 32)
    pieces = np.stack([film(10).frames[start : start + 4] for start in (0, 4, 6)])
    np.testing.assert_allclose(long.array, straight("videomae", pieces), atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="video-hf"):
        still(models["videomae"])


@pytest.mark.parametrize("name", ["clip", "vit", "resnet"])
def test_a_row_per_frame_has_the_time_of_the_frame(models: Mapping[str, Path], name: str) -> None:
    extractor, clips = video(models[name], num_frames=6), [film(6), film(2, 1), film(5, 2)]
    found = extractor.extract(clips)
    for clip, value in zip(clips, found, strict=True):
        check_value(extractor.schema, value)
        np.testing.assert_array_equal(value.times_ns, clip.times_ns)
        np.testing.assert_allclose(value.array, straight(name, clip.frames), atol=1e-5, rtol=1e-5)
    means = video(models[name], num_frames=6, time="mean")
    assert means.schema.kind is FeatureKind.VECTOR
    for value, mean in zip(found, means.extract(clips), strict=True):
        check_value(means.schema, mean)
        np.testing.assert_allclose(mean.array, value.array.mean(0), atol=1e-5)


@pytest.mark.parametrize(("name", "tokens"), [("vit", 17), ("clip", 17), ("siglip", 16), ("resnet", 1)])
def test_tokens_of_the_last_layer_and_of_others(models: Mapping[str, Path], name: str, tokens: int) -> None:
    import torch

    pictures = random_pictures(2)
    network = make_model(name)
    tower = getattr(network, "vision_model", network)
    with torch.inference_mode():
        found = tower(pixel_values=pixels_of(pictures), output_hidden_states=True)
    last, first = (
        layer if layer.ndim == 3 else layer.flatten(2).transpose(1, 2)
        for layer in (found.last_hidden_state, found.hidden_states[1])
    )
    extractor = still(models[name], pool="none")
    assert extractor.schema.kind is FeatureKind.SEQUENCE
    values = values_of(extractor, pictures)
    assert values.shape[1] == tokens
    np.testing.assert_allclose(values, last.numpy(), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(
        values_of(still(models[name], pool="mean", layer=1), pictures), first.mean(1).numpy(), atol=1e-5, rtol=1e-5
    )
    if name in ("vit", "clip"):
        classes = values_of(still(models[name], pool="cls"), pictures)
        np.testing.assert_allclose(classes, last[:, 0].numpy(), atol=1e-5, rtol=1e-5)


def test_all_tokens_of_all_frames_keep_the_time_of_their_frame(models: Mapping[str, Path]) -> None:
    extractor, clip = video(models["vit"], pool="none", num_frames=3), film(3)
    (value,) = extractor.extract([clip])
    check_value(extractor.schema, value)
    np.testing.assert_array_equal(value.times_ns, np.repeat(clip.times_ns, 17))
    together = video(models["videomae"], pool="none")
    (value,) = together.extract([film(4)])
    check_value(together.schema, value)
    assert value.array.shape == (2 * 16, 32)


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_a_value_does_not_depend_on_the_batch(models: Mapping[str, Path], name: str) -> None:
    pictures = random_pictures(9)
    alone = np.concatenate([values_of(still(models[name], batch=1), picture[None]) for picture in pictures])
    for batch in (2, 4, "auto"):
        together = values_of(still(models[name], batch=batch), pictures)
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", STILLS)
def test_half_the_bits_point_the_same_way(models: Mapping[str, Path], name: str) -> None:
    pictures = random_pictures(6)
    whole, half = (values_of(still(models[name], dtype=dtype), pictures) for dtype in ("float32", "bfloat16"))
    cosines = (whole * half).sum(1) / np.linalg.norm(whole, axis=1) / np.linalg.norm(half, axis=1)
    assert half.dtype == np.float32 and cosines.min() >= 0.999


def test_half_precision_can_be_stored(models: Mapping[str, Path]) -> None:
    extractor = still(models["vit"], values="float16")
    assert extractor.schema.dtype == "float16"
    assert values_of(extractor, random_pictures(2)).dtype == np.float16


def test_the_fingerprint_is_of_weights_and_dtype_not_of_place_or_batch(
    models: Mapping[str, Path], tmp_path: Path
) -> None:
    def mark(folder: Path, **params: Any) -> str:
        return fingerprint(ImageHf(ImageHfParams(**{"model": str(folder), "dtype": "float32", **params})))

    same = save_model(tmp_path / "elsewhere", "vit")
    other = save_model(tmp_path / "other", "vit", seed=1)
    base = mark(models["vit"])
    assert base == mark(same) == mark(same, batch=4, offline=False)
    assert len({base, mark(other), mark(same, dtype="bfloat16"), mark(same, pool="cls"), mark(same, layer=-1)}) == 5
    assert mark(same, values="float16") != base
    (same / "preprocessor_config.json").write_text(json.dumps({"size": 32, "image_mean": [0, 0, 0]}))
    assert mark(same) != base


def test_auto_is_decided_before_the_fingerprint(models: Mapping[str, Path]) -> None:
    extractor = ImageHf(ImageHfParams(model=str(models["vit"])))
    decided = extractor.params.dtype
    assert decided in ("float32", "bfloat16")
    again = ImageHf(ImageHfParams(model=str(models["vit"]), dtype=decided))
    assert fingerprint(extractor) == fingerprint(again)
    assert decided in extractor.schema.description


def test_what_was_brought_to_the_device_before_gives_the_same(models: Mapping[str, Path]) -> None:
    for extractor in (video(models["vit"], num_frames=4, batch=3), video(models["videomae"])):
        clips = [film(4), film(2, 1), film(4, 2)]
        staged = extractor.stage(clips)
        for one, other in zip(extractor.extract_staged(staged), extractor.extract(clips), strict=True):
            np.testing.assert_array_equal(one.array, other.array)
            np.testing.assert_array_equal(one.times_ns, other.times_ns)


def test_pictures_count_as_units(models: Mapping[str, Path]) -> None:
    extractor = video(models["vit"], num_frames=3, batch=2)
    extractor.extract([film(3), film(3)])
    assert (extractor.units.used, extractor.units.padded) == (6, 0)


def test_faults_of_the_config_say_the_way_out(models: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 layers"):
        still(models["vit"], layer=9, pool="mean")
    with pytest.raises(ConfigError, match='pool = "mean"'):
        still(models["vit"], layer=1)
    with pytest.raises(ConfigError, match="no class token"):
        still(models["siglip"], pool="cls")
    with pytest.raises(ConfigError, match='"mean" is over vectors'):
        video(models["vit"], pool="none", time="mean")
    with pytest.raises(ConfigError, match="float16"):
        still(models["vit"], dtype="float16")
    bare = tmp_path / "bare"
    make_model("vit").save_pretrained(bare)
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json"):
        still(bare)


def test_older_configs_leave_out_what_is_as_in_the_class(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "siglip", "siglip")
    short = {"model_type": "siglip", "vision_config": {"model_type": "siglip_vision_model"}}
    (folder / "config.json").write_text(json.dumps(short))
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    extractor = ImageHf(ImageHfParams(model=str(folder)))
    assert (extractor.schema.dim, extractor.needs.width_px) == (768, 224)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 192}},
            (192, 224),
        ),
        ({"size": {"shortest_edge": 256}, "do_center_crop": False, "crop_size": 224}, (256, 256)),
        ({"size": 48}, (48, 48)),
        ({"do_resize": False}, (32, 32)),
    ],
)
def test_the_size_is_that_of_the_models_own_processor(
    tmp_path: Path, settings: dict[str, Any], size: tuple[int, int]
) -> None:
    folder = save_model(tmp_path / "vit", "vit", settings=settings)
    needs = ImageHf(ImageHfParams(model=str(folder))).needs
    assert (needs.width_px, needs.height_px) == size


def test_what_gives_no_value_twice_or_reads_no_such_pictures_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "vit", "vit")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit_mae"}))
    with pytest.raises(ConfigError, match="hides patches at random"):
        still(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text('{"size": 48}')
    with pytest.raises(ConfigError, match="cannot read pictures of 48 x 48"):
        still(folder)
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1}')
    with pytest.raises(ConfigError, match="not of a model that reads pictures"):
        still(folder)


def test_weights_that_are_not_there_are_not_drawn_at_random(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, image_size=32)
    folder = save_model(tmp_path / "vit", "vit")
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"pooler.*Set pool"):
        still(folder)
    assert still(folder, pool="cls").schema.dim == 32


def test_the_picture_of_another_size_is_the_callers_mistake(models: Mapping[str, Path]) -> None:
    with pytest.raises(ValueError, match="image-hf reads pictures"):
        still(models["vit"]).extract([ImageClip(image=np.zeros((8, 8, 3), np.uint8))])
