"""What is measured of a trained model, and what it must show before it is released."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from mmpipe.config.table import Table


class FewGroups(StrEnum):
    """What may be published where there are too few groups for any evidence."""

    NOTHING = "nothing"
    SINGLE = "single"
    WARNED = "candidate-with-warning"


class Judged(StrEnum):
    """Which fused models are put to the gate."""

    BEST = "best"
    ALL = "all"


class GateConfig(Table):
    """What a fused model must show before it is released."""

    added: ClassVar[frozenset[str]] = frozenset({"enough_groups", "few_groups", "judge"})

    margin: float = Field(0.0, ge=0, le=1, description="the lower bound of its gain over the best single modality")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the interval of that gain")
    draws: int = Field(10_000, ge=100, description="bootstrap draws over groups")
    min_groups: int = Field(10, ge=2, description="with fewer groups the evidence is called weak, and tested by signs")
    enough_groups: int = Field(5, ge=1, description="with fewer the groups are insufficient, whatever the numbers say")
    few_groups: FewGroups = Field(
        FewGroups.NOTHING, description="what insufficient groups may publish: nothing, the single modality, or all"
    )
    judge: Judged = Field(
        Judged.BEST, description="the fused model that validation likes best, or all of them, corrected by Holm"
    )
    max_calibration_error: float = Field(0.25, ge=0, le=1, description="expected calibration error")
    min_class_recall: float = Field(0.0, ge=0, le=1, description="of the class that is found least")
    regression_margin: float = Field(0.02, ge=0, le=1, description="how far below production, or linear CCA, it may be")
    promote: bool = Field(True, description="put what passes into production at once; false waits for a person")
    shuffled_control: bool = Field(True, description="train once on shuffled labels: it must stay at chance")


class EvaluateConfig(Table):
    """What is measured of the judged model beside the gate: what its modalities bring, and where it bends."""

    max_clips: int = Field(2000, ge=1, description="most test clips that are asked again with something hidden")
    noise_levels: tuple[float, ...] = Field(
        (0.25, 0.5, 1.0, 2.0), description="deviations of Gaussian noise that is added to the values of a modality"
    )
    slices: tuple[str, ...] = Field((), description="columns of the labels table; the accuracy is told per value")
    draws: int = Field(1000, ge=100, description="bootstrap draws over groups for these figures")
