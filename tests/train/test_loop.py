from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toy_clips import AUDIO, IMAGE, NOISE, ToySource, spec_of

from mmpipe.config import TrainConfig
from mmpipe.errors import ConfigError, MmpipeError, StoreError
from mmpipe.fusion.registry import fusion_names
from mmpipe.train.data import pool_source
from mmpipe.train.deterministic import epoch_order
from mmpipe.train.loop import Trained, train_network
from mmpipe.train.weights import predict

NAMES = [name for name in fusion_names() if not name.startswith("test_")]
# One of each kind every day: a sum, a late mix, one with steps of its own, tokens, one input alone.
DAILY = ("early_weighted", "late_weighted", "early_concat", "transformer", "reliability", "unimodal")
EACH = [name if name in DAILY else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
TRAIN, VAL, TEST = np.arange(60), np.arange(60, 75), np.arange(75, 90)
CONFIG = TrainConfig(epochs=12, batch_clips=16, patience_epochs=4)
NONE = np.array([], np.int64)


def having(config=CONFIG, **changes) -> TrainConfig:
    """Return a config with some values changed, and checked."""
    return TrainConfig(**{**config.model_dump(), **changes})


def train(fusion="early_weighted", source=None, config=CONFIG, seed=0, labels_N=None, val=VAL, **more) -> Trained:
    source = source or ToySource()
    spec = spec_of(fusion, dropout=config.dropout, modality_dropout=config.modality_dropout, **more.pop("spec", {}))
    labels_N = source.labels_N if labels_N is None else labels_N
    return train_network(spec, source, labels_N, more.pop("train", TRAIN), val, config, seed, **more)


def digest(trained: Trained) -> str:
    hasher = hashlib.sha256()
    for name, value in sorted(trained.model.state_dict().items()):
        hasher.update(name.encode() + value.numpy().tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("fusion", EACH)
def test_every_fusion_learns_the_toy_clips(fusion):
    source = ToySource()
    trained = train(fusion, source, TrainConfig(epochs=40, batch_clips=16))
    probabilities_NK = predict(trained.model, source, TEST)
    assert (probabilities_NK.argmax(1) == source.labels_N[TEST]).mean() > 0.7
    assert trained.val_loss is not None and trained.val_loss < min(0.7, trained.history[0].val_loss)
    assert not trained.model.training


@pytest.mark.parametrize("fusion", EACH)
def test_shuffled_labels_stay_at_chance(fusion):
    source = ToySource(num_clips=240)
    labels_N = np.random.default_rng(1).permutation(source.labels_N)
    config = TrainConfig(epochs=8, batch_clips=32)
    rows = np.arange(240)
    trained = train(fusion, source, config, labels_N=labels_N, train=rows[:100], val=rows[100:120])
    hits = predict(trained.model, source, rows[120:]).argmax(1) == labels_N[120:]
    assert abs(hits.mean() - 1 / 3) < 0.14  # more than 3 standard deviations of 120 coins


@pytest.mark.parametrize("fusion", EACH)
def test_two_runs_are_equal_to_the_bit_and_touch_nothing_global(fusion):
    torch.manual_seed(1)
    config = CONFIG.model_copy(update={"modality_dropout": 0.3, "epochs": 4})
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads())
    first = train(fusion, config=config)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.get_num_threads() == before[2]
    assert not torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(99)
    second = train(fusion, config=config)
    assert digest(first) == digest(second)
    assert first.history == second.history
    assert digest(train(fusion, config=config, seed=1)) != digest(first)


def test_a_source_pooled_in_memory_gives_the_same_network():
    source = ToySource()
    pooled = pool_source(source, spec_of("concat"), np.arange(90))
    assert digest(train(source=pooled, labels_N=source.labels_N)) == digest(train(source=source))


def test_validation_clips_do_not_shape_a_step():
    source, other = ToySource(), ToySource()
    other.image[60:] += 3
    for row in range(60, 90):
        other.audio[row] = other.audio[row] * 2
    config = CONFIG.model_copy(update={"patience_epochs": 100})
    records = [train(source=each, config=config).history for each in (source, other)]
    assert [record.train_loss for record in records[0]] == [record.train_loss for record in records[1]]
    assert [record.val_loss for record in records[0]] != [record.val_loss for record in records[1]]


def test_the_best_epoch_is_kept_and_patience_ends_the_run():
    config = CONFIG.model_copy(update={"epochs": 200, "learning_rate": 0.05})
    trained = train("unimodal", config=config)
    losses = [record.val_loss for record in trained.history]
    assert trained.best_epoch == 1 + int(np.argmin(losses))
    assert len(losses) == trained.best_epoch + 4 < 200
    assert trained.val_loss == pytest.approx(min(losses), abs=1e-6)


def test_without_validation_the_last_epoch_is_kept():
    trained = train(val=NONE)
    assert trained.best_epoch == len(trained.history) == CONFIG.epochs
    assert trained.val_loss is None and trained.history[0].val_score is None


def test_the_records_are_seen_as_they_come():
    seen = []
    trained = train("concat", on_epoch=seen.append)
    assert tuple(seen) == trained.history
    assert seen[-1].epoch == len(seen)
    assert set(seen[0].unimodal_val_score) == set(seen[0].encoder_gradient_norms) == {AUDIO.feature, IMAGE.feature}
    assert seen[0].gradient_norm > 0


@pytest.mark.parametrize("fusion", ["early_weighted", "late_weighted"])
def test_a_modality_that_says_nothing_gets_little_weight(fusion):
    source = ToySource()
    trained = train(fusion, source, TrainConfig(epochs=30, batch_clips=16), spec={"inputs": (AUDIO, NOISE)})
    scores_M = trained.model.fusion.scores_M.softmax(0).tolist()
    assert scores_M[0] > 0.7


def test_sgd_and_label_smoothing_and_no_unimodal_losses_each_change_the_network():
    base = digest(train())
    for change in ({"optimizer": "sgd"}, {"label_smoothing": 0.2}, {"unimodal_weight": 0.0}, {"clip_norm": 0.01}):
        assert digest(train(config=TrainConfig(**{**CONFIG.model_dump(), **change}))) != base


def test_decay_leaves_biases_alone():
    strong = TrainConfig(**{**CONFIG.model_dump(), "weight_decay": 300.0, "epochs": 3})  # lr * decay = 0.9 a step
    model = train("unimodal", config=strong, val=NONE).model
    assert model.head.weight.abs().max() < 0.02
    assert model.head.bias.abs().max() > 0.02


def test_the_order_depends_on_seed_and_epoch_alone():
    assert sorted(epoch_order(10, 0, 1)) == list(range(10))
    assert epoch_order(10, 0, 1).tolist() == epoch_order(10, 0, 1).tolist()
    assert epoch_order(10, 0, 1).tolist() != epoch_order(10, 0, 2).tolist()
    assert epoch_order(10, 0, 1).tolist() != epoch_order(10, 1, 1).tolist()


def test_a_diverging_run_names_clips():
    config = TrainConfig(**{**CONFIG.model_dump(), "learning_rate": 1e37, "optimizer": "sgd", "clip_norm": 1e30})
    with pytest.raises(MmpipeError, match=r"not finite in epoch \d.*among them \['clip0.*lower learning_rate"):
        train("concat", config=config)


def test_features_that_are_not_finite_name_clips():
    source = ToySource()
    source.image[61] = np.inf
    with pytest.raises(StoreError, match="clip061"):
        train(source=source)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": NONE}, "no training clips"),
        ({"val": np.array([3, 60])}, "1 rows are in both"),
        ({"targets_N": np.full(90, -1)}, "75 of 75 rows have no label among"),
        ({"spec": {"dropout": 0.5}}, "dropout is 0.5 in the model and 0.1"),
    ],
)
def test_impossible_runs_are_refused(changes, said):
    spec = spec_of("concat", **changes.pop("spec", {}))
    source = ToySource()
    arguments = {"targets_N": source.labels_N, "train_rows": TRAIN, "val_rows": changes.pop("val", VAL)}
    arguments["train_rows"] = changes.pop("train", TRAIN)
    with pytest.raises(ConfigError, match=said):
        train_network(spec, source, **{**arguments, **changes}, config=CONFIG, seed=0)


