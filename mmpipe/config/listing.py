"""Goals whose target is a list in one cell."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from mmpipe.config.table import Table


class RankLoss(StrEnum):
    """What is minimised where users are to find what they like."""

    PAIRWISE = "pairwise"  # what a user likes scores above what the user does not, among the clips of a batch
    LOGISTIC = "logistic"  # yes or no of each user, clip by clip


class MultilabelOptions(Table):
    """What can be chosen where a clip has any of several labels."""

    separator: str = Field(",", min_length=1, description="between the labels of a clip in the target's column")
    none: str = Field("none", description="what the column says of a clip that has none of the labels")


class RankOptions(Table):
    """What can be chosen where the answer is who likes a clip."""

    separator: str = Field(",", min_length=1, description="between the users who like a clip in the target's column")
    none: str = Field("none", description="what the column says of a clip that nobody likes")
    loss: RankLoss = Field(RankLoss.PAIRWISE, description="pairwise: whole orders of a batch; logistic: clip by clip")
