"""All figures of one classifier with their intervals: what the report page and the card of a version show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mmpipe.evaluate.bootstrap import Interval
from mmpipe.evaluate.measures.calibration import ReliabilityBin, RiskPoint, reliability, risk_coverage
from mmpipe.evaluate.measures.classification import absent_classes, classification, per_class
from mmpipe.evaluate.measures.statistic import intervals
from mmpipe.evaluate.predictions import Predictions

MOST_CELLS = 50_000_000  # draws times clips times classes: some seconds
LEAST_DRAWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A classifier on clips that it had not learnt from; every interval resamples whole groups."""

    measures: dict[str, Interval]  # by name; what is not defined on these clips is left out
    per_class: dict[str, dict[str, Interval]]  # class -> precision, recall, f1
    absent_classes: tuple[str, ...]  # of the schema, without a clip here
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[RiskPoint, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return asdict(self)


def measure_all(predictions: Predictions, *, confidence: float = 0.95, draws: int = 1000, seed: int = 0) -> Figures:
    """Return every figure of predictions, best given after their temperature.

    At most `draws`: fewer, down to 100, where clips times classes are so many that it would take minutes.
    """
    draws = max(min(draws, MOST_CELLS // (len(predictions.keys) * len(predictions.classes))), min(draws, LEAST_DRAWS))
    wanted = {"confidence": confidence, "draws": draws, "seed": seed}
    classes = per_class(predictions)
    every = {f"{kind} {name}": found for name, kinds in classes.items() for kind, found in kinds.items()}
    scores = intervals(every, predictions.groups, **wanted)  # type: ignore[arg-type]
    return Figures(
        measures=intervals(classification(predictions), predictions.groups, **wanted),  # type: ignore[arg-type]
        per_class={
            name: {kind: scores[key] for kind in kinds if (key := f"{kind} {name}") in scores}
            for name, kinds in classes.items()
        },
        absent_classes=absent_classes(predictions),
        reliability=reliability(predictions),
        risk_coverage=risk_coverage(predictions),
    )
