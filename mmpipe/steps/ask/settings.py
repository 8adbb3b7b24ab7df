"""How a released model's raw files are read: as its own features were made, but that nothing spoils what is asked.

What spoils media for training and tests (noise, blur, blocks) is left out, and the version says what that comes to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmpipe.config import (
    ArraysConfig,
    ClipsConfig,
    Config,
    CorpusConfig,
    LimitsConfig,
    RenditionConfig,
    TextConfig,
    split_feature,
)
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import fingerprint
from mmpipe.features.naming import table_name
from mmpipe.registry.versions import Version
from mmpipe.steps.ground.text_origin import ASR, SIDECAR
from mmpipe.steps.plan.feature_set import resolve_feature
from mmpipe.steps.plan.release_feature import find_release
from mmpipe.steps.release.lineage import trace_noiseless
from mmpipe.store.layout import StoreLayout

CORPUS = "asked"
_SPOILING = ("noise", "degrade")  # of a rendition: for training and tests alone


def asked_config(version: Version, config: Config, store: Path, root: Path) -> Config:
    """Return the settings that the model's own features were made with, over a folder of raw files."""
    made = json.loads(version.read("extraction.json"))
    lineage = json.loads(version.read("lineage.json"))
    trained = lineage["fingerprints"]
    spec = json.loads(version.read("config.json"))["spec"]
    needed = {entry["feature"].partition("@")[0]: entry["feature"] for entry in spec["inputs"]}
    for entry in lineage.get("external", ()):
        if entry["dataset"] in needed.values():
            raise ConfigError(
                f"{version.name}@{version.label} reads {entry['dataset']}, which another team publishes at "
                f"{entry['uri']}: it is copied for clips of a corpus, and nothing here can compute it from a raw file. "
                "Put the files into the corpus and ask them for rows, or train a model without this input."
            )
    source = CorpusConfig(
        root=root,
        clips=ClipsConfig(**made["clips"]),
        limits=LimitsConfig(**made["limits"]),
        text=_text_of(made.get("text", {}), config, str(lineage.get("corpus", ""))),
        arrays=ArraysConfig(**made.get("arrays", {})),
        max_quarantined=1.0,
    )
    renditions = {name: _unspoilt(table) for name, table in made.get("renditions", {}).items()}
    source = source.model_copy(update={"renditions": renditions, "features": tuple(sorted(needed))})
    # A copy, not a new Config: there the environment would win, and MMPIPE_STORE name the real store.
    asked = config.model_copy(
        update={
            "store": store,
            "engine": config.engine.model_copy(update={"kind": "local"}),  # what is asked about lies on this machine
            # A release that makes an input lies in the real store: it is found now, and told as found.
            "features": {
                table_name(name): find_release(StoreLayout(config.store), name, made["features"][name])
                for name in needed
            },
            "corpora": {CORPUS: source},
            "models": {},
            "watch": config.watch.logs_alone(),
        }
    )
    wanted = {**trained, **_noiseless(version, StoreLayout(config.store), str(lineage.get("corpus", "")), trained)}
    for name, feature in needed.items():
        if fingerprint(resolve_feature(asked, name, CORPUS)) != wanted[feature]:
            raise ConfigError(
                f"{version.name}@{version.label} was trained with another {feature} than the one installed. "
                "Use the mmpipe that trained it, or train and release again."
            )
    return asked


def _unspoilt(table: dict[str, Any]) -> RenditionConfig:
    """Return how media are prepared when a model is asked: a file brings its own noise and blur, and its filters stay.

    A copy, not a new one: here a rendition need not do anything.
    """
    return RenditionConfig(**table).model_copy(update=dict.fromkeys(_SPOILING))


def spoilt_inputs(version: Version, how: str) -> tuple[str, ...]:
    """Return the inputs of a version whose media were spoilt for training in one way, as NAME@VERSION."""
    renditions = json.loads(version.read("extraction.json")).get("renditions", {})
    spoilt = {name for name, table in renditions.items() if table.get(how)}
    inputs = json.loads(version.read("config.json"))["spec"]["inputs"]
    features = sorted(entry["feature"] for entry in inputs)
    return tuple(feature for feature in features if split_feature(feature.rpartition("@")[0])[1] in spoilt)


def _noiseless(version: Version, layout: StoreLayout, corpus: str, trained: dict[str, str]) -> dict[str, str]:
    """Return the fingerprints of spoilt inputs as they are asked: as the version says, or else the store's notes."""
    said = json.loads(version.read("extraction.json")).get("noiseless", {})
    spoilt = [feature for how in _SPOILING for feature in spoilt_inputs(version, how)]
    known = {**trace_noiseless(layout, corpus, {feature: trained[feature] for feature in spoilt}), **said}
    if unknown := sorted(set(spoilt) - set(known)):
        what = "sound with noise mixed in" if unknown[0] in spoilt_inputs(version, "noise") else "degraded pictures"
        raise ConfigError(
            f"{version.name}@{version.label} learnt from {unknown[0]}, {what}. A file is asked "
            "about as it is, and neither the version nor this store says what that feature is then. Ask in the store "
            f"that trained it, or train and release it again: mmpipe train --model {version.name}"
        )
    return known


def _text_of(made: dict[str, Any], config: Config, corpus: str) -> TextConfig:
    """Return from where a file's text comes: as in training, without columns, and speech where a model is known."""
    known = config.corpora.get(corpus)
    speech = known.text.asr if known else None
    sources = [name for name in made.get("sources", ()) if name == SIDECAR or (name == ASR and speech)]
    return TextConfig(**{**made, "sources": sources or [SIDECAR], "asr": speech if ASR in sources else None})
