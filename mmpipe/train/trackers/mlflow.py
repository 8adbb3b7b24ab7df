"""Fits as runs of MLflow: an experiment per model, a run per fit, found again by its tags when a training goes on."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.log import scalars_of
from mmpipe.train.trackers.base import TrackedFit

URI_VARIABLE = "MMPIPE_MLFLOW_URI"
DATABASE_NAME = "mlflow.db"
_SQLITE = "sqlite:///"
_UNKNOWN_SIGN = re.compile(r"[^\w\-. /:]")  # what the name of a metric may not have
_MOST_LETTERS = 500  # of a setting's value; servers of before refuse longer ones


def require_mlflow() -> Any:
    """Return the package, told to send no word of its use to anybody; refuse to go on without it."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when it is imported
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is away costs seconds, not minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    try:
        import alembic  # noqa: F401 - both are for its store in a file, which mlflow-skinny alone cannot open
        import mlflow
        import mlflow.tracking
        import sqlalchemy  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"train.trackers has mlflow, and {error.name} is missing. Run: pip install 'mmpipe[mlflow]'"
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


class MlflowTracker:
    """Tells MLflow of one fit, in the store's `_runs/mlflow.db` or where MMPIPE_MLFLOW_URI says."""

    def __init__(self, fit: TrackedFit, folder: Path) -> None:
        mlflow = require_mlflow()
        import sqlalchemy.exc

        self.failures: tuple[type[Exception], ...] = (
            mlflow.exceptions.MlflowException,
            sqlalchemy.exc.SQLAlchemyError,
            sqlite3.Error,
            OSError,
        )
        self._mlflow, self._fit, self._folder = mlflow, fit, folder
        self._uri = os.environ.get(URI_VARIABLE) or f"{_SQLITE}{(folder / DATABASE_NAME).resolve()}"
        self._client: Any = None
        self._run = ""

    def begin(self, history: Sequence[EpochRecord]) -> None:
        """Open the fit's run; epochs that it lacks are added, a run of another history is deleted."""
        _require_database(self._uri)
        self._client = self._mlflow.tracking.MlflowClient(tracking_uri=self._uri)
        experiment = self._experiment()
        self._run, known = self._find(experiment, {record.epoch for record in history})
        if not self._run:
            self._run = self._create(experiment)
        self._client.update_run(self._run, status="RUNNING")
        for record in history:
            if record.epoch not in known:
                self.add(record)

    def add(self, record: EpochRecord) -> None:
        """Add an epoch."""
        now_ms = int(time.time() * 1000)
        metrics = [
            self._mlflow.entities.Metric(_UNKNOWN_SIGN.sub("_", tag), value, now_ms, record.epoch)
            for tag, value in scalars_of(record).items()
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def end(self, *, finished: bool) -> None:
        """Close the run."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "FAILED")

    def _experiment(self) -> str:
        """Return the id of the model's experiment; two trainings may make it at once."""
        name = f"mmpipe/{self._fit.model}"
        found = self._client.get_experiment_by_name(name)
        if not found:
            try:
                place = (self._folder / "mlflow").resolve().as_uri() if URI_VARIABLE not in os.environ else None
                return str(self._client.create_experiment(name, artifact_location=place))
            except self._mlflow.exceptions.MlflowException:
                found = self._client.get_experiment_by_name(name)
                if not found:
                    raise
        return str(found.experiment_id)

    def _find(self, experiment: str, epochs: set[int]) -> tuple[str, set[int]]:
        """Return the fit's run and its epochs, none where there is none of this history."""
        tags = " and ".join(f"tags.`{key}` = '{value}'" for key, value in self._tags().items())
        for run in self._client.search_runs([experiment], filter_string=tags):
            known = {metric.step for metric in self._client.get_metric_history(run.info.run_id, "loss/train")}
            if known <= epochs:
                return str(run.info.run_id), known
            self._client.delete_run(run.info.run_id)  # of a training that was thrown away
        return "", set()

    def _create(self, experiment: str) -> str:
        run = self._client.create_run(experiment, tags=self._tags(), run_name=self._fit.name)
        settings = self._fit.settings.items()
        params = [self._mlflow.entities.Param(key, str(value)[:_MOST_LETTERS]) for key, value in settings]
        self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def _tags(self) -> dict[str, str]:
        return {"mmpipe.checkpoint": self._fit.checkpoint, "mmpipe.fit": self._fit.name}


def _require_database(uri: str) -> None:
    """Raise at once where a database in a file cannot be opened: MLflow would try for minutes."""
    if uri.startswith(_SQLITE):
        with closing(sqlite3.connect(uri.removeprefix(_SQLITE).partition("?")[0])) as database:
            database.execute("PRAGMA schema_version")
