"""Whether an imputer earned its place, and every number behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mmpipe.config import Imputation
from mmpipe.train.imputation.error import CONFIDENCE, Range


@dataclass(frozen=True, slots=True, kw_only=True)
class ImputerScore:
    """How far one imputer is from held-out modalities; an error of 1 is about that of knowing nothing."""

    method: Imputation
    settings: Mapping[str, float | str]
    squared_error: Range
    absolute_error: Range
    by_feature: Mapping[str, float]  # squared error where this modality is guessed


@dataclass(frozen=True, slots=True, kw_only=True)
class ImputationReport:
    """The imputer that was asked for beside the simpler ones, all on the same clips that none learnt from."""

    wanted: Imputation
    kept: bool
    reason: str  # one sentence
    num_clips: int
    num_groups: int
    scores: tuple[ImputerScore, ...]
    gains: Mapping[str, Range]  # method -> its squared error less that of the wanted one, by the same draws of groups

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {**asdict(self), "confidence": CONFIDENCE}
