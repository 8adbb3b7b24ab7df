"""The one typed config tree: `mmpipe.toml`, the command line and the flows' parameters share it.

Every table is frozen and refuses unknown keys. Environment variables override the file:
`MMPIPE_STORE`, `MMPIPE_ENGINE__WORKERS`, ... (two underscores go one table down).
"""

from __future__ import annotations

import os
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from mmpipe.errors import ConfigError

_Value = TypeVar("_Value")
CONFIG_NAME = "mmpipe.toml"
_NO_SETTINGS = ("MMPIPE_CONFIG", "MMPIPE_FAULT")
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Table(BaseModel):
    """A frozen config table that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --------------------------------------------------------------------------- corpora


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

    val: float = Field(0.15, ge=0, lt=1)
    test: float = Field(0.2, ge=0, lt=1)
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
    channels: int = Field(64, gt=0)
    sample_rate_hz: int = Field(768_000, gt=0)
    min_sample_rate_hz: int = Field(1_000, gt=0)
    streams: int = Field(64, gt=0)
    seconds_per_asset: float = Field(60, gt=0, description="wall time for one asset; a worker past it is killed")
    memory_bytes: int = Field(2 << 30, gt=0, description="resident memory of a worker; past it the worker is killed")


class CorpusConfig(Table):
    """A named source of raw files."""

    root: Path = Field(description="folder, read recursively")
    labels: LabelsConfig | None = None
    dates: DatesConfig = DatesConfig()
    clips: ClipsConfig = ClipsConfig()
    split: SplitConfig = SplitConfig()
    limits: LimitsConfig = LimitsConfig()
    features: tuple[Name, ...] | None = Field(None, description="extractors to run; none: the defaults")
    shard_clips: int = Field(256, ge=1, le=100_000, description="clips in a shard: the unit of work and retry")
    max_quarantined: float = Field(0.2, ge=0, le=1, description="a larger share of quarantined files ends with exit 5")


# --------------------------------------------------------------------------- models


class OptimizerName(StrEnum):
    """Which optimiser trains."""

    ADAMW = "adamw"
    SGD = "sgd"


class TrainConfig(Table):
    """How one network is trained."""

    optimizer: OptimizerName = OptimizerName.ADAMW
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="for sgd")
    epochs: int = Field(60, ge=1)
    batch_clips: int = Field(64, ge=1)
    patience_epochs: int = Field(12, ge=1, description="stop after so many epochs without a better validation loss")
    dropout: float = Field(0.1, ge=0, lt=1)
    modality_dropout: float = Field(0.0, ge=0, lt=1, description="chance to hide a modality of a training clip")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    clip_norm: float = Field(5.0, gt=0, description="largest gradient norm")
    unimodal_weight: float = Field(0.2, ge=0, description="weight of the per-modality losses of a fused model")
    checkpoint_every_epochs: int = Field(5, ge=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)


class EncoderConfig(Table):
    """What stands between a stored feature and its fusion."""

    segments: int = Field(5, ge=1, le=64, description="a sequence is averaged over so many ordered segments")
    components: int = Field(128, ge=0, description="principal components kept per modality; 0 keeps all")
    width: int = Field(64, ge=2, description="size of a modality's embedding")
    hidden_layers: int = Field(0, ge=0, le=4, description="0 is a linear encoder")


class ModelConfig(Table):
    """A family of candidates for one question; the gate releases at most one of them."""

    corpus: Name
    target: str = Field(description="a column of the labels table, or `cue` for the text of the cue")
    inputs: tuple[Name, ...] = Field(min_length=1, description="extractors that the model reads")
    fusions: tuple[str, ...] = Field(("early_weighted", "concat", "late_weighted", "transformer"))
    encoder: EncoderConfig = EncoderConfig()
    train: TrainConfig = TrainConfig()
    folds: int = Field(0, ge=0, le=100, description="0: the fixed split; k >= 2: every clip is tested once, by group")

    @field_validator("folds")
    @classmethod
    def _one_fold_is_none(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("folds must be 0 (the fixed split) or at least 2")
        return folds


class GateConfig(Table):
    """What a fused model must show before it is released."""

    margin: float = Field(0.0, ge=0, le=1, description="the lower bound of its gain over the best single modality")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    draws: int = Field(10_000, ge=100, description="bootstrap draws over groups")
    min_groups: int = Field(10, ge=2, description="with fewer groups the evidence is called weak, and tested by signs")
    max_calibration_error: float = Field(0.25, ge=0, le=1, description="expected calibration error")
    min_class_recall: float = Field(0.0, ge=0, le=1)
    regression_margin: float = Field(0.02, ge=0, le=1, description="how far below production a candidate may fall")
    promote: bool = Field(True, description="put what passes into production at once; false waits for a person")
    shuffled_control: bool = Field(True, description="train once on shuffled labels: it must stay at chance")


class EngineConfig(Table):
    """Who does the work on shards."""

    workers: int = Field(0, ge=0, le=256, description="worker processes; 0: one per core")


# --------------------------------------------------------------------------- the tree


class Config(BaseSettings):
    """Everything that decides what a run does."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="MMPIPE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    store: Path = Field(Path("store"), description="folder of the feature store")
    timezone: str = Field("UTC", description="zone of the schedule; a partition is the scheduled date there")
    corpora: dict[Name, CorpusConfig] = Field(default_factory=dict)
    features: dict[Name, dict[str, JsonValue]] = Field(default_factory=dict, description="parameters per extractor")
    models: dict[Name, ModelConfig] = Field(default_factory=dict)
    gate: GateConfig = GateConfig()
    engine: EngineConfig = EngineConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return env_settings, init_settings

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {timezone!r}; use a name like Europe/Berlin") from error
        return timezone

    @model_validator(mode="after")
    def _models_name_known_corpora(self) -> Self:
        for name, model in self.models.items():
            if model.corpus not in self.corpora:
                raise ValueError(f"models.{name}.corpus is {model.corpus!r}, known are: {sorted(self.corpora)}")
        return self

    def corpus(self, name: str | None) -> tuple[str, CorpusConfig]:
        """Return a corpus by name, or the only one."""
        return _pick("corpus", self.corpora, name)

    def model(self, name: str | None) -> tuple[str, ModelConfig]:
        """Return a model by name, or the only one."""
        return _pick("model", self.models, name)


