from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_loop import TEST, TRAIN, train
from toy_clips import AUDIO, IMAGE, ToySource

from mmpipe.config import TrainConfig
from mmpipe.errors import ConfigError, StoreError
from mmpipe.fusion.registry import fusion_names
from mmpipe.train.weights import infer, load_model, predict, save_model

NAMES = [name for name in fusion_names() if not name.startswith("test_")]
QUICK = TrainConfig(epochs=2, batch_clips=16)


@pytest.mark.parametrize("fusion", NAMES)
def test_saved_and_loaded_says_the_same(fusion, tmp_path):
    source, model = ToySource(), train(fusion, config=QUICK).model
    save_model(model, tmp_path / "one")
    save_model(load_model(tmp_path / "one"), tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["config.json", "model.safetensors"]
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    loaded = load_model(tmp_path / "two")
    assert np.array_equal(predict(loaded, source, TEST), predict(model, source, TEST))


@pytest.mark.parametrize("fusion", NAMES)
def test_answers_do_not_depend_on_the_batch(fusion):
    source, model = ToySource(), train(fusion, config=QUICK).model
    whole = infer(model, source, TRAIN)
    assert whole.answers_N.dtype == whole.z_ND.dtype == np.float32
    assert whole.answers_N.shape == (60, 3) and whole.z_ND.shape == (60, model.fusion.z_dim)
    np.testing.assert_allclose(whole.answers_N.sum(1), 1, atol=1e-6)
    for batch_clips in (1, 7):
        part = infer(model, source, TRAIN, batch_clips=batch_clips)
        np.testing.assert_allclose(part.answers_N, whole.answers_N, rtol=0, atol=1e-6)
        np.testing.assert_allclose(part.z_ND, whole.z_ND, rtol=0, atol=2e-6)


def test_hidden_features_are_missing_features():
    source, model = ToySource(), train("late_weighted").model
    shown = infer(model, source, TEST, hidden=(IMAGE.feature,))
    has_audio_N = TEST % 10 != 0
    expected_NK = shown.per_modality_NK[AUDIO.feature]
    assert (shown.weights_N[IMAGE.feature][has_audio_N] == 0).all()
    assert np.array_equal(shown.answers_N[has_audio_N].argmax(1), expected_NK[has_audio_N].argmax(1))
    with pytest.raises(ConfigError, match="cannot hide"):
        infer(model, source, TEST, hidden=("other",))


def test_the_levels_of_a_hierarchy_are_given_to_who_asks_and_make_up_the_joint_one():
    source, model = ToySource(), train("hierarchical", config=QUICK).model
    asked = infer(model, source, TRAIN, levels=True)
    assert infer(model, source, TRAIN).levels_N == {}
    shapes = {name: found.shape[1:] for name, found in asked.levels_N.items()}
    width = model.spec.encoder.width
    assert shapes == {
        f"segment {AUDIO.feature}": (2, width),
        f"segment {IMAGE.feature}": (1, width),
        f"modality {AUDIO.feature}": (width,),
        f"modality {IMAGE.feature}": (width,),
    }
    parts = [asked.weights_N[name][:, None] * asked.levels_N[f"modality {name}"] for name in model.spec.features]
    np.testing.assert_allclose(sum(parts), asked.z_ND, rtol=0, atol=1e-5)
    assert (asked.levels_N[f"modality {AUDIO.feature}"][TRAIN % 10 == 0] == 0).all()
    assert infer(train("concat", config=QUICK).model, source, TRAIN, levels=True).levels_N == {}


def test_no_rows_give_no_answers():
    assert predict(train("concat").model, ToySource(), np.array([], np.int64)).shape == (0, 3)


def test_predicting_leaves_the_mode_and_the_random_state_alone(tmp_path):
    model = train("concat").model.train()
    torch.manual_seed(4)
    before = torch.get_rng_state()
    predict(model, ToySource(), TEST)
    save_model(model, tmp_path)
    load_model(tmp_path)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_damaged_folders_say_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json is missing"):
        load_model(tmp_path)
    save_model(train("concat").model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "a", "1": "b", "2": "c"}
    config["spec"]["encoder"]["width"] = 32
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(StoreError, match=r"does not fit config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="does not describe a model of type 'mmpipe-fusion'"):
        load_model(tmp_path)
