"""Training as a flow of its own."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.life import refuse_endless_starts
from flows.naming import run_name
from flows.parameters import TrainParameters
from flows.target import read_config
from mmpipe.errors import ShardError
from tasks.artifacts import run_page
from tasks.train import train_model

DEFAULTS = TrainParameters()
_TRAINED = "trained "


@flow(name="train", flow_run_name=run_name, persist_result=False)
def train(parameters: TrainParameters = DEFAULTS) -> State[Any]:
    """Fit the candidates of a model on a snapshot; how it ends names the checkpoint, for a release."""
    refuse_endless_starts()
    config = read_config(parameters)
    model, _ = config.model(parameters.model or None)
    with run_page("train", model) as page:
        trained = train_model(config, model)
        page.add("train", trained)
    return Completed(message=f"{_TRAINED}{trained.checkpoint}")


def checkpoint_in(message: str) -> str:
    """Return the checkpoint that the end of a training names; ShardError where it names none."""
    if not message.startswith(_TRAINED):
        raise ShardError(
            f"the training ended well, but names no checkpoint: {message!r}. Somebody may have set its state by hand: "
            "retry this run, and it is trained, or found trained, anew."
        )
    return message.removeprefix(_TRAINED)
