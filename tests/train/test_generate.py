"""Writing is learnt: toy clips whose sound and picture say the words of a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from toy_clips import AUDIO, IMAGE, ToySource

from mmpipe.config import EncoderConfig, Goal, TrainConfig
from mmpipe.config.generating import Unit
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.texts import TextAnswers
from mmpipe.fusion.decoding.vocabulary import Vocabulary
from mmpipe.fusion.files import load_model, save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.data import tensors_of
from mmpipe.train.goals.generate import GenerateObjective
from mmpipe.train.loop import Trained, train_network
from mmpipe.train.weights import predict

TEXTS = ("bin blue", "lay red at once", "set")  # by the class that sound and picture tell
TRAIN, VAL = np.arange(60), np.arange(60, 90)
CONFIG = TrainConfig(epochs=6, batch_clips=16, patience_epochs=6, dropout=0.0, checkpoint_every_epochs=1)


class Stop(Exception):
    """A kill."""


def texts_of(source: ToySource) -> list[str]:
    return [TEXTS[label] for label in source.labels_N]


def spec_of(vocabulary: Vocabulary, fusion: str = "concat", **options: object) -> ModelSpec:
    return ModelSpec(
        fusion=fusion,
        inputs=(AUDIO,) if fusion == "unimodal" else (AUDIO, IMAGE),
        classes=vocabulary.tokens,
        goal=Goal.GENERATE,
        goal_options=options,
        encoder=EncoderConfig(segments=3, components=16, width=16),
    )


def train(
    source: ToySource,
    config: TrainConfig = CONFIG,
    unit: Unit = Unit.WORD,
    fusion: str = "concat",
    rows: tuple[np.ndarray, np.ndarray] = (TRAIN, VAL),
    folder: Path | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    **options: object,
) -> tuple[Trained, Vocabulary]:
    vocabulary = Vocabulary.of(TEXTS, unit)
    targets_N = vocabulary.encode(texts_of(source))
    spec = spec_of(vocabulary, fusion, **{"max_tokens": targets_N.shape[1], **options})
    spec = replace(spec, dropout=config.dropout)
    trained = train_network(spec, source, targets_N, *rows, config, 0, checkpoint_dir=folder, on_epoch=on_epoch)
    return trained, vocabulary


def answers_of(trained: Trained, vocabulary: Vocabulary, source: ToySource, rows: np.ndarray) -> TextAnswers:
    written = vocabulary.decode(predict(trained.model, source, rows))
    return TextAnswers(
        keys=tuple(map(str, rows)),
        groups=tuple(map(str, rows)),
        texts_N=np.array(texts_of(source), dtype=object)[rows],
        written_N=np.array(written, dtype=object),
    )


@pytest.mark.parametrize("unit", Unit)
def test_a_few_clips_are_learnt_without_an_error(unit: Unit) -> None:
    source, rows = ToySource(), np.arange(1, 9)
    config = TrainConfig(epochs=120, batch_clips=8, dropout=0.0, weight_decay=0.0, learning_rate=1e-2)
    trained, vocabulary = train(source, config, unit, rows=(rows, rows[:0]), beam=3)
    answers = answers_of(trained, vocabulary, source, rows)
    assert answers.worth == 1
    assert set(answers.written_N) == set(answers.texts_N)


@pytest.mark.parametrize("fusion", ["concat", "transformer", "unimodal"])
def test_clips_that_were_not_seen_are_written_about(fusion: str) -> None:
    source = ToySource()
    trained, vocabulary = train(source, TrainConfig(epochs=25, batch_clips=16), fusion=fusion)
    answers = answers_of(trained, vocabulary, source, VAL)
    assert answers.worth > 0.6 > answers.constant().worth
    assert trained.history[-1].val_loss < trained.history[0].val_loss


def test_the_loss_is_the_cross_entropy_of_every_token_by_hand() -> None:
    vocabulary, source = Vocabulary.of(TEXTS, Unit.WORD), ToySource()
    torch.manual_seed(0)
    model = FusionModel(spec_of(vocabulary, max_tokens=6)).eval()
    target = torch.from_numpy(vocabulary.encode(TEXTS))
    objective = GenerateObjective(model.spec, TrainConfig(label_smoothing=0.1), target.numpy(), torch.device("cpu"))
    with torch.no_grad():
        out = model(tensors_of(source.gather(np.arange(1, 4)), model.spec.features))
        logits_BTK = model.goal.logits(out, target)
        plain_B, smooth_B = objective.plain_losses(model, out, target), objective.clip_losses(model, out, target)
        scores_B = objective.scores(model, out, target)
    for row, text in enumerate(TEXTS):
        ids_T = target[row][target[row] >= 0]
        assert len(ids_T) == len(text.split()) + 1
        logits_TK = logits_BTK[row, : len(ids_T)]
        assert plain_B[row].item() == pytest.approx(cross_entropy(logits_TK, ids_T).item(), abs=1e-6)
        smooth = cross_entropy(logits_TK, ids_T, label_smoothing=0.1).item()
        assert smooth_B[row].item() == pytest.approx(smooth, abs=1e-6)
        assert scores_B[row].item() == pytest.approx((logits_TK.argmax(1) == ids_T).double().mean().item())


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    def stop(record: EpochRecord) -> None:
        if record.epoch == 3:
            raise Stop

    source = ToySource()
    whole, _ = train(source)
    with pytest.raises(Stop):
        train(source, folder=tmp_path, on_epoch=stop)
    epochs = []
    resumed, _ = train(source, folder=tmp_path, on_epoch=lambda record: epochs.append(record.epoch))
    assert epochs == [4, 5, 6]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_a_saved_network_writes_the_same(tmp_path: Path) -> None:
    source = ToySource()
    trained, _ = train(source)
    save_model(trained.model, tmp_path)
    assert np.array_equal(predict(load_model(tmp_path), source, VAL), predict(trained.model, source, VAL))
    assert predict(trained.model, source, VAL).shape == (30, 5)  # the longest text has four words and its end


@pytest.mark.parametrize(
    ("targets", "options", "said"),
    [
        ([[-1, -1], [1, 0]], {"max_tokens": 2}, "a text with its end"),
        ([[1, 1, 0], [1, 0, -1]], {"max_tokens": 2}, "has 3 tokens"),
        ([[99, 0], [1, 0]], {"max_tokens": 2}, "the token 99"),
    ],
)
def test_targets_that_are_no_texts_are_refused(targets: list[list[int]], options: dict, said: str) -> None:
    spec = spec_of(Vocabulary.of(TEXTS, Unit.WORD), **options)
    with pytest.raises(ConfigError, match=said):
        GenerateObjective.check_targets(spec, np.array(targets))


def test_texts_cannot_be_mixed() -> None:
    with pytest.raises(ConfigError, match="mixup_alpha"):
        train(ToySource(), TrainConfig(epochs=1, mixup_alpha=0.2, dropout=0.0))
