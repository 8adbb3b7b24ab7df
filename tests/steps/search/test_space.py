"""Which features a word means, and that a view is what the network itself makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmpipe.config.retrieving import sides_of
from mmpipe.errors import ConfigError
from mmpipe.registry.versions import Version
from mmpipe.steps.search.space import Space
from mmpipe.types import Batch, FeatureKind, Modality, ModalityBatch

SOUND, VOICE, LIPS, WORDS = "audio-mfcc@1", "audio-voice@1", "video-lips@1", "text-words@1"
MODALITIES = {SOUND: Modality.AUDIO, VOICE: Modality.AUDIO, LIPS: Modality.VIDEO, WORDS: Modality.TEXT}


def space_of(query: tuple[str, ...], features: tuple[str, ...] = tuple(MODALITIES), model: Any = None) -> Space:
    version = Version(
        name="find", number=1, digest="0" * 64, status="candidate", recipe_digest="", path=Path("nowhere")
    )
    return Space(
        version=version,
        model=model,
        sides=sides_of(features, query),
        modalities={feature: MODALITIES[feature] for feature in features},
        fingerprints={},
        corpus="talk",
        tainted="",
    )


def test_a_modality_means_its_features_and_several_are_joined() -> None:
    space = space_of((WORDS,))
    assert space.view("text").features == (WORDS,) and space.view("text").column == 0
    assert space.view("video").features == (LIPS,) and space.view("video").column == 1
    assert space.view("audio").features == (SOUND, VOICE)
    assert space.view("audio+video") == space.side(1) and space.side(1).name == f"{SOUND}+{VOICE}+{LIPS}"
    assert space.view("audio-voice") == space.view(VOICE) and space.view(VOICE).features == (VOICE,)
    with pytest.raises(ConfigError, match=r"knows nothing of 'image'.*audio, text, video"):
        space.view("audio+image")


def test_what_is_on_both_sides_is_the_one_that_faces_the_other_or_must_be_named() -> None:
    space = space_of((VOICE,))
    assert space.view("audio", against=space.side(0)).features == (SOUND,)
    assert space.view("audio", against=space.side(1)).features == (VOICE,)
    with pytest.raises(ConfigError, match="on both sides"):  # text faces nothing there, and is not left out unsaid
        space.view("audio+text", against=space.side(1))
    assert space.view("audio+text", against=space.side(0)).features == (SOUND, WORDS)
    for word in ("audio", "audio+text"):
        with pytest.raises(ConfigError, match=r"on both sides: .*Name a feature"):
            space.view(word)


class Held:
    """Clips of made-up numbers; every third lacks its lips."""

    def __init__(self, dims: dict[str, int], count: int) -> None:
        random = np.random.default_rng(4)
        self.values = {name: random.normal(size=(count, 3, dim)).astype(np.float32) for name, dim in dims.items()}
        self.has = {name: np.ones((count, 3), bool) for name in dims}
        self.has[LIPS][::3] = False

    def gather(self, rows: np.ndarray) -> Batch:
        features = {
            name: ModalityBatch(x_BTD=values[rows], mask_BT=self.has[name][rows])
            for name, values in self.values.items()
        }
        return Batch(keys=tuple(map(str, rows)), features=features, labels_B=np.full(len(rows), -1))


def test_a_view_is_the_side_or_the_feature_alone_as_the_network_has_it() -> None:
    from mmpipe.config import EncoderConfig, Goal
    from mmpipe.fusion.model import FusionModel
    from mmpipe.fusion.spec import InputSpec, ModelSpec
    from mmpipe.train.weights import infer

    dims = {SOUND: 5, LIPS: 4, WORDS: 6}
    model = FusionModel(
        ModelSpec(
            fusion="concat",
            inputs=tuple(InputSpec(feature=name, kind=FeatureKind.SEQUENCE, dim=dim) for name, dim in dims.items()),
            classes=(),
            goal=Goal.RETRIEVE,
            goal_options={"query": ("text-words",), "dim": 8},
            encoder=EncoderConfig(components=4, width=6, segments=2),
        )
    ).eval()
    held, rows = Held(dims, 150), np.arange(150)
    space = space_of((WORDS,), (SOUND, LIPS, WORDS), model)
    answers_N = infer(model, held, rows).answers_N
    np.testing.assert_array_equal(space.embed(held, rows, space.side(1)), answers_N[:, 1])
    np.testing.assert_allclose(space.embed(held, rows, space.side(0)), answers_N[:, 0], atol=1e-6)
    lips_ND = space.embed(held, rows, space.view("video"))
    np.testing.assert_allclose(np.linalg.norm(lips_ND, axis=1), held.has[LIPS][:, 0].astype(float), atol=1e-6)
    assert space.dim == 8 and space.dims() == dims
    assert space.embed(held, rows[:0], space.side(1)).shape == (0, 8)
