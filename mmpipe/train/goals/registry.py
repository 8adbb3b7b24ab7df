"""What is minimised for which goal."""

from __future__ import annotations

import numpy as np
import torch

from mmpipe.config import Goal, TrainConfig
from mmpipe.errors import ConfigError
from mmpipe.fusion.spec import ModelSpec
from mmpipe.train.goals.anomaly import AnomalyObjective
from mmpipe.train.goals.base import Objective
from mmpipe.train.goals.classify import ClassifyObjective
from mmpipe.train.goals.generate import GenerateObjective
from mmpipe.train.goals.joint import JointObjective, packed_columns, unpack
from mmpipe.train.goals.multilabel import MultilabelObjective
from mmpipe.train.goals.rank import RankObjective
from mmpipe.train.goals.regress import RegressObjective
from mmpipe.train.goals.retrieve import RetrieveObjective
from mmpipe.train.goals.tag import TagObjective

OBJECTIVES: dict[Goal, type[Objective]] = {
    Goal.ANOMALY: AnomalyObjective,
    Goal.CLASSIFY: ClassifyObjective,
    Goal.GENERATE: GenerateObjective,
    Goal.MULTILABEL: MultilabelObjective,
    Goal.RANK: RankObjective,
    Goal.REGRESS: RegressObjective,
    Goal.RETRIEVE: RetrieveObjective,
    Goal.TAG: TagObjective,
}


def make_objective(
    spec: ModelSpec, config: TrainConfig, training_targets: np.ndarray, device: torch.device
) -> Objective:
    """Return what is minimised for a network, with all of its answers."""
    kind = objective_class(spec.goal)
    if spec.also:
        return JointObjective(spec, config, training_targets, device, OBJECTIVES)
    return kind(spec, config, training_targets, device)


def check_targets(spec: ModelSpec, targets_N: np.ndarray) -> None:
    """Raise ConfigError where the targets of a network's own answer are not what its spec says."""
    own_N = unpack(targets_N[:, packed_columns(spec)[""]], spec.goal) if spec.also else targets_N
    objective_class(spec.goal).check_targets(spec, own_N)


def objective_class(goal: Goal) -> type[Objective]:
    """Return the class of a goal's objective."""
    if goal not in OBJECTIVES:
        raise ConfigError(f"the goal {goal.value!r} cannot be trained; those that can: {sorted(OBJECTIVES)}")
    return OBJECTIVES[goal]