def load_config(path: Path | None = None) -> Config:
    """Read `mmpipe.toml`; relative paths in it are relative to it. Raise ConfigError that names the key."""
    path = path or Path(CONFIG_NAME)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no config at {path}. Write one with: mmpipe init --corpus FOLDER") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return resolve_paths(parse_config(table, where=str(path)), path.resolve().parent)


def parse_config(table: dict[str, Any], where: str = "config") -> Config:
    """Validate a config given as a plain table; the error names the key, the value and what is allowed."""
    try:
        return Config(**table)
    except ValidationError as error:
        raise ConfigError(explain_validation(error, _with_environment(where))) from error
    except SettingsError as error:
        raise ConfigError(f"{_with_environment(where)}: {error}; a whole table is written as JSON there") from error


def resolve_paths(config: Config, base: Path) -> Config:
    """Return the config with every relative path made absolute from `base`."""
    corpora = {
        name: corpus.model_copy(
            update={
                "root": base / corpus.root,
                "labels": corpus.labels and corpus.labels.model_copy(update={"file": base / corpus.labels.file}),
            }
        )
        for name, corpus in config.corpora.items()
    }
    return config.model_copy(update={"store": base / config.store, "corpora": corpora})


def explain_validation(error: ValidationError, where: str) -> str:
    """Say for each fault of a config: the key, the value, and what is allowed there."""
    lines = [f"{where}: {error.error_count()} fault(s)"]
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"] if part != "[key]") or "(whole file)"
        if fault["type"] == "extra_forbidden":
            known = _known_keys(fault["loc"][:-1])
            lines.append(f"  {key} = {fault['input']!r}: unknown key" + (f"; allowed here: {known}" if known else ""))
        else:
            value = "" if fault["type"] == "missing" else f" = {fault['input']!r}"
            lines.append(f"  {key}{value}: {fault['msg']}")
    return "\n".join(lines)


def _with_environment(where: str) -> str:
    """Name what else a fault may come from."""
    names = sorted(name for name in os.environ if name.startswith("MMPIPE_") and name not in _NO_SETTINGS)
    return f"{where} with {', '.join(names)} of the environment" if names else where


def _known_keys(path: tuple[str | int, ...]) -> str:
    """Return the keys that the table at `path` allows."""
    table: Any = Config
    steps = list(path)
    while steps:
        step = steps.pop(0)
        if step in ("corpora", "models") and table is Config:
            table = CorpusConfig if step == "corpora" else ModelConfig
            if steps:
                steps.pop(0)
            continue
        field = table.model_fields.get(str(step))
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        table = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if table is None:
            return ""
    return ", ".join(sorted(table.model_fields))


def _pick(noun: str, known: dict[str, _Value], name: str | None) -> tuple[str, _Value]:
    if name is None:
        if len(known) == 1:
            return next(iter(known.items()))
        table = "corpora" if noun == "corpus" else "models"
        if not known:
            raise ConfigError(f"the config has no {noun}. Add a table [{table}.NAME], or see: mmpipe init --help")
        raise ConfigError(f"the config has {len(known)} {table}: {', '.join(sorted(known))}. Name one with --{noun}.")
    if name not in known:
        raise ConfigError(f"no {noun} named {name!r} in the config; known are: {sorted(known)}")
    return name, known[name]
