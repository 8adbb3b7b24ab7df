"""Who competes for a release, and what each of them said about clips it never learnt from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.config import Goal, ModelConfig
from mmpipe.config.retrieving import RetrieveOptions, sides_of
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.base import Answers, join
from mmpipe.evaluate.answers.files import from_parquet, to_parquet
from mmpipe.io import make_directory, replace_bytes
from mmpipe.types import FeatureSchema

UNIMODAL = "unimodal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One network to train: a fusion over all inputs, or a single input alone."""

    name: str  # the fusion, or the one feature
    fusion: str
    inputs: tuple[FeatureSchema, ...]

    @property
    def fused(self) -> bool:
        """Say whether it reads more than one modality."""
        return self.fusion != UNIMODAL


def list_contenders(model: ModelConfig, schemas: Sequence[FeatureSchema]) -> tuple[Contender, ...]:
    """Return each input alone, then every fusion; with one input there is nothing to fuse."""
    if model.goal is Goal.RETRIEVE:
        return _searching(model, schemas)
    singles = tuple(Contender(name=schema.feature, fusion=UNIMODAL, inputs=(schema,)) for schema in schemas)
    if len(schemas) < 2:
        return singles
    return singles + tuple(Contender(name=name, fusion=name, inputs=tuple(schemas)) for name in model.fusions)


def _searching(model: ModelConfig, schemas: Sequence[FeatureSchema]) -> tuple[Contender, ...]:
    """Return each input of the side with several against the other side, then every fusion of that side."""
    try:
        sides = sides_of([schema.feature for schema in schemas], RetrieveOptions(**model.goal_options).query)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    singles = tuple(
        Contender(name=name, fusion=UNIMODAL, inputs=tuple(s for s in schemas if s.feature in (name, *sides.whole)))
        for name in sides.fused
    )
    if len(singles) < 2:
        return singles
    return singles + tuple(Contender(name=name, fusion=name, inputs=tuple(schemas)) for name in model.fusions)


def options_of(model: ModelConfig, contender: Contender) -> dict[str, Any]:
    """Return what the config says of a fusion; in tables by input, without the inputs that no labelled clip has."""
    absent = set(model.inputs) - {_unversioned(schema.feature) for schema in contender.inputs}
    return {
        option: {name: one for name, one in value.items() if _unversioned(name) not in absent}
        if isinstance(value, Mapping)
        else value
        for option, value in model.fusion_options.get(contender.fusion, {}).items()
    }


def _unversioned(feature: str) -> str:
    return feature.partition("@")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitFolder:
    """What one fit (contender, part, seed) left behind: its answers, written last, say that it is done."""

    path: Path

    @property
    def weights(self) -> Path:
        """Return where the network of the fit lies, if it was kept."""
        return self.path / "weights"

    def done(self) -> bool:
        """Say whether the fit is finished."""
        return (self.path / "test.parquet").exists()

    def write(
        self, val: Answers, test: Answers, without: Mapping[str, Answers], also: Mapping[str, Answers] | None = None
    ) -> None:
        """Keep the answers on validation and test clips, those with an input hidden, and the other answers."""
        make_directory(self.path)
        for name, answers in (also or {}).items():
            replace_bytes(self.path / f"also-{name}.parquet", to_parquet(answers))
        for feature, predictions in without.items():
            replace_bytes(self.path / f"without-{feature}.parquet", to_parquet(predictions))
        replace_bytes(self.path / "val.parquet", to_parquet(val))
        replace_bytes(self.path / "test.parquet", to_parquet(test))

    def read(self, name: str) -> Answers:
        """Return the answers of a kind: "val", "test", or "without-FEATURE"."""
        return from_parquet((self.path / f"{name}.parquet").read_bytes())

    def names(self) -> tuple[str, ...]:
        """Return the kinds of answers that there are."""
        return tuple(sorted(path.stem for path in self.path.glob("*.parquet")))


def fit_folder(checkpoint: Path, contender: str, part: int, seed: int) -> FitFolder:
    """Return where a fit keeps its answers."""
    return FitFolder(path=checkpoint / "fits" / contender / f"part-{part}-seed-{seed}")


def join_parts(folders: Iterable[FitFolder], name: str) -> Answers:
    """Return the answers of several parts as one, each clip once."""
    return join([folder.read(name) for folder in folders])


def validation_scores(folders: Iterable[FitFolder]) -> tuple[float, ...]:
    """Return what the goal is measured by on the validation clips of every part."""
    return tuple(folder.read("val").worth for folder in folders)
