"""What is frozen has no gradient and does not move; what is thawed learns from its epoch, at its own rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import CONFIG, digest, having, train
from toy_clips import AUDIO, IMAGE, ToySource, spec_of

from mmpipe.config import FinetuneConfig, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.groups import parameter_groups
from mmpipe.fusion.model import FusionModel
from mmpipe.train.begin import Begun, Finetuning
from mmpipe.train.freeze import Freezer, check_freezing, plan_schedule
from mmpipe.train.optimizer import make_optimizer, optimizer_tensors
from mmpipe.train.schedule import set_rate

SHORT = having(CONFIG, epochs=4, patience_epochs=50)
WORDS = AUDIO.feature.partition("@")[0], IMAGE.feature.partition("@")[0]
SOUND, PICTURE = (f"encoders.{name}" for name in WORDS)


class Stopped(Exception):
    pass


def states_by_epoch(config: FinetuneConfig, training=SHORT, fusion="concat", **more) -> list[dict[str, torch.Tensor]]:
    """Return the network as it was begun, and after each epoch, by training ever longer with nothing left to choose."""
    found = []
    for epochs in range(training.epochs + 1):
        if not epochs:
            still = having(training, epochs=1, learning_rate=1e-60, weight_decay=0.0, optimizer="sgd")
            trained = train(fusion, config=still, val=np.array([], np.int64), **more)
        else:
            cut = having(training, epochs=epochs)
            finetuning = Finetuning(config=config)
            trained = train(fusion, config=cut, val=np.array([], np.int64), finetuning=finetuning, **more)
        found.append(trained.model.state_dict())
    return found


def changed(before, after) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_frozen_groups_are_equal_to_the_byte_and_the_rest_learns():
    before, *_, after = states_by_epoch(FinetuneConfig(freeze=(SOUND, "fusion")))
    moved = changed(before, after)
    assert not [name for name in moved if name.startswith((f"encoders.{AUDIO.feature}", "fusion", "preprocess"))]
    rest = [name for name in before if name.startswith((f"encoders.{IMAGE.feature}", "head", "unimodal_heads"))]
    assert set(rest) == moved


def test_a_group_learns_from_its_epoch_on():
    states = states_by_epoch(FinetuneConfig(freeze=("encoders",), unfreeze={SOUND: 3}))
    for epoch in (1, 2, 3, 4):
        moved = changed(states[epoch - 1], states[epoch])
        assert any(AUDIO.feature in name and name.startswith("encoders") for name in moved) is (epoch >= 3), epoch
        assert not any(IMAGE.feature in name and name.startswith("encoders") for name in moved)
        assert any(name.startswith("fusion") for name in moved)


def test_gradients_of_what_is_frozen_are_none():
    model = FusionModel(spec_of("concat"))
    freezer = Freezer(model, FinetuneConfig(freeze=("encoders",), unfreeze={PICTURE: 2}), Begun())
    source = ToySource()
    from mmpipe.train.data import tensors_of

    for epoch in (1, 2):
        model.zero_grad()
        freezer.apply(epoch)
        out = model(tensors_of(source.gather(np.arange(1, 9)), model.spec.features))
        (out.logits_BK.sum() + sum(logits_BK.sum() for logits_BK in out.per_modality.values())).backward()
        none = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        frozen = [AUDIO.feature] + [IMAGE.feature] * (epoch < 2)
        assert none == {
            n for n, _ in model.named_parameters() if n.startswith("encoders") and any(f in n for f in frozen)
        }


def test_the_narrowest_group_decides():
    model = FusionModel(spec_of("concat"))
    config = FinetuneConfig(freeze=("encoders", "head"), unfreeze={PICTURE: 1, "head": 5}, rates={"encoders": 0.5})
    schedule = plan_schedule(model, config, Begun(), frozenset())
    firsts = {name: schedule.first_epochs[name] for name in parameter_groups(model)}
    assert {epoch for name, epoch in firsts.items() if name.startswith(f"encoders.{AUDIO.feature}")} == {None}
    assert {epoch for name, epoch in firsts.items() if name.startswith(f"encoders.{IMAGE.feature}")} == {1}
    assert {epoch for name, epoch in firsts.items() if name.startswith("head")} == {5}
    assert {epoch for name, epoch in firsts.items() if name.startswith(("fusion", "unimodal"))} == {1}
    assert set(schedule.rates) == {name for name in firsts if name.startswith("encoders")}
    assert set(schedule.rates.values()) == {0.5}


def test_what_is_new_learns_whatever_is_frozen():
    """A new head with frozen random numbers would say nothing; a backbone has weights of its own."""
    model = FusionModel(spec_of("concat"))
    names = {name for name, _ in model.named_parameters()}
    begun = Begun(
        taken={name: name for name in names if not name.startswith("head")},
        new={name: "other classes" for name in names if name.startswith("head")},
    )
    config = FinetuneConfig(freeze=("encoders", "unimodal_heads", "fusion", "head"))
    learning = plan_schedule(model, config, begun, frozenset()).learning(1)
    assert learning == {"head.weight", "head.bias"}


def test_what_freezes_everything_is_refused_with_a_way_out():
    model = FusionModel(spec_of("unimodal"))
    config = FinetuneConfig(freeze=("encoders", "head"))
    with pytest.raises(ConfigError, match=r"of unimodal over \['audio-toy@1'\] nothing learns in epoch 1.*singles"):
        check_freezing(model, config, Begun())
    with pytest.raises(ConfigError, match="nothing learns in epoch 1"):
        check_freezing(model, FinetuneConfig(freeze=("encoders", "head"), unfreeze={"head": 2}), Begun())


def test_batch_norms_and_dropout_of_what_is_frozen_stay_as_they_predict():
    model = FusionModel(spec_of("concat", dropout=0.5))
    encoder = model.encoders[AUDIO.feature]
    encoder.layers.append(torch.nn.BatchNorm1d(1))  # over the one token that a pooled clip has
    freezer = Freezer(model, FinetuneConfig(freeze=(SOUND,), unfreeze={SOUND: 3}), Begun())
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    assert before
    for epoch in (1, 2, 3):
        model.train()
        freezer.apply(epoch)
        learns = epoch == 3
        assert {part.training for part in encoder.modules()} == {learns}
        assert all(part.training for part in model.encoders[IMAGE.feature].modules())
        assert model.fusion.training and model.training
        encoder(torch.randn(8, 1, 16), torch.ones(8, 1, dtype=torch.bool))
        same = all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())
        assert same is not learns


def test_recurrent_layers_that_are_frozen_still_pass_a_gradient_on():
    model = torch.nn.Module()
    model.gru, model.head = torch.nn.GRU(2, 2), torch.nn.Linear(2, 2)
    from mmpipe.train.freeze import _rest

    model.gru.requires_grad_(False)
    _rest(model)
    assert model.gru.training and model.head.training


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_rates_multiply_the_learning_rate_and_leave_the_decay_as_it_is(optimizer):
    model = FusionModel(spec_of("concat"))
    config = TrainConfig(optimizer=optimizer, weight_decay=0.3)
    rates = plan_schedule(model, FinetuneConfig(rates={SOUND: 0.1, "head": 3.0}), Begun(), frozenset()).rates
    made = make_optimizer(model, config, rates)
    set_rate(made, 0.02)
    by_parameter = {id(p): group for group in made.param_groups for p in group["params"]}
    assert len(by_parameter) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        share = 0.1 if name.startswith(f"encoders.{AUDIO.feature}") else 3.0 if name.startswith("head") else 1.0
        assert by_parameter[id(parameter)]["lr"] == pytest.approx(0.02 * share)
        assert by_parameter[id(parameter)]["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)
    assert made.param_groups[0]["lr"] == 0.02, "what is told is the rate of all others"


def test_a_slower_group_moves_as_much_less_by_plain_descent():
    one = having(SHORT, epochs=1, batch_clips=60, optimizer="sgd", momentum=0.0, weight_decay=0.0, dropout=0.0)
    before, quick = states_by_epoch(FinetuneConfig(), one)
    _, slow = states_by_epoch(FinetuneConfig(rates={SOUND: 0.25}), one)
    for name in before:
        share = 0.25 if name.startswith(f"encoders.{AUDIO.feature}") else 1.0
        torch.testing.assert_close(
            slow[name] - before[name], share * (quick[name] - before[name]), rtol=2e-3, atol=1e-7
        )


def test_an_empty_table_changes_no_byte():
    assert digest(train("concat", config=SHORT)) == digest(
        train("concat", config=SHORT, finetuning=Finetuning(config=FinetuneConfig()))
    )


def test_names_in_a_kept_state_are_those_of_before_where_no_rate_is_set():
    model = FusionModel(spec_of("concat"))
    decayed = [p for p in model.parameters() if p.ndim > 1] + [p for p in model.parameters() if p.ndim <= 1]
    made = make_optimizer(model, TrainConfig())
    assert [id(p) for group in made.param_groups for p in group["params"]] == [id(p) for p in decayed]
    for parameter in decayed:
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    assert {name.split(".")[1] for name in optimizer_tensors(made)} == {str(n) for n in range(len(decayed))}


@pytest.mark.parametrize("place", [(1, 2), (2, 1), (3, 1), (3, 3), (4, 2)])
def test_a_run_that_thaws_goes_on_to_the_same_bytes(place, tmp_path):
    config = having(SHORT, batch_clips=16, ema_decay=0.9, checkpoint_every_steps=1, optimizer="adamw")
    tuned = FinetuneConfig(freeze=("encoders", "fusion"), unfreeze={SOUND: 3}, rates={SOUND: 0.1, "head": 2.0})

    def stop(epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == place:
            raise Stopped

    def run(folder: Path | None = None, **more):
        finetuning = Finetuning(config=tuned)
        return train("early_weighted", config=config, checkpoint_dir=folder, finetuning=finetuning, **more)

    with pytest.raises(Stopped):
        run(tmp_path, on_step=stop)
    resumed, whole = run(tmp_path), run()
    assert (digest(resumed), resumed.history) == (digest(whole), whole.history)
    assert digest(run(tmp_path)) == digest(whole), "asked again, a finished run gives the same"


def test_a_frozen_fusion_keeps_its_shares_too():
    """The shares of modalities are fitted on validation clips in the end, but not of what is frozen."""
    frozen = train("early_weighted", config=SHORT, finetuning=Finetuning(config=FinetuneConfig(freeze=("fusion",))))
    assert torch.equal(frozen.model.fusion.scores_M, torch.zeros(2))
    assert not torch.equal(train("early_weighted", config=SHORT).model.fusion.scores_M, torch.zeros(2))
