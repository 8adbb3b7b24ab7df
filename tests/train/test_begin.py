"""A network that begins from another: what it takes over, what is new and why, and what is kept of the fitting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_loop import CONFIG, TRAIN, VAL, digest, having, train
from toy_clips import AUDIO, ENCODER, IMAGE, NOISE, ToySource, spec_of

from mmpipe.config import FinetuneConfig, Goal, Preprocessing
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import AlsoSpec
from mmpipe.train.begin import ANEW, Begun, Finetuning, Start, begin_network, plan_begin
from mmpipe.train.loop import train_network

SHORT = having(CONFIG, epochs=3, patience_epochs=50)
BOTH = frozenset({AUDIO.feature, IMAGE.feature})


@pytest.fixture(scope="module")
def taught():
    return train("concat", config=SHORT).model


def start_of(model: FusionModel, features=BOTH) -> Start:
    return Start(spec=model.spec, tensors=model.state_dict(), sha256="0" * 64, features=features)


def planned(into: FusionModel, start: Start, preprocessing=Preprocessing.KEPT) -> Begun:
    return plan_begin(into, start, preprocessing)


def tops(names) -> set[str]:
    return {".".join(name.split(".")[:2]) if "." in name else name for name in names}


def test_the_same_network_takes_over_every_tensor_and_says_the_same(taught):
    fresh = FusionModel(spec_of("concat"))
    begun = begin_network(fresh, Finetuning(config=FinetuneConfig(), start=start_of(taught)))
    assert not begun.new and set(begun.taken) == set(fresh.state_dict())
    assert begun.kept == BOTH
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in taught.state_dict().items())


def test_a_single_input_takes_the_head_that_it_had_beside_the_fusion(taught):
    single = FusionModel(spec_of("unimodal"))
    begun = begin_network(single, Finetuning(config=FinetuneConfig(), start=start_of(taught)))
    assert not begun.new
    head = taught.unimodal_heads[AUDIO.feature]
    assert torch.equal(single.head.weight, head.weight) and torch.equal(single.head.bias, head.bias)


def test_a_fused_network_takes_the_head_of_a_single_one_beside_its_fusion():
    single = train("unimodal", config=SHORT).model
    begun = planned(FusionModel(spec_of("concat")), start_of(single, frozenset({AUDIO.feature})))
    assert begun.taken[f"unimodal_heads.{AUDIO.feature}.weight"] == "head.weight"
    assert f"encoders.{AUDIO.feature}" in tops(begun.taken)
    assert begun.new["fusion.mix.weight"] == "the fusion there is unimodal"
    assert begun.new["head.weight"] == "the fusion there is unimodal"
    assert begun.new[f"encoders.{IMAGE.feature}.layers.0.weight"] == "a new input"


def test_new_classes_get_new_heads_and_new_inputs_new_encoders(taught):
    begun = planned(FusionModel(spec_of("concat", num_classes=4)), start_of(taught))
    assert tops(begun.new) == {"head.weight", "head.bias", *(f"unimodal_heads.{name}" for name in BOTH)}
    assert set(begun.new.values()) == {"other classes"}
    same_number = replace(taught.spec, classes=("x", "y", "z"))
    assert tops(planned(FusionModel(same_number), start_of(taught)).new) == tops(begun.new)
    wider = planned(FusionModel(spec_of("concat", inputs=(AUDIO, IMAGE, NOISE))), start_of(taught))
    said = {name: why for name, why in wider.new.items() if NOISE.feature in name}
    assert set(said.values()) == {"a new input"}
    assert wider.new["fusion.mix.weight"] == "[16, 32] there"
    assert f"encoders.{AUDIO.feature}" in tops(wider.taken)


def test_another_fusion_and_values_made_otherwise_are_not_taken_over(taught):
    begun = planned(FusionModel(spec_of("gmu")), start_of(taught))
    assert {"head.weight", "head.bias"} <= set(begun.new)
    assert all(why == "the fusion there is concat" for why in begun.new.values())
    assert tops(begun.taken) >= {f"unimodal_heads.{name}" for name in BOTH}
    otherwise = planned(FusionModel(spec_of("concat")), start_of(taught, frozenset({AUDIO.feature})))
    assert tops(otherwise.new) == {f"{part}.{IMAGE.feature}" for part in ("preprocess", "encoders", "unimodal_heads")}
    assert otherwise.kept == {AUDIO.feature}


def test_an_encoder_of_other_numbers_is_new_and_so_is_one_preprocessed_otherwise(taught):
    deeper = FusionModel(spec_of("concat", encoder=ENCODER.model_copy(update={"segments": 5})))
    begun = planned(deeper, start_of(taught))
    assert begun.kept == {IMAGE.feature}
    assert begun.new[f"encoders.{AUDIO.feature}.layers.0.weight"] == "its input is preprocessed otherwise"
    anew = planned(deeper, start_of(taught), Preprocessing.ANEW)
    assert anew.taken[f"encoders.{AUDIO.feature}.layers.0.weight"] == f"encoders.{AUDIO.feature}.layers.0.weight"
    assert not anew.kept and tops(anew.new) == {f"preprocess.{name}" for name in BOTH}
    assert anew.anew == set(anew.new) and set(anew.new.values()) == {ANEW}


@pytest.mark.parametrize("preprocessing", list(Preprocessing))
def test_training_keeps_the_fitted_preprocessing_or_fits_it_anew(taught, preprocessing):
    source = ToySource(seed=5)
    finetuning = Finetuning(config=FinetuneConfig(preprocessing=preprocessing), start=start_of(taught))
    made = train("concat", source, SHORT, finetuning=finetuning).model
    fresh = train("concat", source, SHORT).model
    for name, value in made.state_dict().items():
        if name.startswith("preprocess."):
            wanted = (taught if preprocessing is Preprocessing.KEPT else fresh).state_dict()[name]
            assert torch.equal(value, wanted), name


def test_it_begins_where_the_other_ended(taught):
    """One step of no size: what is validated is what was begun with."""
    source = ToySource()
    still = having(SHORT, epochs=1, learning_rate=1e-60, weight_decay=0.0, optimizer="sgd")
    begun = train("concat", source, still, finetuning=Finetuning(config=FinetuneConfig(), start=start_of(taught)))
    assert all(torch.equal(value, begun.model.state_dict()[name]) for name, value in taught.state_dict().items())
    assert digest(train("concat", source, still)) != digest(begun)


def test_where_it_begins_is_part_of_what_a_checkpoint_must_match(taught, tmp_path):
    config = FinetuneConfig()
    first = Finetuning(config=config, start=start_of(taught))
    arguments = (spec_of("concat"), ToySource(), ToySource().labels_N, TRAIN, VAL, SHORT, 0)
    train_network(*arguments, checkpoint_dir=tmp_path, finetuning=first)
    other = Finetuning(config=config, start=replace(first.start, sha256="1" * 64))
    for finetuning in (None, other, Finetuning(config=FinetuneConfig(freeze=("fusion",)), start=first.start)):
        with pytest.raises(Exception, match="is of another run"):
            train_network(*arguments, checkpoint_dir=tmp_path, finetuning=finetuning)
    assert np.isfinite(train_network(*arguments, checkpoint_dir=tmp_path, finetuning=first).val_loss)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("fusion", ["concat", "reliability"])
def test_a_network_that_no_epoch_betters_is_kept_as_it_began(fusion, tmp_path):
    good = train(fusion, config=having(SHORT, epochs=12)).model
    ruinous = having(SHORT, epochs=9, patience_epochs=3, learning_rate=10.0, optimizer="sgd", checkpoint_every_steps=1)
    finetuning = Finetuning(config=FinetuneConfig(), start=start_of(good), counts_start=True)

    def run(**more):
        return train(fusion, config=ruinous, finetuning=finetuning, **more)

    def stop(epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == (2, 2):
            raise Stopped

    kept = run()
    assert kept.best_epoch == 0 and len(kept.history) == 3, "patience is counted from where it began"
    assert digest(kept) == digest(train(fusion, config=having(SHORT, epochs=12)))
    with pytest.raises(Stopped):
        run(checkpoint_dir=tmp_path, on_step=stop)
    resumed = run(checkpoint_dir=tmp_path)
    assert (digest(resumed), resumed.best_epoch, resumed.history) == (digest(kept), 0, kept.history)
    worse = train(fusion, config=ruinous, finetuning=replace(finetuning, counts_start=False))
    assert worse.best_epoch > 0 and digest(worse) != digest(kept)


def test_a_better_epoch_takes_its_place(taught):
    finetuning = Finetuning(config=FinetuneConfig(), start=start_of(taught), counts_start=True)
    tuned = train("concat", config=having(SHORT, epochs=12), finetuning=finetuning)
    assert tuned.best_epoch > 0 and tuned.val_loss < train("concat", config=SHORT).val_loss


def test_without_validation_clips_where_it_began_does_not_count(taught):
    finetuning = Finetuning(config=FinetuneConfig(), start=start_of(taught), counts_start=True)
    tuned = train("concat", config=SHORT, val=np.array([], np.int64), finetuning=finetuning)
    assert tuned.best_epoch == len(tuned.history) == SHORT.epochs


def test_answers_beside_the_first_are_taken_over_where_they_are_the_same():
    also = {"size": AlsoSpec(goal=Goal.REGRESS, classes=("size",))}
    start = start_of(FusionModel(spec_of("concat", also=also)))
    same = planned(FusionModel(spec_of("concat", also=also)), start)
    assert not same.new and any(name.startswith("joint.") for name in same.taken)
    other = {"size": AlsoSpec(goal=Goal.REGRESS, classes=("mass",))}
    begun = planned(FusionModel(spec_of("concat", also=other)), start)
    assert set(begun.new.values()) == {"other answers beside it"}
    assert all(name.startswith("joint.") for name in begun.new)
