"""Models judged by folds through the pipeline: contenders, what the gate lets out, and plain linear models beside them.

Every clip is tested once, by a network that never saw its group. The plain linear models are scikit-learn's logistic
regressions on the same stored features and folds; late fusion is the mean of their probabilities. They have no epochs
to choose, so they learn from a fold's training and validation clips. Axes: N clips, F numbers of a clip, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmpipe.config import Config
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.train.train import train_model
from mmpipe.steps.train.training_set import TrainingSet, open_training_set, plan_parts

CONFIDENCE = 0.95
SEGMENTS = 5  # as the networks pool sequences by default
READ_CLIPS = 64
LATE, CONCAT = "linear, late fusion", "linear, all features"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One seed of a case: who was right about which clip, and what the gate said."""

    seed: int
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    correct: Mapping[str, np.ndarray]  # contender -> bool [N]
    fused: tuple[str, ...]
    status: str
    judged: str
    released: str  # the judged model, the single modality that is offered, or "nothing"
    sentence: str

    @property
    def strongest_single(self) -> str:
        """Return the single modality that the test likes best: a harder bar than the gate's, which validation chose."""
        singles = [name for name in self.correct if name not in self.fused]
        return max(singles, key=lambda name: float(self.correct[name].mean()))


def run_trial(config: Config, model: str, seed: int) -> Trial:
    """Train a model's contenders with one seed, as `mmpipe train` does, and let the gate judge them."""
    settings = config.models[model]
    train = settings.train.model_copy(update={"seeds": (seed,)})
    one = config.model_copy(update={"models": {model: settings.model_copy(update={"train": train})}})
    evaluation = evaluate_checkpoint(one, model, train_model(one, model).checkpoint)
    answers = {name: candidate.predictions for name, candidate in evaluation.candidates.items()}
    first = next(iter(answers.values()))
    verdict = evaluation.verdict
    return Trial(
        seed=seed,
        keys=first.keys,
        groups=first.groups,
        correct={name: each.aligned_to(first.keys).worth_N > 0 for name, each in answers.items()},
        fused=tuple(name for name, candidate in evaluation.candidates.items() if candidate.fused),
        status=str(verdict.status),
        judged=verdict.judged,
        released=verdict.offered,
        sentence=verdict.sentence,
    )


# --------------------------------------------------------------------------- plain linear models


class LinearModels:
    """Logistic regressions on stored features; those of one feature serve every case that reads it."""

    def __init__(self, iterations: int, *, validation: bool = True) -> None:
        self.iterations, self.validation = iterations, validation  # False: only what networks take gradients from
        self._said: dict[str, np.ndarray] = {}

    def correct(self, config: Config, model: str, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Fit one model per input, one on all side by side, and late fusion; say which clips each is right about."""
        settings = config.models[model]
        data = open_training_set(config, settings)
        parts = plan_parts(settings, config.corpora[settings.corpus].split, data)
        clips = read_clips(data)
        wanted = {**clips, f"{CONCAT}: {', '.join(sorted(clips))}": np.concatenate(list(clips.values()), 1)}
        for name, x_NF in wanted.items():
            if name not in self._said:
                self._said[name] = self._by_folds(x_NF, data.targets_N, len(data.classes), parts)
        row_of = {key: row for row, key in enumerate(data.keys)}
        rows = [row_of[key] for key in keys]
        said = {f"linear, {name}" if name in clips else CONCAT: self._said[name] for name in wanted}
        said[LATE] = np.mean([self._said[name] for name in clips], axis=0)
        return {name: (said_NK.argmax(1) == data.targets_N)[rows] for name, said_NK in said.items()}

    def _by_folds(self, x_NF: np.ndarray, labels_N: np.ndarray, num_classes: int, parts: Sequence[Any]) -> np.ndarray:
        """Return the out-of-fold probabilities [N, K]."""
        said_NK = np.zeros((len(labels_N), num_classes))
        for part in parts:
            learnt = np.concatenate([part.train_rows, part.val_rows]) if self.validation else part.train_rows
            said_NK[part.test_rows] = linear_probabilities(
                x_NF, labels_N, num_classes, learnt, part.test_rows, self.iterations
            )
        return said_NK


def linear_probabilities(
    x_NF: np.ndarray, labels_N: np.ndarray, num_classes: int, train_rows: np.ndarray, rows: np.ndarray, iterations: int
) -> np.ndarray:
    """Return what a logistic regression on standardised features says of rows [R, K]; 0 for classes it never saw.

    One that has not converged within the iterations is used as it is.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=iterations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x_NF[train_rows], labels_N[train_rows])
    said_RC = model.predict_proba(x_NF[rows])
    said_RK = np.zeros((len(said_RC), num_classes))
    said_RK[:, model.classes_] = said_RC
    return said_RK


def read_clips(data: TrainingSet) -> dict[str, np.ndarray]:
    """Return every input as one row per clip: of a sequence the means of its ordered segments, side by side."""
    import torch

    from mmpipe.fusion.preprocess import pool_segments
    from mmpipe.types import FeatureKind

    segments = {s.feature: SEGMENTS if s.kind is FeatureKind.SEQUENCE else 1 for s in data.schemas}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in segments}
    for start in range(0, len(data.keys), READ_CLIPS):
        batch = data.reader.gather(data.reader_rows_N[start : start + READ_CLIPS])
        for name, kept in rows.items():
            part = batch.features[name]
            x_BTD, mask_BT = torch.from_numpy(part.x_BTD.astype(np.float32)), torch.from_numpy(part.mask_BT.copy())
            kept.append(pool_segments(x_BTD, mask_BT, segments[name]).flatten(1).numpy())
    return {name: np.concatenate(kept) for name, kept in rows.items()}