def test_settings_that_came_later_change_no_digest_of_a_config_that_does_not_use_them():
    told = TrainConfig().model_dump(exclude=TrainConfig().left_out())
    assert " ".join(told) == (
        "optimizer learning_rate weight_decay momentum epochs batch_clips patience_epochs dropout modality_dropout "
        "label_smoothing clip_norm unimodal_weight checkpoint_every_epochs seeds"
    )
    used = TrainConfig(schedule="cosine", checkpoint_every_steps=5, tensorboard=True)
    assert set(used.model_dump(exclude=used.left_out())) - set(told) == {"schedule"}


def test_mixed_precision_and_cuda_are_refused_where_they_cannot_be():
    with pytest.raises(ValidationError, match='needs device = "cuda"'):
        TrainConfig(precision="bf16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused_with_a_way_out():
    with pytest.raises(ConfigError, match='Set device = "cpu"'):
        train(config=having(device="cuda"))


def test_fast_gives_the_same_network_but_for_rounding():
    config = having(epochs=3, optimizer="sgd", dropout=0.0)
    strict, fast = train(config=config), train(config=having(config, determinism="fast"))
    assert [record.train_loss for record in fast.history] == pytest.approx(
        [record.train_loss for record in strict.history], rel=1e-4
    )
    assert not torch.are_deterministic_algorithms_enabled()
