"""How a corpus is read: its files, labels, dates, clips, splits and limits."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from mmpipe.config.table import Name, Table


class DateRule(StrEnum):
    """Which file belongs to which date."""

    FIRST_SEEN = "first_seen"  # the date of the run that met it first; sticks
    PATH = "path"  # a pattern over the file's corpus-relative name
    COLUMN = "column"  # a column of the labels table


class DatesConfig(Table):
    """How an asset gets its partition."""

    rule: DateRule = Field(DateRule.FIRST_SEEN, description="first_seen, path, or column")
    pattern: str = Field(
        r"(?P<dt>\d{4}-\d{2}-\d{2})", description="for rule=path: a regular expression with a group named dt"
    )
    column: str = Field("dt", description="for rule=column: the labels column that holds the date, YYYY-MM-DD")

    @field_validator("pattern")
    @classmethod
    def _pattern_names_the_date(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if "dt" not in groups:
            raise ValueError("the pattern needs a group named dt, as in (?P<dt>\\d{4}-\\d{2}-\\d{2})")
        return pattern


class LabelsConfig(Table):
    """A table with one row per asset (or per caption of it)."""

    file: Path = Field(description="jsonl, csv or parquet")
    key: str = Field("id", description="column that holds the asset's stem, or its corpus-relative name")
    group: str | None = Field(None, description="column whose values must not be shared between splits, e.g. speaker")


class ClipRule(StrEnum):
    """How an asset is cut into clips."""

    WHOLE = "whole"
    WINDOW = "window"
    CUES = "cues"


class ClipsConfig(Table):
    """How an asset is cut into clips."""

    rule: ClipRule = Field(ClipRule.WHOLE, description="whole, window, or cues")
    length_s: float = Field(2.0, gt=0, le=3600, description="for rule=window: length of a clip in seconds")
    hop_s: float = Field(2.0, gt=0, le=3600, description="for rule=window: from start to start in seconds")
    min_length_s: float = Field(0.02, gt=0, description="shorter clips are dropped with a reason")


class SplitConfig(Table):
    """Shares of the splits; a clip's split is a hash of its group, so that it never moves."""

    val: float = Field(0.15, ge=0, lt=1, description="share that training stops by")
    test: float = Field(0.2, ge=0, lt=1, description="share that the gate judges by")
    salt: str = Field("", description="change it to draw another split")

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test must leave something to train on, got {self.val} + {self.test}")
        return self


class LimitsConfig(Table):
    """What one raw file may cost; beyond it the file is quarantined, not tried."""

    file_bytes: int = Field(8 << 30, gt=0, description="largest file")
    text_bytes: int = Field(4 << 20, gt=0, description="largest text file")
    pixels: int = Field(33_177_600, gt=0, description="largest picture, width x height")
    duration_s: float = Field(4 * 3600, gt=0, description="longest stream")
    frames: int = Field(1_000_000, gt=0, description="most frames decoded from one asset")
    channels: int = Field(64, gt=0, description="most channels of a sound track")
    sample_rate_hz: int = Field(768_000, gt=0, description="highest sample rate of a sound track")
    min_sample_rate_hz: int = Field(1_000, gt=0, description="lowest sample rate of a sound track")
    streams: int = Field(64, gt=0, description="most tracks in a file")
    seconds_per_asset: float = Field(60, gt=0, description="wall time for one asset; a worker past it is killed")
    memory_bytes: int = Field(2 << 30, gt=0, description="resident memory of a worker; past it the worker is killed")


RightsName = Literal["owner", "contact", "licence", "pii", "consent"]


class RightsConfig(Table):
    """Whose a corpus is, for its assets, cards and exports; it changes no value."""

    owner: str = Field("", description="person or team")
    contact: str = Field("", description="where to ask, e.g. an address")
    licence: str = Field("", description="of the raw files and what is made from them, e.g. CC-BY-4.0")
    pii: Literal["yes", "no", "unknown"] = Field("unknown", description="personal data in the raw files")
    consent: str = Field("", description="on what ground personal data are used")
    columns: dict[RightsName, str] = Field(
        {}, description="columns of the labels table that say it per asset, e.g. licence = 'license'"
    )


class CorpusConfig(Table):
    """A named source of raw files."""

    root: Path = Field(description="folder, read recursively")
    labels: LabelsConfig | None = None
    dates: DatesConfig = DatesConfig()
    clips: ClipsConfig = ClipsConfig()
    split: SplitConfig = SplitConfig()
    limits: LimitsConfig = LimitsConfig()
    rights: RightsConfig = RightsConfig()
    features: tuple[Name, ...] | None = Field(None, description="features to make, by name; none: the defaults")
    shard_clips: int = Field(256, ge=1, le=100_000, description="clips in a shard: the unit of work and retry")
    max_age_h: float | None = Field(
        None, gt=0, description="`mmpipe status` ends with 1 where a feature's newest whole date ended longer ago"
    )
    max_quarantined: float = Field(0.2, ge=0, le=1, description="a larger share of quarantined files ends with exit 5")

    @model_validator(mode="after")
    def _rights_have_a_table(self) -> Self:
        if self.rights.columns and self.labels is None:
            raise ValueError("rights.columns names columns of the labels table: say `labels.file` too")
        return self
