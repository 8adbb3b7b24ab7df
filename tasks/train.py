"""Training as a task."""

from __future__ import annotations

from prefect import task

from mmpipe.config import Config
from mmpipe.steps.night.night import models_of
from mmpipe.steps.train import train
from mmpipe.steps.train.train import TrainReport
from tasks.artifacts import progress_here
from tasks.policy import STEP

__all__ = ["models_of", "train_model"]


@task(name="train", task_run_name="train-{model}", **STEP)
def train_model(config: Config, model: str) -> TrainReport:
    """Train the candidates of a model on a snapshot."""
    return train.train_model(config, model, progress_here(model))
