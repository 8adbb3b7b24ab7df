"""A release whose clips of every modality lie in one space, and the views that it has of a clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmpipe.config import Config, Goal
from mmpipe.config.retrieving import RetrieveOptions, Sides, sides_of
from mmpipe.errors import ConfigError
from mmpipe.features.naming import make_feature
from mmpipe.features.trained.spec import EXPERIMENTAL
from mmpipe.registry.aliases import find_version, parse_reference
from mmpipe.registry.taint import read_taint
from mmpipe.registry.versions import Version, local_version
from mmpipe.steps.plan.release_feature import find_release
from mmpipe.steps.release.sign import require_trusted
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.schema import find_schema
from mmpipe.types import Batch, Modality

BATCH_CLIPS = 64  # as an evaluation asks


class Gathers(Protocol):
    """Anything that gathers aligned clips by row: a reader of shards, or clips that are held."""

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Some features of a clip as one vector: a feature alone, or several of one side fused."""

    features: tuple[str, ...]  # sorted
    column: int  # 0: of the asking side, 1: of what is found

    @property
    def name(self) -> str:
        """Return its features, as they are written in messages and indexes."""
        return "+".join(self.features)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Space:
    """A coordinated release, whole and trusted, ready to embed."""

    version: Version
    model: Any  # a FusionModel
    sides: Sides
    modalities: Mapping[str, Modality]  # of its features
    fingerprints: Mapping[str, str]  # of the values that it learnt from, by feature
    corpus: str  # that it learnt from
    tainted: str

    @property
    def name(self) -> str:
        """Return NAME@LABEL."""
        return f"{self.version.name}@{self.version.label}"

    @property
    def dim(self) -> int:
        """Return the size of the space."""
        return int(self.model.goal.dim)

    def dims(self) -> dict[str, int]:
        """Return how many numbers each feature has that it reads."""
        return {entry.feature: entry.dim for entry in self.model.spec.inputs}

    def side(self, column: int) -> View:
        """Return a whole side: 0 asks, 1 is found."""
        features = self.sides.items if column else self.sides.query
        return View(features=tuple(sorted(features)), column=column)

    def view(self, wanted: str, against: View | None = None) -> View:
        """Return the view that modalities or features name, joined by +; of two sides the one that faces `against`."""
        named = [self._named(part.strip(), wanted) for part in wanted.split("+")]
        features = {feature for found in named for feature in found}
        sides = {column: features.intersection(self.side(column).features) for column in (0, 1)}
        # Narrowed to the side that faces, where each word still means something there: none is left out unsaid.
        if sides[0] and sides[1] and against is not None and all(sides[1 - against.column] & set(of) for of in named):
            features, sides[against.column] = sides[1 - against.column], set()
        if sides[0] and sides[1]:
            raise ConfigError(
                f"{self.name} has {wanted} on both sides: {', '.join(sorted(features))}. Name a feature instead of a "
                "modality, or one side alone"
            )
        return View(features=tuple(sorted(features)), column=0 if sides[0] else 1)

    def embed(self, source: Gathers, rows: np.ndarray, view: View) -> np.ndarray:
        """Return unit vectors of some rows [N, D], each of zeros where a clip has nothing of the view."""
        if not len(rows):
            return np.zeros((0, self.dim), np.float32)
        if len(view.features) > 1:
            from mmpipe.train.weights import infer

            hidden = set(self.model.spec.features) - set(view.features)
            answers_N = infer(self.model, source, rows, hidden=hidden, batch_clips=BATCH_CLIPS).answers_N
            return np.asarray(answers_N[:, view.column], dtype=np.float32)
        from mmpipe.train.weights import embed_feature

        return embed_feature(self.model, source, rows, view.features[0], batch_clips=BATCH_CLIPS)

    def _named(self, word: str, wanted: str) -> list[str]:
        found = [name for name, of in self.modalities.items() if word in (of.value, name, name.partition("@")[0])]
        if not found:
            has = sorted({of.value for of in self.modalities.values()})
            raise ConfigError(
                f"{self.name} knows nothing of {word or wanted!r}: its space has {', '.join(has)} (features "
                f"{', '.join(sorted(self.modalities))})"
            )
        return found


def open_space(config: Config, reference: str) -> Space:
    """Return the release that NAME (what is in production) or NAME@VERSION means.

    ConfigError: it is none, or its clips lie in no shared space. GateRefused: the config asks for a signature.
    """
    from mmpipe.train.weights import load_model

    layout, named = open_store(config.store), parse_reference(reference)
    version = find_version(layout.models, named.name, named.ref)
    require_trusted(config, version)
    table = json.loads(version.read("config.json"))
    spec = table.get("spec", {})
    if version.status == EXPERIMENTAL or spec.get("goal") != Goal.RETRIEVE:
        does = "is an encoder" if version.status == EXPERIMENTAL else f"answers with goal = {spec.get('goal')!r}"
        raise ConfigError(
            f"{version.name}@{version.label} {does}: its modalities share no space in which clips could be found. "
            'Train one that does, with goal = "retrieve" under [models.NAME]; see: mmpipe goals'
        )
    lineage = json.loads(version.read("lineage.json"))
    features = tuple(entry["feature"] for entry in spec["inputs"])
    return Space(
        version=version,
        model=load_model(local_version(version)),
        sides=sides_of(features, RetrieveOptions(**spec.get("goal_options", {})).query),
        modalities=_modalities(layout, version, str(lineage.get("corpus", "")), features),
        fingerprints=lineage["fingerprints"],
        corpus=str(lineage.get("corpus", "")),
        tainted=str(read_taint(layout.models, version.name, version.label) or ""),
    )


def _modalities(layout: StoreLayout, version: Version, corpus: str, features: Sequence[str]) -> dict[str, Modality]:
    """Return what each feature is of: as the store says, or else its extractor."""
    made = json.loads(version.read("extraction.json"))["features"]
    found: dict[str, Modality] = {}
    for feature in features:
        schema = find_schema(layout.dataset(corpus, feature)) if corpus else None
        name = feature.partition("@")[0]
        found[feature] = (
            schema.modality if schema else make_feature(name, find_release(layout, name, made[name])).modality
        )
    return found
