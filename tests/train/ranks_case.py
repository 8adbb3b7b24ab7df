"""What `test_ranks.py` trains, in one process and in two."""

from __future__ import annotations

import numpy as np
import torch
from toy_clips import ToySource, spec_of

from mmpipe.config import TrainConfig
from mmpipe.fusion.model import FusionModel
from mmpipe.train.data import fit_preprocess, prepare_data
from mmpipe.train.goals.classify import ClassifyObjective
from mmpipe.train.loop import Trained, train_network
from mmpipe.train.ranks import Ranks
from mmpipe.train.step import GradientMaker

# The network's own dropout is each process's own; the last batch of an epoch has 5 clips, of the last step 1.
CONFIG = TrainConfig(
    epochs=3, batch_clips=9, accumulate_steps=2, dropout=0.0, optimizer="sgd", checkpoint_every_steps=1
)
CONFIGS: dict[str, dict] = {
    "plain": {},
    "weighted": {"class_balance": "weights", "label_smoothing": 0.1},
    "balanced": {"balance_alpha": 1.0, "balance_noise": False},
    "lone_clip": {"batch_clips": 40, "accumulate_steps": 1},  # 41 clips: one process has none of the second batch
}


def train_case(config: TrainConfig, ranks: Ranks, **more) -> Trained:
    source = ToySource()
    spec = spec_of("concat", dropout=0.0)
    return train_network(
        spec, source, source.labels_N, np.arange(55), np.arange(60, 90), config, seed=3, ranks=ranks, **more
    )


def gradient_of(changes: dict, ranks: Ranks) -> tuple[float, float, dict[str, np.ndarray]]:
    source, rows = ToySource(), np.arange(90)
    torch.manual_seed(0)
    model = FusionModel(spec_of("transformer", dropout=0.0))
    fit_preprocess(model, source, rows)
    config = TrainConfig(**{**CONFIG.model_dump(), "clip_norm": 1e9, "accumulate_steps": 5, **changes})
    data = prepare_data(model, source, rows)
    labels = torch.from_numpy(source.labels_N)
    objective = ClassifyObjective(model.spec, config, source.labels_N, torch.device("cpu"))
    made = GradientMaker(model, data, labels, objective, config, 0, ranks, torch.device("cpu"))
    result = made.make(np.arange(10, 51), epoch=1, step=0)
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return result.loss, result.norm, gradients