# --------------------------------------------------------------------------- differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How many points one has over another, with the interval of a paired bootstrap by group."""

    first: str
    second: str
    seed: int | None  # None: the mean over seeds, clip by clip
    points: float
    low: float
    high: float


def compare(
    trials: Sequence[Trial], linear: Mapping[str, np.ndarray], others: Sequence[str], draws: int
) -> list[Difference]:
    """Return what is released, and every fused model, minus the strongest single modality and some linear models.

    Where a seed releases nothing there is no difference of what is released.
    """
    found: list[Difference] = []
    for first in ("released", *trials[0].fused):
        for second in ("strongest single", *others):
            gains = [gain_N for trial in trials if (gain_N := _gain(trial, first, second, linear)) is not None]
            if len(gains) < len(trials):
                continue
            for trial, gain_N in zip(trials, gains, strict=True):
                found.append(difference(first, second, trial.seed, gain_N, trial.groups, draws))
            found.append(difference(first, second, None, np.mean(gains, axis=0), trials[0].groups, draws))
    return found


def _gain(trial: Trial, first: str, second: str, linear: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return what the first has over the second, clip by clip; None where nothing is released."""
    name = trial.released if first == "released" else first
    if name not in trial.correct:
        return None
    other_N = trial.correct[trial.strongest_single] if second == "strongest single" else linear[second]
    return trial.correct[name].astype(float) - other_N.astype(float)


def difference(
    first: str, second: str, seed: int | None, gain_N: np.ndarray, groups: Sequence[str], draws: int
) -> Difference:
    """Return the mean gain in points, with the central 95 % of its resamples by group."""
    _, group_N = np.unique(np.array(groups), return_inverse=True)
    sums_G, counts_G = np.bincount(group_N, gain_N), np.bincount(group_N)
    weights_DG = np.random.default_rng(0).multinomial(len(counts_G), np.full(len(counts_G), 1 / len(counts_G)), draws)
    drawn_D = 100 * (weights_DG @ sums_G) / (weights_DG @ counts_G)
    low, high = np.quantile(drawn_D, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(
        first=first, second=second, seed=seed, points=100 * float(gain_N.mean()), low=float(low), high=float(high)
    )


# --------------------------------------------------------------------------- what is told


def case_table(
    trials: Sequence[Trial], linear: Mapping[str, np.ndarray], differences: Sequence[Difference]
) -> dict[str, Any]:
    """Return all that was measured of a case as plain JSON values, in percent and points."""
    percent = {name: [100 * float(trial.correct[name].mean()) for trial in trials] for name in trials[0].correct}
    return {
        "clips": len(trials[0].keys),
        "groups": len(set(trials[0].groups)),
        "contenders": [
            {
                "name": name,
                "kind": "fused" if name in trials[0].fused else "single",
                "accuracy": float(np.mean(values)),
                "by_seed": values,
            }
            for name, values in percent.items()
        ],
        "linear": {name: 100 * float(correct_N.mean()) for name, correct_N in linear.items()},
        "differences": [
            {"first": d.first, "second": d.second, "seed": d.seed, "points": d.points, "low": d.low, "high": d.high}
            for d in differences
        ],
        "gate": [
            {
                "seed": trial.seed,
                "status": trial.status,
                "judged": trial.judged,
                "released": trial.released,
                "sentence": trial.sentence,
            }
            for trial in trials
        ],
    }


def worst(differences: Sequence[Difference], second: str, end: str) -> float | None:
    """Return the smallest lower or upper end over seeds of what is released minus another; None if nothing is."""
    ends = [getattr(d, end) for d in differences if (d.first, d.second) == ("released", second) and d.seed is not None]
    return min(ends, default=None)


def print_case(name: str, case: Mapping[str, Any]) -> None:
    """Print a case for a person."""
    print(f"\n{name}: {case['clips']} clips of {case['groups']} groups, accuracy in %")
    for row in case["contenders"]:
        seeds = " ".join(f"{value:.2f}" for value in row["by_seed"])
        print(f"  {row['name']:32s}{row['kind']:8s}{row['accuracy']:7.2f}   seeds {seeds}")
    for label, value in case["linear"].items():
        print(f"  {label:40s}{value:7.2f}")
    print("  in points, with 95 % over groups")
    for row in case["differences"]:
        seed = "all seeds" if row["seed"] is None else f"seed {row['seed']}"
        interval = f"[{row['low']:+.2f}, {row['high']:+.2f}]"
        print(f"  {row['first']} - {row['second']}, {seed}".ljust(64) + f"{row['points']:+7.2f} {interval}")
    for row in case["gate"]:
        print(f"  gate, seed {row['seed']}: {row['status']}; released: {row['released']}. {row['sentence']}")


def print_goals(result: Mapping[str, Any]) -> None:
    """Print what was aimed at, and what came of it."""
    print("\nfigures and goals")
    for name, value in result["ratios"].items():
        goal, met = result["goals"][name], {True: "met", False: "NOT MET", None: "no figure"}[result["met"][name]]
        shown = "-" if value is None else f"{value:+.2f}"
        print(f"  {name:58s}{shown:>8s}   goal >= {goal:g}: {met}")
