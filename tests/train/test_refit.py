"""Training anew with the validation clips, for as long as they had chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_loop import CONFIG, digest, having
from toy_clips import AUDIO, IMAGE, ToySource, spec_of

from mmpipe.config import TrainConfig, parse_config
from mmpipe.errors import ConfigError
from mmpipe.train.loop import train_network

TRAIN, VAL = np.arange(50), np.arange(50, 70)
EVERY = np.arange(70)


def trained(fusion: str, config, train=TRAIN, val=VAL, **more):
    source = ToySource()
    spec = spec_of(fusion, dropout=config.dropout)
    return train_network(spec, source, source.labels_N, train, val, config, seed=4, **more)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("fusion", ["concat", "reliability"])
def test_it_is_a_training_on_all_clips_that_stops_where_validation_said(fusion):
    config = having(CONFIG, epochs=14, patience_epochs=4)
    plain, again = trained(fusion, config), trained(fusion, having(config, refit=True))
    assert digest(plain) == digest(type(again)(**{**vars_of(again), "model": again.chooser})), "the chooser is the same"
    assert plain.chooser is plain.model and again.best_epoch == plain.best_epoch
    if fusion == "concat":
        whole = trained(fusion, having(config, epochs=plain.best_epoch), train=EVERY, val=EVERY[:0])
        assert digest(again) == digest(whole)
    else:
        mixing = plain.model.fusion.mixing
        assert mixing and all(
            torch.equal(getattr(again.model.fusion, name), getattr(plain.model.fusion, name)) for name in mixing
        ), "weights of modalities are fitted on clips that were not learnt"


def vars_of(found) -> dict:
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def test_each_expert_stops_at_its_own_epoch():
    config = having(CONFIG, epochs=12, patience_epochs=12)
    plain, again = trained("reliability", config), trained("reliability", having(config, refit=True))
    best = {}
    for name in (AUDIO.feature, IMAGE.feature):
        losses = [record.unimodal_val_loss[name] for record in plain.history]
        best[name] = losses.index(min(losses)) + 1
    stopped = having(config, epochs=max(best.values()))
    whole = trained("reliability", stopped, train=EVERY, val=EVERY[:0])
    last = max(best, key=best.get)
    for (name, value), (_, other) in zip(
        again.model.encoders[last].named_parameters(), whole.model.encoders[last].named_parameters(), strict=True
    ):
        torch.testing.assert_close(value, other, msg=name)


@pytest.mark.parametrize("at", [2, 9])
def test_killed_it_goes_on_to_the_same_bytes(tmp_path, at):
    config = having(CONFIG, epochs=7, patience_epochs=7, checkpoint_every_epochs=1, refit=True)
    seen = 0

    def stop(record) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            raise Stopped

    undisturbed = trained("concat", config)
    assert undisturbed.best_epoch + 7 > at, "the second kill must be in the second training"
    with pytest.raises(Stopped):
        trained("concat", config, checkpoint_dir=tmp_path, on_epoch=stop)
    assert digest(trained("concat", config, checkpoint_dir=tmp_path)) == digest(undisturbed)


def test_without_validation_clips_there_is_nothing_to_refit():
    config = having(CONFIG, epochs=3, refit=True)
    assert digest(trained("concat", config, val=VAL[:0])) == digest(
        trained("concat", having(config, refit=False), val=VAL[:0])
    )


def test_what_does_not_go_with_it_is_refused():
    with pytest.raises(ValueError, match="give refit, or impute"):
        TrainConfig(refit=True, impute="ridge")
    model = {"corpus": "c", "target": "t", "inputs": ["audio-logmel"], "train": {"refit": True}}
    table = {"store": "s", "corpora": {"c": {"root": "r", "features": ["audio-logmel"]}}, "models": {"m": model}}
    assert parse_config(table).models["m"].train.refit
    with pytest.raises(ConfigError, match="give it, or finetune"):
        parse_config({**table, "models": {"m": {**model, "finetune": {"begin_from": "release:m@1"}}}})
