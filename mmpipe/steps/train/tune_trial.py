"""Train what a search tries, on train clips alone, and say what the validation clips say of it.

A test clip cannot choose: its features are never read here, and its label is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from mmpipe.config import CorpusConfig, Imputation, Measure, ModelConfig, TunedParts
from mmpipe.steps.ground.progress import SILENT
from mmpipe.steps.train.candidates import Contender, list_contenders
from mmpipe.steps.train.contender_spec import contender_spec
from mmpipe.steps.train.finetune import Beginning, Beginnings
from mmpipe.steps.train.fit_network import fit_network
from mmpipe.steps.train.imputing import check_imputation, imputer_fits
from mmpipe.steps.train.training_set import Part, TrainingSet, plan_parts
from mmpipe.train.ranks import ALONE
from mmpipe.types import Batch

NO_LABEL = -1
OnValue = Callable[[int, float, str], None]  # which epoch of all parts, from 0; the value so far; the epoch in words


class TuneTrials:
    """The trainings of one search."""

    def __init__(
        self, model: ModelConfig, source: CorpusConfig, data: TrainingSet, beginning: Beginning | None = None
    ) -> None:
        self.data, self.measure = data, model.tune.measure
        self.schemas = data.present_schemas()
        parts = plan_parts(model, source.split, data)
        self.parts = parts if model.tune.parts is TunedParts.ALL else parts[:1]
        self._beginnings = Beginnings(model, beginning)
        self._pooled: tuple[Hashable, Any] = (None, None)

    def train(self, model: ModelConfig, seed: int, on_value: OnValue) -> float:
        """Return the mean over the parts of what the validation clips say of a model at its best epochs."""
        from mmpipe.fusion.check import check_network

        contender = list_contenders(model, self.schemas)[-1]
        spec = contender_spec(model, self.data, contender)
        check_network(spec)  # before memory is taken
        check_imputation(model, spec)
        self._beginnings.check(contender, spec)
        values: list[float] = []
        for place, part in enumerate(self.parts):
            values.append(self._train_part(model, contender, spec, part, place, seed, values, on_value))
        return float(np.mean(values))

    def _train_part(
        self,
        model: ModelConfig,
        contender: Contender,
        spec: Any,
        part: Part,
        place: int,
        seed: int,
        before: list[float],
        on_value: OnValue,
    ) -> float:
        """Train on a part; return what its validation clips say of the network of its best epoch."""

        def tell(record: Any) -> None:
            seen = record.val_loss if self.measure is Measure.LOSS else record.val_score
            said = f"part {part.number}: {record.told(model.train.epochs)}"
            on_value(place * model.train.epochs + record.epoch - 1, float(np.mean([*before, seen])), said)

        known = np.concatenate([part.train_rows, part.val_rows])
        source = OnlyThese(self._pool(spec), self.data.reader_rows_N[known])
        trained = fit_network(
            spec,
            source,
            self.data,
            self._targets(known),
            part,
            model.train.model_copy(update={"refit": False}),  # validation clips judge: they are not learnt
            seed,
            kept_in=None,
            log_in=None,
            progress=SILENT,
            note="",
            ranks=ALONE,
            finetuning=self._beginnings.of_part(contender, part.number),
            imputers=imputer_fits(self.data) if model.train.impute is not Imputation.OFF else None,
            on_epoch=tell,
        )
        return self._measured(trained, source, part)

    def _measured(self, trained: Any, source: Any, part: Part) -> float:
        """Return the loss, or what `mmpipe train` chooses its contender by."""
        from mmpipe.train.weights import infer

        if self.measure is Measure.LOSS:
            return float(trained.val_loss)
        said = infer(trained.chooser, source, self.data.reader_rows_N[part.val_rows])
        return self.data.answers(part.val_rows, said.answers_N).worth

    def _targets(self, known: np.ndarray) -> np.ndarray:
        """Return what is true of the clips that may be read; of others nothing."""
        targets_N = self.data.targets_N
        blank_N = np.full_like(targets_N, np.nan if np.issubdtype(targets_N.dtype, np.floating) else NO_LABEL)
        blank_N[known] = targets_N[known]
        return blank_N

    def _pool(self, spec: Any) -> Any:
        """Return the features of the clips that may be read: read once, unless trials pool them in other ways."""
        from mmpipe.train.data import pool_source

        key = tuple(
            (e.feature, spec.encoder_of(e.feature).num_steps, spec.encoder_of(e.feature).steps) for e in spec.inputs
        )
        if self._pooled[0] != key:
            known = np.unique(
                np.concatenate([rows for part in self.parts for rows in (part.train_rows, part.val_rows)])
            )
            rows_N = self.data.reader_rows_N[known]
            self._pooled = key, pool_source(OnlyThese(self.data.reader, rows_N), spec, rows_N)
        return self._pooled[1]


class OnlyThese:
    """A source of clips that has no others than some rows."""

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows; refuse any that may not be read."""
        if not np.isin(rows, self._rows).all():
            raise ValueError("a search reads train and validation clips only")
        batch: Batch = self._source.gather(rows)
        return batch
