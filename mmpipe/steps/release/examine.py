"""Ask a judged model again, with modalities hidden, mixed up or noisy: what each brings, and where it bends.

Only by networks that had not learnt from the clips that they are asked about: after folds, each fold's own. They are
asked about the test clips, or as many of them as the config allows, drawn by hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mmpipe.config import Config
from mmpipe.evaluate.answers.base import Answers, join
from mmpipe.evaluate.contribution import MOST_EXACT, Ablation, Subset, measure_contribution
from mmpipe.evaluate.figures import Figures, measure_all
from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.robustness import Robustness, missing_curves, noise_curves, slice_scores
from mmpipe.evaluate.temperature import scaled
from mmpipe.io import canonical_json
from mmpipe.registry.versions import Version
from mmpipe.steps.goals.column import column_values
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.release.evaluate import Evaluation
from mmpipe.steps.train.candidates import fit_folder
from mmpipe.steps.train.training_set import Part, plan_parts
from mmpipe.types import fraction_of

ABLATION_NAME, ROBUSTNESS_NAME, FIGURES_NAME = "ablation.json", "robustness.json", "figures.json"
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found about a judged model beside the gate."""

    ablation: Ablation | None  # None for a single modality, and where its networks were not kept
    robustness: Robustness
    figures: Figures

    def table(self) -> list[dict[str, Any]]:
        """Return one row per modality of what it brings, none where that was not measured."""
        return [
            {
                "modality": share.modality,
                "shapley": _rounded(share.shapley),
                "alone": _rounded(share.alone),
                "cost of hiding": _rounded(share.loss_without),
                "cost of mixing up": _rounded(share.loss_permuted),
            }
            for share in (self.ablation.shares if self.ablation else ())
        ]

    def files(self) -> dict[str, bytes]:
        """Return what is kept beside the verdict."""
        found = {
            ROBUSTNESS_NAME: canonical_json(self.robustness.as_json()),
            FIGURES_NAME: canonical_json(self.figures.as_json()),
        }
        return found | ({ABLATION_NAME: canonical_json(self.ablation.as_json())} if self.ablation else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What the judged model said about the same clips under every condition."""

    by_kept: Mapping[Subset, Answers]
    permuted: Mapping[str, Answers]
    noisy: Mapping[str, Mapping[float, Answers]]


def examine(config: Config, evaluation: Evaluation) -> Examination:
    """Return what the judged model's modalities bring, and how it fares when they are missing, noisy, or on slices."""
    judged = evaluation.verdict.judged
    settings = config.evaluate
    wanted: dict[str, Any] = {"confidence": config.gate.confidence, "draws": settings.draws, "seed": SEED}
    candidate = evaluation.candidates[judged]
    answers = scaled(candidate.predictions, candidate.temperature)
    figures = measure_all(answers, **wanted)
    slices = slice_scores(answers, _columns(config, evaluation, answers), **wanted)
    networks = _networks(config, evaluation)
    if not networks:
        told = (f"this training kept no network of {judged} per fold, so it was not asked with modalities hidden",)
        empty = Robustness(
            model=judged, measure=answers.measure, missing=(), noise=(), slices=slices, not_measured=told
        )
        return Examination(ablation=None, robustness=empty, figures=figures)
    asked = _ask(config, evaluation, networks)
    features = sorted(frozenset().union(*asked.by_kept))
    ablation = None
    if len(features) > 1:
        keys = asked.by_kept[frozenset(features)].keys
        alone = {
            name: evaluation.candidates[name].predictions.aligned_to(keys)
            for name in features
            if name in evaluation.candidates
        }
        ablation = measure_contribution(judged, asked.by_kept, permuted=asked.permuted, alone=alone, **wanted)
    robustness = Robustness(
        model=judged,
        measure=answers.measure,
        missing=missing_curves(asked.by_kept, **wanted),
        noise=noise_curves(asked.by_kept[frozenset(features)], asked.noisy, **wanted),
        slices=slices,
        not_measured=tuple(
            f"noise on {name}: its values are whole numbers, or none of these clips has it"
            for name in features
            if name not in asked.noisy
        ),
    )
    return Examination(ablation=ablation, robustness=robustness, figures=figures)


def read_examination(version: Version) -> Examination | None:
    """Return what is kept beside the verdict of a version; None for one from before this was kept in this form."""
    names = version.files()
    if ROBUSTNESS_NAME not in names or FIGURES_NAME not in names:
        return None
    try:
        return _read(version, names)
    except ValidationError:
        return None


def _read(version: Version, names: tuple[str, ...]) -> Examination:
    return Examination(
        ablation=TypeAdapter(Ablation).validate_json(version.read(ABLATION_NAME)) if ABLATION_NAME in names else None,
        robustness=TypeAdapter(Robustness).validate_json(version.read(ROBUSTNESS_NAME)),
        figures=TypeAdapter(Figures).validate_json(version.read(FIGURES_NAME)),
    )


def _rounded(found: Interval | None) -> float | str:
    return round(found.estimate, 4) if found else ""


def _networks(config: Config, evaluation: Evaluation) -> list[tuple[Part, Path]]:
    """Return each part with the network that never saw its test clips; nothing where one is not there."""
    judged, settings = evaluation.verdict.judged, evaluation.settings
    _, source = config.corpus(settings.corpus)
    parts = plan_parts(settings, source.split, evaluation.data)
    if not settings.folds:
        return [(parts[0], evaluation.checkpoint / "release" / judged)]
    seed = settings.train.seeds[0]
    places = [(part, fit_folder(evaluation.checkpoint, judged, part.number, seed).weights) for part in parts]
    return places if all(place.is_dir() for _, place in places) else []


def _ask(config: Config, evaluation: Evaluation, networks: list[tuple[Part, Path]]) -> _Answers:
    by_kept: dict[Subset, list[Answers]] = {}
    permuted: dict[str, list[Answers]] = {}
    noisy: dict[str, dict[float, list[Answers]]] = {}
    asked = _asked(evaluation, config.evaluate.max_clips)
    for part, place in networks:
        rows = part.test_rows[np.isin(part.test_rows, asked)]
        if not len(rows):
            continue
        by_kept.setdefault(frozenset(), []).append(_blind(evaluation, part, rows))
        network = _Network(evaluation, place, rows)
        for kept in _subsets(network.features):
            by_kept.setdefault(frozenset(kept), []).append(network.answer(kept))
        for name in network.features:
            if len(network.features) > 1:
                permuted.setdefault(name, []).append(network.answer_permuted(name))
            for level, found in network.answer_noisy(name, config.evaluate.noise_levels).items():
                noisy.setdefault(name, {}).setdefault(level, []).append(found)
    return _Answers(
        by_kept={kept: join(parts) for kept, parts in by_kept.items()},
        permuted={name: join(parts) for name, parts in permuted.items()},
        noisy={name: {level: join(parts) for level, parts in levels.items()} for name, levels in noisy.items()},
    )


class _Network:
    """One part's network with the test clips that it is asked about, which are read once."""

    def __init__(self, evaluation: Evaluation, place: Path, rows: np.ndarray) -> None:
        from mmpipe.train.data import pool_source
        from mmpipe.train.weights import load_model

        self._data, self._rows, self._reader_rows = evaluation.data, rows, evaluation.data.reader_rows_N[rows]
        self._model = load_model(place)
        self._source = pool_source(self._data.reader, self._model.spec, self._reader_rows)
        self.features: tuple[str, ...] = self._model.spec.features

    def answer(self, kept: tuple[str, ...]) -> Answers:
        """Return what it says when it has only these modalities."""
        return self._infer(self._source, frozenset(self.features) - set(kept))

    def answer_permuted(self, feature: str) -> Answers:
        """Return what it says when each clip has another clip's values of a modality."""
        from mmpipe.train.perturbed import PermutedSource

        return self._infer(PermutedSource(self._source, feature, self._reader_rows, SEED))

    def answer_noisy(self, feature: str, levels: tuple[float, ...]) -> dict[float, Answers]:
        """Return what it says at each level of noise; nothing for a modality of whole numbers, such as of words."""
        from mmpipe.train.perturbed import NoisySource, deviations_of

        schema = next(schema for schema in self._data.schemas if schema.feature == feature)
        if schema.dtype.startswith("int"):
            return {}
        scale_D = deviations_of(self._source, feature, self._reader_rows)
        if not len(scale_D):
            return {}
        return {level: self._infer(NoisySource(self._source, feature, scale_D, level, SEED)) for level in levels}

    def _infer(self, source: Any, hidden: frozenset[str] = frozenset()) -> Answers:
        from mmpipe.train.weights import infer

        found = infer(self._model, source, self._reader_rows, hidden=hidden)
        return self._data.answers(self._rows, found.answers_N)


def _subsets(features: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Return every set of features that is asked: all but the empty one, or past four the whole and each but one."""
    size = len(features)
    sizes = range(1, size + 1) if size <= MOST_EXACT else (size - 1, size)
    yield from chain.from_iterable(combinations(features, number) for number in sizes)


def _asked(evaluation: Evaluation, most: int) -> np.ndarray:
    """Return the rows that may be asked about: all, or so many of the smallest hashes."""
    keys = evaluation.data.keys
    tested = set(evaluation.candidates[evaluation.verdict.judged].predictions.keys)
    rows = [row for row, key in enumerate(keys) if key in tested]
    return np.array(sorted(rows, key=lambda row: fraction_of("examine", keys[row]))[:most], dtype=np.int64)


def _blind(evaluation: Evaluation, part: Part, rows: np.ndarray) -> Answers:
    """Return the answers of one who sees nothing: of classes the most frequent of what the network learnt from."""
    data = evaluation.data
    answer = steps_of(data.goal).constant(data.targets_N[part.train_rows], data.classes)
    return data.answers(rows, np.tile(answer, (len(rows), *[1] * answer.ndim)))


def _columns(config: Config, evaluation: Evaluation, predictions: Answers) -> dict[str, list[str]]:
    """Return each slice column's value per clip that was tested, and which modalities each clip has."""
    data = evaluation.data
    row_of = {key: row for row, key in enumerate(data.keys)}
    rows = np.array([row_of[key] for key in predictions.keys], dtype=np.int64)
    spine = data.reader.spine[data.reader_rows_N[rows].tolist()]
    columns = {column: column_values(spine, column) for column in config.evaluate.slices}
    if len(data.schemas) > 1:
        names = sorted(schema.feature for schema in data.schemas)
        has = {name: data.reader.lengths(name)[data.reader_rows_N[rows]] > 0 for name in names}
        columns["has"] = [" + ".join(name for name in names if has[name][n]) or "nothing" for n in range(len(rows))]
    return columns
