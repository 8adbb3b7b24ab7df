"""The one typed config tree: `mmpipe.toml`, the command line and the flows' parameters share it.

Every table is frozen and refuses unknown keys. Environment variables override the file:
`MMPIPE_STORE`, `MMPIPE_ENGINE__WORKERS`, ... (two underscores go one table down).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, JsonValue, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from mmpipe.config.corpora import CorpusConfig
from mmpipe.config.gate import EvaluateConfig, GateConfig
from mmpipe.config.models import ModelConfig
from mmpipe.config.release import ReleaseConfig
from mmpipe.config.search import SearchConfig
from mmpipe.config.store import EngineConfig, RetentionConfig
from mmpipe.config.table import Name, Place
from mmpipe.config.watch import STDERR, WatchConfig, is_url
from mmpipe.errors import ConfigError
from mmpipe.remote import RemotePath

_Value = TypeVar("_Value")
CONFIG_NAME = "mmpipe.toml"
_FILES_OF_FEATURES = ("model", "weights")  # parameters of extractors that may name a folder or file
_NO_SETTINGS = (
    *("MMPIPE_CACHE", "MMPIPE_CACHE_BYTES", "MMPIPE_CONFIG", "MMPIPE_FAULT"),
    *("MMPIPE_MLFLOW_URI", "MMPIPE_SIGN_KEY"),
    *("MMPIPE_HOME", "MMPIPE_HEAVY_POOL", "MMPIPE_DESK_URL", "MMPIPE_NOTIFY_URL", "MMPIPE_SERVICE_MARK"),
)


class Config(BaseSettings):
    """Everything that decides what a run does."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="MMPIPE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    store: Place = Field(Path("store"), description="folder of the feature store, or a URL: s3://bucket/prefix")
    timezone: str = Field("UTC", description="zone of the schedule; a partition is the scheduled date there")
    corpora: dict[Name, CorpusConfig] = Field(default_factory=dict, description="the corpora, by name")
    features: dict[Name, dict[str, JsonValue]] = Field(
        default_factory=dict,
        description="parameters per extractor; under another name with `extractor`: a feature of its own",
    )
    models: dict[Name, ModelConfig] = Field(default_factory=dict, description="the models, by name")
    gate: GateConfig = GateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    release: ReleaseConfig = ReleaseConfig()
    search: SearchConfig = SearchConfig()
    engine: EngineConfig = EngineConfig()
    retention: RetentionConfig = RetentionConfig()
    watch: WatchConfig = WatchConfig()

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
            for feature in model.inputs:
                self.corpora[model.corpus].require_rendition(feature)
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
                "root": _resolved(base, corpus.root),
                "source": corpus.source.model_copy(
                    update={"file": corpus.source.file and _resolved(base, corpus.source.file)}
                ),
                "labels": corpus.labels and corpus.labels.model_copy(update={"file": base / corpus.labels.file}),
                "text": corpus.text.resolved(base),
            }
        )
        for name, corpus in config.corpora.items()
    }
    features = {
        name: {key: _beside(base, value) if key in _FILES_OF_FEATURES else value for key, value in table.items()}
        for name, table in config.features.items()
    }
    keys = {name: base / file for name in ("sign_key", "public_key") if (file := getattr(config.release, name))}
    return config.model_copy(
        update={
            "store": _resolved(base, config.store),
            "corpora": corpora,
            "features": features,
            "release": config.release.model_copy(update=keys),
            "watch": _resolved_watch(base, config.watch),
        }
    )


def _resolved_watch(base: Path, watch: WatchConfig) -> WatchConfig:
    files = {name: getattr(watch, name) for name in ("log_file", "lineage")}
    found = {name: file for name, file in files.items() if file and file != STDERR and not is_url(file)}
    return watch.model_copy(update={name: str(base / Path(file).expanduser()) for name, file in found.items()})


def _beside(base: Path, value: JsonValue) -> JsonValue:
    """Return a path ./NAME, ../NAME or ~/NAME made absolute; a hub id, another word or an absolute path as it is."""
    if isinstance(value, str) and value.startswith(("./", "../", "~")):
        return os.path.normpath(base / Path(value).expanduser())
    return value


def _resolved(base: Path, place: Path) -> Path:
    return place if isinstance(place, RemotePath) else base / place


def explain_validation(error: ValidationError, where: str, table: type[BaseModel] | None = None) -> str:
    """Say for each fault of a table, by default of the whole config: the key, the value, and what is allowed there."""
    lines = [f"{where}: {error.error_count()} fault(s)"]
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"] if part != "[key]") or "(whole file)"
        if fault["type"] == "extra_forbidden":
            known = _known_keys(fault["loc"][:-1], table or Config)
            allowed = f"allowed here: {known}" if known else "there is nothing to set here" if table else ""
            lines.append(f"  {key} = {fault['input']!r}: unknown key" + (f"; {allowed}" if allowed else ""))
        else:
            value = "" if fault["type"] == "missing" else f" = {fault['input']!r}"
            lines.append(f"  {key}{value}: {fault_text(fault['msg'])}")
    return "\n".join(lines)


def fault_text(message: str) -> str:
    """Return what a fault says without the name of the exception that said it."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _with_environment(where: str) -> str:
    """Name what else a fault may come from."""
    names = sorted(name for name in os.environ if name.startswith("MMPIPE_") and name not in _NO_SETTINGS)
    return f"{where} with {', '.join(names)} of the environment" if names else where


def _known_keys(path: tuple[str | int, ...], top: type[BaseModel]) -> str:
    """Return the keys that the table at `path` below `top` allows."""
    table: Any = top
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
