"""One recipe's fits: each contender on each part with each seed, then what may be released, then the control."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import CorpusConfig, Goal, Imputation, ModelConfig
from mmpipe.evaluate.answers.base import Answers
from mmpipe.io import canonical_json, make_directory, replace_bytes, sync_directory
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.ground.progress import Progress
from mmpipe.steps.ground.seal import seal_folder
from mmpipe.steps.train.candidates import (
    Contender,
    FitFolder,
    fit_folder,
    join_parts,
    list_contenders,
    validation_scores,
)
from mmpipe.steps.train.contender_spec import contender_spec
from mmpipe.steps.train.environment import training_environment
from mmpipe.steps.train.finetune import Beginnings
from mmpipe.steps.train.fit_log import TrackedTraining
from mmpipe.steps.train.fit_network import fit_network
from mmpipe.steps.train.imputing import check_imputation, imputer_fits, write_imputation
from mmpipe.steps.train.linear_reference import REFERENCE, linear_matches, reads_backbones
from mmpipe.steps.train.trained import CONTROL, DONE_NAME, ContenderScore
from mmpipe.steps.train.training_record import TrainingRecord, write_record
from mmpipe.steps.train.training_set import Part, TrainingSet, plan_parts, plan_release_part
from mmpipe.train.ranks import Ranks
from mmpipe.types import FeatureSchema


class TrainingFits:
    """One recipe's fits."""

    def __init__(
        self,
        model: ModelConfig,
        source: CorpusConfig,
        data: TrainingSet,
        folder: Path,
        progress: Progress,
        judges_all: bool,
        ranks: Ranks,
        tracked: TrackedTraining | None = None,
        beginnings: Beginnings | None = None,
    ) -> None:
        self.model, self.source, self.data, self.folder, self.progress = model, source, data, folder, progress
        self.parts = plan_parts(model, source.split, data)
        self.seed = model.train.seeds[0]
        self.judges_all = judges_all
        self.ranks = ranks
        self.tracked = tracked
        self.beginnings = beginnings or Beginnings(model, None)
        self.imputers = imputer_fits(data) if model.train.impute is not Imputation.OFF else None

    def run(self, recipe: str) -> int:
        """Make every fit that is missing, choose by validation, fit for the release; return how many were made."""
        from mmpipe.fusion.check import check_network

        make_directory(self.folder)
        schemas = self.data.present_schemas()
        contenders = list_contenders(self.model, schemas)
        for contender in contenders:
            spec = contender_spec(self.model, self.data, contender)
            check_network(spec)  # before anything is read or trained
            check_imputation(self.model, spec)
            self.beginnings.check(contender, spec)
        self.pooled = self._pool()
        fits = [(c, part, seed) for part in self.parts for c in contenders for seed in self.model.train.seeds]
        num_fused = sum(contender.fused for contender in contenders)
        self.progress.start("train", len(fits) + 2 + (num_fused if self.judges_all else min(num_fused, 1)))
        made = sum(self._fit(*fit) for fit in fits)
        self._fit_reference(schemas)
        self.ranks.told(True)  # that the last answers are written
        scores = [self._score(contender) for contender in contenders]
        best = [_best(scores, fused) for fused in (False, True) if any(score.fused is fused for score in scores)]
        by_name = {contender.name: contender for contender in contenders}
        judged = [score for score in scores if score.fused] if self.judges_all else best[-1:]
        chosen = [*best, *(score for score in judged if score not in best)]
        for score in chosen:
            self._fit_release(by_name[score.name])
            self.progress.advance("train", note=f"release {score.name}")
        self._drop_networks({score.name for score in scores} - {score.name for score in judged or best})
        made += len(chosen)
        if steps_of(self.model.goal).can_be_shuffled:
            made += self._fit_control(by_name[best[-1].name])
        table = {
            "recipe": recipe,
            "snapshot": self.data.snapshot.digest,
            "corpus": self.model.corpus,
            "model": self.model.model_dump(mode="json"),
            "classes": list(self.data.classes),
            "inputs": [schema.feature for schema in schemas],
            "absent_inputs": [schema.feature for schema in self.data.schemas if schema not in schemas],
            "single": best[0].name,
            "fused": best[1].name if len(best) > 1 else "",
            "parts": len(self.parts),
            **self.beginnings.table(),
            "scores": [
                {
                    "name": score.name,
                    "fused": score.fused,
                    "validation_score": score.validation_score,
                    "test_score": score.test_score,
                }
                for score in scores
            ],
        }
        if self.ranks.writes:
            data = canonical_json(table)
            seal_folder(self.folder, anew=True, coming={DONE_NAME: data})
            replace_bytes(self.folder / DONE_NAME, data)
        self.ranks.told(True)
        return made

    def remake(self, name: str, *, answers: bool) -> Path:
        """Make one contender's weights for a release and nothing else, with `answers` its fits too; return where."""
        make_directory(self.folder)
        (contender,) = (one for one in list_contenders(self.model, self.data.present_schemas()) if one.name == name)
        self.beginnings.check(contender, contender_spec(self.model, self.data, contender))
        self.pooled = self._pool()
        self.progress.start("train", 1 + len(self.parts) * answers)
        for part in self.parts if answers else ():
            self._fit(contender, part, self.seed)
        self._fit_release(contender)
        return self.folder / "release" / name

    def folders_of(self, name: str) -> list[FitFolder]:
        """Return where one contender's fits of the seed that is judged keep their answers."""
        return [fit_folder(self.folder, name, part.number, self.seed) for part in self.parts]

    def _pool(self) -> Any:
        """Read the frames once for all fits, where their segment means fit into memory."""
        from mmpipe.train.data import pool_source

        spec = contender_spec(self.model, self.data, list_contenders(self.model, self.data.present_schemas())[-1])
        return pool_source(self.data.reader, spec, self.data.reader_rows_N)

    def _train(
        self,
        contender: Contender,
        part: Part,
        seed: int,
        where: Path,
        log: Path,
        targets_N: np.ndarray,
        note: str,
        finetuning: Any = None,
        *,
        refit: bool = True,
    ) -> Any:
        return fit_network(
            contender_spec(self.model, self.data, contender),
            self.pooled,
            self.data,
            targets_N,
            part,
            self.model.train if refit else self.model.train.model_copy(update={"refit": False}),
            seed,
            kept_in=where,
            log_in=log,
            progress=self.progress,
            note=note,
            ranks=self.ranks,
            tracked=self.tracked,
            finetuning=finetuning,
            imputers=self.imputers,
        )

    def _predict(self, model: Any, rows: np.ndarray, hidden: tuple[str, ...] = ()) -> Answers:
        from mmpipe.train.weights import infer

        answers = infer(model, self.pooled, self.data.reader_rows_N[rows], hidden=hidden)
        return self.data.answers(rows, answers.answers_N)

    def _predict_also(self, model: Any, rows: np.ndarray) -> dict[str, Answers]:
        from mmpipe.train.weights import infer

        if not self.data.also:
            return {}
        return self.data.also_answers(rows, infer(model, self.pooled, self.data.reader_rows_N[rows]).also_N)

    def _fit(self, contender: Contender, part: Part, seed: int) -> bool:
        """Make one fit unless it is there; say whether it was made."""
        folder = fit_folder(self.folder, contender.name, part.number, seed)
        note = f"{contender.name}, part {part.number}" + f", seed {seed}" * (len(self.model.train.seeds) > 1)
        made = self.ranks.told(not folder.done())
        if made:
            where = folder.path / "epochs"
            going_on = self.beginnings.of_part(contender, part.number)
            trained = self._train(contender, part, seed, where, folder.path, self.data.targets_N, note, going_on)
        if made and self.ranks.writes:
            if self.model.folds and seed == self.seed:
                save_anew(trained.model, folder.weights)  # asked again about its own test clips: `steps.examine`
                write_imputation(folder.weights, trained.imputation)
            features = [schema.feature for schema in contender.inputs] if contender.fused else []
            folder.write(
                self._predict(trained.chooser, part.val_rows),
                self._predict(trained.model, part.test_rows),
                {feature: self._predict(trained.model, part.test_rows, (feature,)) for feature in features},
                self._predict_also(trained.model, part.test_rows),
            )
        self.progress.advance("train", note=note)
        return made

    def _fit_reference(self, schemas: Sequence[FeatureSchema]) -> None:
        """Keep what a linear model says of every part, where clips are to find each other."""
        features = [schema.feature for schema in schemas]
        if self.model.goal is not Goal.RETRIEVE or reads_backbones(self.model, features) or not self.ranks.writes:
            return
        for part in self.parts:
            folder = fit_folder(self.folder, REFERENCE, part.number, self.seed)
            if not folder.done():
                folder.write(*linear_matches(self.pooled, self.model, self.data, part), {})
            self.progress.advance("train", 0, f"{REFERENCE}, part {part.number}")

    def _drop_networks(self, names: Iterable[str]) -> None:
        """Remove the networks of contenders that will not be asked again: they may be large."""
        for name in names if self.ranks.writes else ():
            for part in self.parts:
                shutil.rmtree(fit_folder(self.folder, name, part.number, self.seed).weights, ignore_errors=True)

    def _score(self, contender: Contender) -> ContenderScore:
        folders = [fit_folder(self.folder, contender.name, part.number, self.seed) for part in self.parts]
        return ContenderScore(
            name=contender.name,
            fused=contender.fused,
            validation_score=float(np.mean(validation_scores(folders))),
            test_score=join_parts(folders, "test").worth,
        )

    def _fit_release(self, contender: Contender) -> None:
        """Fit the weights that would be released; after folds they learn from all parts but a validation share."""
        target = self.folder / "release" / contender.name
        if self.ranks.told(target.exists()):
            return
        part = plan_release_part(self.model, self.source.split, self.data)
        staged = self.folder / "release-epochs" / contender.name
        weights = staged / "weights"
        log, note = self.folder / "release-logs" / contender.name, f"release {contender.name}"
        going_on = self.beginnings.of_release(contender)
        trained = self._train(contender, part, self.seed, staged, log, self.data.targets_N, note, going_on)
        if not self.ranks.writes:
            return
        save_anew(trained.model, weights)
        write_imputation(weights, trained.imputation)
        write_record(weights, self._record(contender, part, trained))
        make_directory(target.parent)
        weights.rename(target)  # there whole, or not at all
        sync_directory(target.parent)

    def _record(self, contender: Contender, part: Part, trained: Any) -> TrainingRecord:
        from mmpipe.train.compare import tensors_digest

        features = (schema.feature for schema in self.data.schemas)
        return TrainingRecord(
            contender=contender.name,
            model=self.model,
            split=self.source.split,
            seed=self.seed,
            fingerprints=dict(zip(features, self.data.fingerprints, strict=True)),
            forgotten=self.data.forgotten,
            num_train_clips=len(part.train_rows),
            num_val_clips=len(part.val_rows),
            environment=training_environment(self.model.train, self.ranks.size),
            tensors_sha256=tensors_digest(trained.model),
            best_epoch=trained.best_epoch,
            val_loss=trained.val_loss,
        )

    def _fit_control(self, contender: Contender) -> bool:
        """Fit on shuffled labels: what it scores, the evaluation gives away for nothing.

        It begins with random weights in any case: those of a release know the labels as they are. Nor is it trained
        once more: a leak shows the first time.
        """
        part = self.parts[0]
        folder = fit_folder(self.folder, CONTROL, part.number, self.seed)
        note = "control on shuffled labels"
        made = self.ranks.told(not folder.done())
        if made:
            targets_N = self.data.targets_N.copy()
            learnt = np.concatenate([part.train_rows, part.val_rows])
            targets_N[learnt] = np.random.default_rng(self.seed).permutation(targets_N[learnt])
            where = folder.path / "epochs"
            trained = self._train(contender, part, self.seed, where, folder.path, targets_N, note, refit=False)
        if made and self.ranks.writes:
            folder.write(self._predict(trained.model, part.val_rows), self._predict(trained.model, part.test_rows), {})
        self.progress.advance("train", note=note)
        return made


def save_anew(model: Any, folder: Path) -> None:
    """Write a network as new files, in place of what a killed run may have left."""
    from mmpipe.train.weights import save_model

    shutil.rmtree(folder, ignore_errors=True)
    save_model(model, folder)


def _best(scores: list[ContenderScore], fused: bool) -> ContenderScore:
    """Return the best of a kind by validation; of equals the first."""
    return max((score for score in scores if score.fused is fused), key=lambda score: score.validation_score)
