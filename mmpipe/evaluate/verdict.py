"""What goes into the gate, and what comes out of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.interval import Interval
from mmpipe.evaluate.leaks import Leak
from mmpipe.evaluate.significance import GroupTest, McNemar

NOTHING = "nothing"


class Status(StrEnum):
    """What an evaluated version may become."""

    CANDIDATE = "candidate"
    REFUSED = "refused"
    INSUFFICIENT = "insufficient groups"  # too few for any evidence, whatever the numbers say


class Evidence(StrEnum):
    """How much a difference over this many groups can say."""

    STRONG = "strong"
    WEAK = "weak"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A trained network with what it said about clips it never learnt from."""

    name: str  # "early_weighted", or the one feature that it reads
    fused: bool  # False: it reads a single modality
    validation_scores: tuple[float, ...]  # what the goal is measured by, on the validation part, one per fold
    predictions: Answers  # out-of-fold or test, at temperature 1
    temperature: float = 1.0  # of classes, fitted on validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far the exported graph strays from the network it was exported from."""

    max_difference: float  # largest absolute difference of an answer
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """One condition of a release: `value` was measured, `limit` is what it had to keep."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str  # one sentence for a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one candidate fared: validation chooses, the test only measures."""

    name: str
    fused: bool
    chosen: bool  # the best of its kind by validation
    validation_score: float
    measure: str  # what `worth` is of; more is better
    worth: Interval
    macro_f1: Interval | None  # this and what follows: of classes alone
    calibration_before: float | None
    calibration_after: float | None
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What the judged model has over its reference on the same clips."""

    reference: str
    worth: Interval
    macro_f1: Interval | None  # of classes alone
    groups: GroupTest
    mcnemar: McNemar | None  # of classes alone: reported, never decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One of several fused models that were put to the gate together."""

    name: str
    gain: Interval  # over the best single modality
    p: float  # of the gain over groups, two-sided
    corrected_p: float  # by Holm, for all of them
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the judged model may be released, why, and every number behind it."""

    status: Status
    judged: str  # the fused model that validation chose; the single modality where nothing is fused
    best_single: str
    offered: str  # what may be used: the judged model, the best single modality, or "nothing"
    evidence: Evidence
    sentence: str
    checks: tuple[GateCheck, ...]
    not_checked: tuple[str, ...]  # what could not be asked, and why
    gain: Gain
    standings: tuple[Standing, ...]
    leaks: tuple[Leak, ...]
    tested: tuple[Tested, ...] = ()  # where `gate.judge` is "all"
    notes: tuple[str, ...] = ()  # what was looked at and decides nothing
    measure: str = "accuracy"  # what `worth` is of; more is better

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values."""
        return asdict(self)
