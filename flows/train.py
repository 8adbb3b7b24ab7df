"""Training as a flow of its own."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.life import own_run, refuse_endless_starts
from flows.naming import run_name
from flows.parameters import TrainParameters
from flows.runs import leave_checkpoint
from flows.target import read_config
from tasks.artifacts import run_page
from tasks.train import train_model

DEFAULTS = TrainParameters()


@flow(name="train", flow_run_name=run_name, persist_result=False)
def train(parameters: TrainParameters = DEFAULTS) -> State[Any]:
    """Fit the candidates of a model on a snapshot, and leave the name of the checkpoint for whoever started this."""
    refuse_endless_starts()
    config = read_config(parameters)
    model, _ = config.model(parameters.model or None)
    with run_page("train", model) as page:
        trained = train_model(config, model)
        page.add("train", trained)
    if run := own_run():
        leave_checkpoint(run.id, trained.checkpoint)
    return Completed(message=f"trained {trained.checkpoint}")
