"""All figures of one model with their intervals: what the report page and the card of a version show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.measures.calibration import ReliabilityBin, RiskPoint, reliability, risk_coverage
from mmpipe.evaluate.measures.statistic import intervals

MOST_CELLS = 50_000_000  # draws times clips times classes: some seconds
LEAST_DRAWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A model on clips that it had not learnt from; every interval resamples whole groups."""

    measures: dict[str, Interval]  # by name; what is not defined on these clips is left out
    per_class: dict[str, dict[str, Interval]]  # class, label or quantity -> its own measures
    absent_classes: tuple[str, ...]  # of the schema, without a clip here
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[RiskPoint, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return asdict(self)


def measure_all(answers: Answers, *, confidence: float = 0.95, draws: int = 1000, seed: int = 0) -> Figures:
    """Return every figure of answers, those of classes best given after their temperature.

    At most `draws`: fewer, down to 100, where clips times classes are so many that it would take minutes.
    """
    cells = len(answers.keys) * max(len(answers.classes), 1)
    draws = max(min(draws, MOST_CELLS // cells), min(draws, LEAST_DRAWS))
    wanted = {"confidence": confidence, "draws": draws, "seed": seed}
    named = answers.per_name()
    every = {f"{kind} {name}": found for name, kinds in named.items() for kind, found in kinds.items()}
    scores = intervals(every, answers.groups, **wanted)  # type: ignore[arg-type]
    classes = answers if isinstance(answers, ClassAnswers) else None
    return Figures(
        measures=intervals(answers.statistics(), answers.groups, **wanted),  # type: ignore[arg-type]
        per_class={
            name: {kind: scores[key] for kind in kinds if (key := f"{kind} {name}") in scores}
            for name, kinds in named.items()
        },
        absent_classes=answers.absent(),
        reliability=reliability(classes) if classes else (),
        risk_coverage=risk_coverage(classes) if classes else (),
    )
