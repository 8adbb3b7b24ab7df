"""One recipe's fits: each contender on each part with each seed, then what may be released, then the control."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.config import CorpusConfig, EncoderConfig, ModelConfig
from mmpipe.evaluate.predictions import Predictions
from mmpipe.io import canonical_json, make_directory, replace_bytes, sync_directory
from mmpipe.steps.candidates import Contender, fit_folder, join_parts, list_contenders, options_of, validation_scores
from mmpipe.steps.fit_network import fit_network
from mmpipe.steps.progress import Progress
from mmpipe.steps.seal import seal_folder
from mmpipe.steps.trained import CONTROL, DONE_NAME, ContenderScore
from mmpipe.steps.training_set import Part, TrainingSet, plan_parts, plan_release_part
from mmpipe.train.ranks import Ranks


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
    ) -> None:
        self.model, self.source, self.data, self.folder, self.progress = model, source, data, folder, progress
        self.parts = plan_parts(model, source.split, data)
        self.seed = model.train.seeds[0]
        self.judges_all = judges_all
        self.ranks = ranks

    def run(self, recipe: str) -> int:
        """Make every fit that is missing, choose by validation, fit for the release; return how many were made."""
        from mmpipe.fusion.registry import check_fusion

        make_directory(self.folder)
        schemas = self.data.present_schemas()
        contenders = list_contenders(self.model, schemas)
        for contender in contenders:
            check_fusion(self._spec(contender))  # before anything is read or trained
        self.pooled = self._pool()
        fits = [(c, part, seed) for part in self.parts for c in contenders for seed in self.model.train.seeds]
        num_fused = sum(contender.fused for contender in contenders)
        self.progress.start("train", len(fits) + 2 + (num_fused if self.judges_all else min(num_fused, 1)))
        made = sum(self._fit(*fit) for fit in fits)
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
        made += self._fit_control(by_name[best[-1].name]) + len(chosen)
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
            "scores": [
                {
                    "name": score.name,
                    "fused": score.fused,
                    "validation_accuracy": score.validation_accuracy,
                    "test_accuracy": score.test_accuracy,
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

    def _pool(self) -> Any:
        """Read the frames once for all fits, where their segment means fit into memory."""
        from mmpipe.train.data import pool_source

        spec = self._spec(list_contenders(self.model, self.data.present_schemas())[-1])
        return pool_source(self.data.reader, spec, self.data.reader_rows_N)

    def _spec(self, contender: Contender) -> Any:
        from mmpipe.fusion.spec import InputSpec, ModelSpec

        return ModelSpec(
            fusion=contender.fusion,
            inputs=tuple(InputSpec(feature=s.feature, kind=s.kind, dim=s.dim) for s in contender.inputs),
            classes=self.data.classes,
            encoder=self.model.encoder,
            head=self.model.head,
            encoders={s.feature: encoder for s in contender.inputs if (encoder := self._own_encoder(s.feature))},
            dropout=self.model.train.dropout,
            modality_dropout=self.model.train.modality_dropout,
            options=options_of(self.model, contender),
        )

    def _own_encoder(self, feature: str) -> EncoderConfig | None:
        """Return what the config says of one input alone: `audio-logmel@1` is `audio-logmel` there."""
        from mmpipe.fusion.backbones.registry import resolve_backbone

        name = feature.partition("@")[0]
        config = self.model.encoders.get(name)
        if config is None or config.backbone is None:
            return config
        backbone = resolve_backbone(config.backbone, f"models.encoders.{name}.backbone")
        return config.model_copy(update={"backbone": backbone})

    def _train(
        self, contender: Contender, part: Part, seed: int, where: Path, log: Path, labels_N: np.ndarray, note: str
    ) -> Any:
        return fit_network(
            self._spec(contender),
            self.pooled,
            self.data,
            labels_N,
            part,
            self.model.train,
            seed,
            kept_in=where,
            log_in=log,
            progress=self.progress,
            note=note,
            ranks=self.ranks,
        )

    def _predict(self, model: Any, rows: np.ndarray, hidden: tuple[str, ...] = ()) -> Predictions:
        from mmpipe.train.weights import infer

        answers = infer(model, self.pooled, self.data.reader_rows_N[rows], hidden=hidden)
        return self.data.predictions(rows, answers.probabilities_NK)

    def _fit(self, contender: Contender, part: Part, seed: int) -> bool:
        """Make one fit unless it is there; say whether it was made."""
        folder = fit_folder(self.folder, contender.name, part.number, seed)
        note = f"{contender.name}, part {part.number}"
        made = self.ranks.told(not folder.done())
        if made:
            where = folder.path / "epochs"
            trained = self._train(contender, part, seed, where, folder.path, self.data.labels_N, note)
        if made and self.ranks.writes:
            if self.model.folds and seed == self.seed:
                save_anew(trained.model, folder.weights)  # asked again about its own test clips: `steps.examine`
            features = [schema.feature for schema in contender.inputs] if contender.fused else []
            folder.write(
                self._predict(trained.model, part.val_rows),
                self._predict(trained.model, part.test_rows),
                {feature: self._predict(trained.model, part.test_rows, (feature,)) for feature in features},
            )
        self.progress.advance("train", note=note)
        return made

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
            validation_accuracy=float(np.mean(validation_scores(folders))),
            test_accuracy=float(np.mean(join_parts(folders, "test").correct_N)),
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
        trained = self._train(contender, part, self.seed, staged, log, self.data.labels_N, note)
        if not self.ranks.writes:
            return
        save_anew(trained.model, weights)
        make_directory(target.parent)
        weights.rename(target)  # there whole, or not at all
        sync_directory(target.parent)

    def _fit_control(self, contender: Contender) -> bool:
        """Fit on shuffled labels: what it scores, the evaluation gives away for nothing."""
        part = self.parts[0]
        folder = fit_folder(self.folder, CONTROL, part.number, self.seed)
        note = "control on shuffled labels"
        made = self.ranks.told(not folder.done())
        if made:
            labels_N = self.data.labels_N.copy()
            learnt = np.concatenate([part.train_rows, part.val_rows])
            labels_N[learnt] = np.random.default_rng(self.seed).permutation(labels_N[learnt])
            trained = self._train(contender, part, self.seed, folder.path / "epochs", folder.path, labels_N, note)
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
    return max((score for score in scores if score.fused is fused), key=lambda score: score.validation_accuracy)
