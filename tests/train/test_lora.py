"""Training with adapters: they alone learn of what they stand beside, and a plain network comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_loop import CONFIG, digest, having, train
from toy_clips import AUDIO, IMAGE, spec_of

from mmpipe.config import BackboneConfig, EncoderConfig, FinetuneConfig, LoraConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.train.begin import Begun, Finetuning, Start
from mmpipe.train.freeze import check_freezing, plan_schedule
from mmpipe.train.loop import train_network
from mmpipe.types import Batch, FeatureKind, ModalityBatch

SOUND = f"encoders.{AUDIO.feature.partition('@')[0]}"
SHORT = having(CONFIG, epochs=3, patience_epochs=50, checkpoint_every_steps=1)
LORA = FinetuneConfig(lora=LoraConfig(rank=2, alpha=4, dropout=0.1, groups=(SOUND, "fusion")))


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def taught() -> FusionModel:
    return train("concat", config=having(SHORT, epochs=2)).model


@pytest.fixture(scope="module")
def start(taught) -> Start:
    features = frozenset({AUDIO.feature, IMAGE.feature})
    return Start(spec=taught.spec, tensors=taught.state_dict(), sha256="0" * 64, features=features)


def test_only_adapters_and_heads_move(taught, start):
    made = train("concat", config=SHORT, finetuning=Finetuning(config=LORA, start=start)).model
    moved = {n for n, value in taught.state_dict().items() if not torch.equal(value, made.state_dict()[n])}
    assert set(made.state_dict()) == set(taught.state_dict()), "plain weights, whatever they were trained with"
    matrices = {f"encoders.{AUDIO.feature}.layers.0.weight", "fusion.mix.weight"}
    heads = {name for name in taught.state_dict() if name.startswith(("head", "unimodal_heads"))}
    assert moved == matrices | heads
    for name in matrices:
        delta = made.state_dict()[name] - taught.state_dict()[name]
        assert torch.linalg.matrix_rank(delta, atol=1e-5, rtol=0.0) <= 2, name


def test_what_is_not_taken_over_learns_whole(start):
    """Random weights that stay random would say nothing."""
    with torch.device("meta"):
        model = FusionModel(start.spec)
    names = [name for name, _ in model.named_parameters()]
    fresh = plan_schedule(model, LORA, Begun(), frozenset()).learning(1)
    assert {name for name in names if name.startswith(f"encoders.{IMAGE.feature}")} <= fresh
    assert not [name for name in fresh if name.startswith(("fusion", f"encoders.{AUDIO.feature}"))]
    begun = Begun(taken={name: name for name in names})
    assert {n.split(".")[0] for n in plan_schedule(model, LORA, begun, frozenset()).learning(1)} == {
        "head",
        "unimodal_heads",
    }
    thawed = FinetuneConfig(lora=LORA.lora, unfreeze={f"encoders.{IMAGE.feature.partition('@')[0]}": 2})
    assert not [
        n for n in plan_schedule(model, thawed, begun, frozenset()).learning(1) if IMAGE.feature in n and n[0] == "e"
    ]
    assert [
        n for n in plan_schedule(model, thawed, begun, frozenset()).learning(2) if IMAGE.feature in n and n[0] == "e"
    ]


@pytest.mark.parametrize("place", [(1, 2), (2, 1), (3, 3)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(start, place, tmp_path):
    def stop(epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == place:
            raise Stopped

    finetuning = Finetuning(config=LORA, start=start)
    with pytest.raises(Stopped):
        train("concat", config=SHORT, finetuning=finetuning, checkpoint_dir=tmp_path, on_step=stop)
    resumed = train("concat", config=SHORT, finetuning=finetuning, checkpoint_dir=tmp_path)
    whole = train("concat", config=SHORT, finetuning=finetuning)
    assert (digest(resumed), resumed.history) == (digest(whole), whole.history)


class Words:
    """Clips of six ids each, which tell the class."""

    def __init__(self, num_clips: int = 60) -> None:
        generator = np.random.default_rng(0)
        self.labels_N = generator.integers(0, 2, num_clips)
        self.ids_N6 = generator.integers(0, 20, (num_clips, 6)) + 20 * self.labels_N[:, None]

    def gather(self, rows: np.ndarray) -> Batch:
        x_BTD = self.ids_N6[rows][:, :, None].astype(np.float32)
        batch = ModalityBatch(x_BTD=x_BTD, mask_BT=np.ones(x_BTD.shape[:2], bool))
        keys = tuple(f"clip{row:03d}" for row in rows)
        return Batch(keys=keys, features={"text-tokens@1": batch}, labels_B=self.labels_N[rows])


def test_a_bert_learns_by_adapters_alone_and_what_follows_it_whole():
    bert = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    backbone = BackboneConfig(kind="bert", architecture=bert | {"intermediate_size": 32})
    spec = ModelSpec(
        fusion="unimodal",
        inputs=(InputSpec(feature="text-tokens@1", kind=FeatureKind.SEQUENCE, dim=1),),
        classes=("a", "b"),
        encoder=EncoderConfig(width=8),
        encoders={"text-tokens@1": EncoderConfig(backbone=backbone, kind="gru", steps=6, width=8)},
        dropout=SHORT.dropout,
    )
    source, rows = Words(), np.arange(60)
    config = FinetuneConfig(lora=LoraConfig(rank=4, alpha=8, groups=("encoders.text-tokens.backbone",)))
    quick = having(SHORT, epochs=6, learning_rate=0.02)
    arguments = (spec, source, source.labels_N, rows[:45], rows[45:])
    still = having(quick, epochs=1, learning_rate=1e-60, weight_decay=0.0, optimizer="sgd")
    before = train_network(*arguments, still, 0).model.state_dict()
    trained = train_network(*arguments, quick, 0, finetuning=Finetuning(config=config))
    after = trained.model.state_dict()
    assert set(before) == set(after)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    part = "encoders.text-tokens@1.backbone.network.encoder.layer"
    adapted = {name for name in moved if ".backbone." in name}
    assert len(adapted) == 2 * 6 and all(name.startswith(part) and name.endswith("weight") for name in adapted)
    assert moved - adapted == {name for name in before if name.startswith(("encoders.text-tokens@1.encoder", "head"))}
    assert trained.history[-1].val_loss < trained.history[0].val_loss


def test_a_group_without_a_linear_layer_is_refused_before_training(start):
    wrong = FinetuneConfig(lora=LoraConfig(groups=("fusion",)))
    with torch.device("meta"):
        model = FusionModel(spec_of("early_weighted"))
    with pytest.raises(ConfigError, match=r"lora\.groups names 'fusion', which has no linear layer"):
        check_freezing(model, wrong, Begun())
    with torch.device("meta"):
        check_freezing(FusionModel(start.spec), LORA, Begun())
