"""Training as a flow of its own."""

from __future__ import annotations

from prefect import flow

from flows.naming import run_name
from flows.parameters import TrainParameters
from flows.target import read_config
from tasks.artifacts import run_page
from tasks.train import train_model

DEFAULTS = TrainParameters()


@flow(name="train", flow_run_name=run_name, persist_result=False)
def train(parameters: TrainParameters = DEFAULTS) -> None:
    """Fit the candidates of a model on a snapshot; the page names the checkpoint."""
    config = read_config(parameters)
    model, _ = config.model(parameters.model or None)
    with run_page("train", model) as page:
        page.add("train", train_model(config, model))
