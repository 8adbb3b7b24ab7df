"""How a corpus is read: its files, labels, dates, clips, splits and limits."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from mmpipe.config.intake import (
    ArraysConfig,
    BankConfig,
    DamageConfig,
    DedupConfig,
    RenditionConfig,
    SignalsConfig,
    SourceConfig,
    TextConfig,
    Validation,
)
from mmpipe.config.night import NightConfig
from mmpipe.config.table import FeatureName, Name, Place, Table, split_feature


class DateRule(StrEnum):
    """Which file belongs to which date."""

    FIRST_SEEN = "first_seen"  # the date of the run that met it first; sticks
    PATH = "path"  # a pattern over the file's corpus-relative name
    COLUMN = "column"  # a column of the labels table


class DatesConfig(Table):
    """How an asset gets its partition."""

    rule: DateRule = Field(DateRule.FIRST_SEEN, description="first_seen, path, or column")
    pattern: str = Field(
        r"(?<!\d)(?P<dt>\d{4}-\d{2}-\d{2})(?!\d)",
        description="for rule=path: a regular expression with a group named dt; all that fits must say one date",
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
    split: str | None = Field(
        None,
        description="column that says train, val or test: the official split of a data set, instead of a drawn one",
    )


class ClipRule(StrEnum):
    """How an asset is cut into clips."""

    WHOLE = "whole"
    WINDOW = "window"
    CUES = "cues"
    SHOTS = "shots"  # from cut to cut of the picture
    SPEECH = "speech"  # where somebody speaks


class ClipsConfig(Table):
    """How an asset is cut into clips."""

    rule: ClipRule = Field(ClipRule.WHOLE, description="whole, window, cues, shots, or speech")
    then: ClipRule | None = Field(None, description="cut what the rule gives again: window, shots, or speech")
    length_s: float = Field(2.0, gt=0, le=3600, description="for rule=window: length of a clip in seconds")
    hop_s: float = Field(2.0, gt=0, le=3600, description="for rule=window: from start to start in seconds")
    min_length_s: float = Field(0.02, gt=0, description="shorter clips are dropped with a reason")
    max_length_s: float | None = Field(None, gt=0, le=86_400, description="longer clips are cut into equal parts")
    shot_threshold: float = Field(27.0, gt=0, description="for shots: change of colour that is a cut")
    speech_detector: Literal["energy", "silero"] = Field("energy", description="for speech: built in, or the extra")
    speech_padding_s: float = Field(0.1, ge=0, le=10, description="for speech: what is kept on each side")
    speech_pause_s: float = Field(0.3, ge=0, le=60, description="for speech: a shorter pause does not cut")


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
    array_values: int = Field(100_000_000, gt=0, description="most numbers in one array")
    archive_members: int = Field(1_000_000, gt=0, description="most members of one archive")
    archive_bytes: int = Field(64 << 30, gt=0, description="most bytes that one archive may unpack to")
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

    beside: ClassVar[frozenset[str]] = frozenset({"night", "max_age_h_of"})

    root: Place = Field(description="folder, read recursively; or a URL: s3://bucket/prefix, https://host/folder")
    labels: LabelsConfig | None = None
    dates: DatesConfig = DatesConfig()
    clips: ClipsConfig = ClipsConfig()
    split: SplitConfig = SplitConfig()
    limits: LimitsConfig = LimitsConfig()
    source: SourceConfig = SourceConfig()
    text: TextConfig = TextConfig()
    arrays: ArraysConfig = ArraysConfig()
    signals: SignalsConfig = SignalsConfig()
    validate_by: Validation = Field(Validation.PROBE, description="probe, or decode: every frame, at ingest")
    damage: DamageConfig = DamageConfig()
    dedup: DedupConfig = DedupConfig()
    filters: dict[Name, str] = Field(
        default_factory=dict,
        description="which clips are kept: expressions over the columns of `signals`, e.g. 'loudness_lufs > -50'; "
        "what does not apply to a clip leaves nothing out",
    )
    renditions: dict[Name, RenditionConfig] = Field(default_factory=dict)
    banks: dict[Name, BankConfig] = Field(default_factory=dict)
    rights: RightsConfig = RightsConfig()
    features: tuple[FeatureName, ...] | None = Field(None, description="features to make, by name; none: the defaults")
    shard_clips: int = Field(256, ge=1, le=100_000, description="clips in a shard: the unit of work and retry")
    max_age_h: float | None = Field(
        None, gt=0, description="`mmpipe status` ends with 1 where a feature's newest whole date ended longer ago"
    )
    max_age_h_of: dict[FeatureName, Annotated[float, Field(gt=0)]] = Field(
        {}, description='`max_age_h` of single features, e.g. { "audio-logmel" = 30 }'
    )
    max_quarantined: float = Field(0.2, ge=0, le=1, description="a larger share of quarantined files ends with exit 5")
    night: NightConfig = NightConfig()

    @model_validator(mode="after")
    def _rights_have_a_table(self) -> Self:
        if self.rights.columns and self.labels is None:
            raise ValueError("rights.columns names columns of the labels table: say `labels.file` too")
        return self

    @model_validator(mode="after")
    def _numbers_have_a_table(self) -> Self:
        if self.arrays.label_columns and self.labels is None:
            raise ValueError("arrays.label_columns names columns of the labels table: say `labels.file` too")
        return self

    @model_validator(mode="after")
    def _renditions_have_banks(self) -> Self:
        for name, rendition in self.renditions.items():
            if rendition.noise and rendition.noise.bank not in self.banks:
                known = sorted(self.banks) or "none"
                raise ValueError(f"renditions.{name}.noise.bank is {rendition.noise.bank!r}; the banks are: {known}")
        return self

    @model_validator(mode="after")
    def _features_have_renditions(self) -> Self:
        for name in self.features or ():
            self.require_rendition(name)
        return self

    def allowed_age_h(self, feature: str) -> float | None:
        """Return how long ago a feature's newest whole date may have ended; `feature` with its version or without."""
        return self.max_age_h_of.get(feature.partition("@")[0], self.max_age_h)

    def require_rendition(self, feature: str) -> None:
        """Refuse a feature that names a rendition which the corpus has not."""
        _, rendition = split_feature(feature)
        if rendition and rendition not in self.renditions:
            raise ValueError(f"{feature!r} reads the rendition {rendition!r}; there are: {sorted(self.renditions)}")
