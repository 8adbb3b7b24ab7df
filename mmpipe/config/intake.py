"""What ingest makes of raw files beyond reading them: sources, texts, arrays, signals, twins, renditions."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from mmpipe.config.table import Name, Place, Table


class SourceKind(StrEnum):
    """In what form a corpus comes."""

    FOLDER = "folder"  # files below `root`, joined by stem
    TARS = "tars"  # WebDataset tars below `root`: members are joined by key
    TABLE = "table"  # a jsonl, csv or parquet table with one row per asset, that names files or holds texts
    PLUGIN = "plugin"  # what another package gives: objects by name, whatever holds them


class SourceConfig(Table):
    """In what form a corpus comes; what is not a local folder is mirrored into one first."""

    added: ClassVar[frozenset[str]] = frozenset({"plugin", "options"})

    kind: SourceKind = Field(SourceKind.FOLDER, description="folder, tars, table, or plugin")
    pattern: str = Field(
        "**/*.tar", description="for kind=tars: which files below root are read; also *.tar.gz, *.tgz, *.tar.zst"
    )
    file: Place | None = Field(None, description="for kind=table: the table, a file or a URL")
    key: str = Field("id", description="for kind=table: column that names the asset")
    columns: dict[Name, str] = Field(
        default_factory=dict,
        description="for kind=table: role to column, e.g. {video = 'path', text = 'caption'}",
    )
    plugin: Name | None = Field(None, description="for kind=plugin: the source of an installed package, by its name")
    options: dict[str, Any] = Field(default_factory=dict, description="for kind=plugin: what that source takes")

    @model_validator(mode="after")
    def _a_table_is_named(self) -> Self:
        if (self.kind is SourceKind.TABLE) != (self.file is not None):
            raise ValueError("kind = 'table' needs `file`, and no other kind has one")
        if self.kind is SourceKind.TABLE and not self.columns:
            raise ValueError("kind = 'table' needs `columns`, e.g. {video = 'path', text = 'caption'}")
        return self

    @model_validator(mode="after")
    def _a_plugin_is_named(self) -> Self:
        if (self.kind is SourceKind.PLUGIN) != (self.plugin is not None):
            raise ValueError("kind = 'plugin' needs `plugin`, the name of an installed source; no other kind has one")
        if self.options and self.plugin is None:
            raise ValueError("`options` are those of a source that `plugin` names")
        return self


class SpeechModelConfig(Table):
    """A speech recogniser of transformers, for recordings without a text."""

    model: str = Field(description="hub id, or a folder: ./NAME beside the config, or an absolute path")
    revision: str | None = Field(None, description="40 hex digits; required for a hub id")
    language: str = Field("", description="language code that the model is told, where it takes one")
    word_times: bool = Field(True, description="ask for the time of each word: they become cues")
    offline: bool = Field(True, description="never ask the hub; false: download what is missing")

    @model_validator(mode="after")
    def _a_hub_id_has_a_revision(self) -> Self:
        if self.is_hub_id and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise ValueError(
                f"{self.model!r} is an id of the hub: `revision` must be the 40 hex digits of its commit. "
                f"A local folder is written './{self.model}'"
            )
        return self

    @property
    def is_hub_id(self) -> bool:
        """Return whether the model is named as the hub does: owner/name."""
        return re.fullmatch(r"\w[\w.-]*/[\w.-]+", self.model) is not None


class TextConfig(Table):
    """Where the text of an asset comes from: the first of `sources` that has one."""

    sources: tuple[str, ...] = Field(("sidecar",), description="in this order: sidecar, column:NAME, asr")
    fields: tuple[str, ...] = Field(
        (), description="which columns of .csv, and keys of .json and .jsonl sidecars hold the text; none: text"
    )
    repair: bool = Field(True, description="repair text that was decoded wrongly once before (ftfy)")
    stop_words: str = Field("", description="language whose stop-words are left out of the clips' texts; none: keep")
    asr: SpeechModelConfig | None = None

    @field_validator("sources")
    @classmethod
    def _sources_are_known(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if source not in ("sidecar", "asr") and not re.fullmatch("column:[^;]+", source):
                raise ValueError(f"{source!r} is no source of text; there are: sidecar, column:NAME, asr")
        return sources

    @model_validator(mode="after")
    def _asr_has_a_model(self) -> Self:
        if ("asr" in self.sources) != (self.asr is not None):
            raise ValueError("`asr` among the sources needs a table [..text.asr] with a model, and the other way round")
        return self

    def resolved(self, base: Path) -> Self:
        """Return the settings with the folder of a speech model made absolute from `base`."""
        if self.asr is None or self.asr.is_hub_id:
            return self
        folder = base / Path(self.asr.model).expanduser()
        return self.model_copy(update={"asr": self.asr.model_copy(update={"model": str(folder)})})


class ArraysConfig(Table):
    """Which files are arrays of numbers, and how they are read; columns of an npy file are called 0, 1, 2, ..."""

    suffixes: tuple[Literal["npy", "csv", "parquet"], ...] = Field(
        (), description="which files are arrays: npy, csv, parquet; none: none are"
    )
    time_column: str = Field("", description="column with times in seconds from the asset's start")
    rate_hz: float | None = Field(
        None, gt=0, description="rows per second; with neither, all rows belong to every clip of the asset"
    )
    columns: tuple[str, ...] = Field((), description="columns that are read; none: all that hold numbers")
    label_columns: tuple[str, ...] = Field((), description="columns of the labels table that are the asset's numbers")

    @model_validator(mode="after")
    def _one_clock_and_one_place(self) -> Self:
        if self.time_column and self.rate_hz:
            raise ValueError("rows have times by `time_column` or by `rate_hz`, not by both")
        if self.suffixes and self.label_columns:
            raise ValueError("an asset has one array: from a file (`suffixes`), or from the labels (`label_columns`)")
        if not self.suffixes and (self.time_column or self.rate_hz or self.columns):
            raise ValueError("no file is an array: say `suffixes`, e.g. ['npy']")
        if len(set(self.columns)) < len(self.columns) or len(set(self.label_columns)) < len(self.label_columns):
            raise ValueError("a column is named twice")
        return self

    @property
    def are_wanted(self) -> bool:
        """Return whether assets of the corpus may have arrays."""
        return bool(self.suffixes or self.label_columns)


class SignalsConfig(Table):
    """Whether every asset is decoded once at ingest, for quality signals, strict checks and content-aware cuts."""

    enabled: bool = Field(False, description="write the dataset `signals`: one row per clip")


class DedupConfig(Table):
    """Which near twins are dropped; exact ones always are."""

    near: bool = Field(False, description="compare pictures, sound and text with all that is kept")
    image_bits: int = Field(6, ge=0, le=16, description="pictures and frames alike differ in no more of 64 bits")
    video_share: float = Field(0.8, gt=0, le=1, description="share of a video's frames that must be alike")
    audio_share: float = Field(0.7, gt=0, le=1, description="share of the longer sound that both must hold")
    text_jaccard: float = Field(0.85, gt=0, le=1, description="overlap of shingles; texts count only without media")


class Modulation(StrEnum):
    """What a rendition is made from."""

    AUDIO = "audio"
    VIDEO = "video"
    IMAGE = "image"


class NoiseConfig(Table):
    """Babble from a bank, mixed in at a level."""

    bank: Name = Field(description="name of a bank of this corpus")
    snr_db: float = Field(ge=-40, le=80, description="level of the sound over the noise, in dB")


class DegradeConfig(Table):
    """What is done to pictures."""

    blur_px: float = Field(0.0, ge=0, le=100, description="deviation of a Gaussian blur, at frames 100 px wide")
    block_share: float = Field(0.0, ge=0, le=1, description="share of the picture that gray blocks cover")


class RenditionConfig(Table):
    """A named way to prepare a modality before extraction; `audio-logmel.NAME` is a feature of its own."""

    modality: Modulation = Field(description="whose media are prepared: audio, video, or image")
    filters: tuple[str, ...] = Field(
        (), description="FFmpeg filters in order, as FFmpeg writes them, e.g. 'afftdn=nr=12' or 'volume=-6dB'"
    )
    noise: NoiseConfig | None = None
    degrade: DegradeConfig | None = None
    seed: int = Field(0, ge=0, description="for noise and blocks: another one places them otherwise")

    @model_validator(mode="after")
    def _something_is_done(self) -> Self:
        if not self.filters and not self.noise and not self.degrade:
            raise ValueError("a rendition needs `filters`, `noise` or `degrade`")
        if self.noise and self.modality is not Modulation.AUDIO:
            raise ValueError("`noise` is for modality = 'audio'")
        if self.degrade and self.modality is Modulation.AUDIO:
            raise ValueError("`degrade` is for modality = 'video' or 'image'")
        if self.filters and self.modality is Modulation.IMAGE:
            raise ValueError("`filters` are for modality = 'audio' or 'video'; pictures have `degrade`")
        return self


class BankConfig(Table):
    """Noise frozen from the corpus's own train clips: babble of several voices."""

    clips: int = Field(64, ge=1, le=10_000, description="train clips that are mixed")
    voices: int = Field(8, ge=1, le=100, description="clips that sound at once")
    length_s: float = Field(30.0, gt=0, le=600, description="length of the babble, and most that is taken of a clip")
    sample_rate_hz: int = Field(16_000, ge=4_000, le=48_000, description="rate at which the clips are kept")
    seed: int = Field(0, ge=0, description="another one draws other clips")


class Validation(StrEnum):
    """How strictly a file is looked at before it is taken in."""

    PROBE = "probe"  # headers and packets; the extraction's decoding is the strict check
    DECODE = "decode"  # every frame is decoded at ingest


class DamageConfig(Table):
    """What becomes of media that can be decoded only in part."""

    keep: bool = Field(True, description="keep damaged media that are long enough, and mark them")
    min_share: float = Field(0.98, gt=0, le=1, description="share of the declared duration that must be decodable")

    @property
    def max_missing(self) -> float:
        """Return the share of the declared duration that may be broken."""
        return 1 - self.min_share if self.keep else 0.0
