"""Find the release that a feature's table names, and say all that a worker must know to compute with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmpipe.config import Config, split_feature
from mmpipe.errors import ConfigError
from mmpipe.features.encoders.params import ComputeParams
from mmpipe.features.extractor import extractor_behind, feature_name, fingerprint
from mmpipe.features.naming import EXTRACTOR, make_feature, table_name
from mmpipe.features.released import PREFIX, RELEASE, WEIGHTS_NAME, BaseFeature, ReleaseFolder, parse_release
from mmpipe.features.trained.spec import MODEL_TYPE
from mmpipe.registry.aliases import WITHHELD, find_version
from mmpipe.registry.sums import read_sums
from mmpipe.registry.taint import read_taint
from mmpipe.registry.versions import Version, local_version
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Modality


def found_table(config: Config, name: str) -> dict[str, Any]:
    """Return a feature's table of the config, with the release that it names found and checked.

    Raise ConfigError where the release is gone, refused or tainted, or cannot embed what is asked for.
    """
    return find_release(StoreLayout(config.store), table_name(name), config.features.get(table_name(name), {}))


def find_release(layout: StoreLayout, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with its release found; another table as it is, and one that was found before too."""
    made_by = table.get(EXTRACTOR)
    if not isinstance(made_by, str) or not made_by.startswith(PREFIX) or RELEASE in table:
        return dict(table)
    try:
        return {**table, RELEASE: _find(layout, made_by, table).model_dump(mode="json")}
    except ConfigError as error:
        raise ConfigError(f"features.{name}.{EXTRACTOR} = {made_by!r}: {error}") from error


def _find(layout: StoreLayout, made_by: str, table: Mapping[str, Any]) -> ReleaseFolder:
    version = find_version(layout.models, *parse_release(made_by))
    label = f"{version.name}@{version.label}"
    if version.status in WITHHELD:
        raise ConfigError(f"{label} was refused by the gate. Name another: mmpipe models ls {version.name}")
    if taint := read_taint(layout.models, version.name, version.label):
        raise ConfigError(f"{label} is {taint}")
    return ReleaseFolder(
        name=label,
        sha256=version.digest,
        weights_sha256=read_sums(version.path, version.digest).now[WEIGHTS_NAME],
        folder=str(local_version(version)),
        base=_base_of(layout, version, str(table.get("modality") or ""), str(table.get("input") or "")),
    )


def _base_of(layout: StoreLayout, version: Version, modality: str, wanted: str) -> BaseFeature:
    """Return the one input of a release that is meant."""
    inputs = _inputs_of(layout, version)
    found = {
        name: base for name, (base, of) in inputs.items() if (not modality or of == modality) and wanted in ("", name)
    }
    if len(found) != 1:
        told = ", ".join(f"{name} ({of})" for name, (_, of) in inputs.items())
        missing = "several inputs fit" if found else "no input fits"
        raise ConfigError(
            f"{missing} modality = {modality!r} and input = {wanted!r}: {version.name}@{version.label} reads {told}. "
            "Name one by `modality`, or by `input`."
        )
    (base,) = found.values()
    return base


def _inputs_of(layout: StoreLayout, version: Version) -> dict[str, tuple[BaseFeature, Modality]]:
    """Return the features that a release reads, with the modality of each."""
    made, lineage = json.loads(version.read("extraction.json")), json.loads(version.read("lineage.json"))
    spec = json.loads(version.read("config.json"))
    features = (
        [entry["feature"] for entry in spec["spec"]["inputs"]] if not _is_encoder(spec) else [spec["spec"]["input"]]
    )
    found = {}
    for feature in features:
        name = feature.rpartition("@")[0]
        _require_computable(version, lineage, feature)
        table = find_release(layout, name, made["features"][name])
        found[name] = _as_made_then(name, feature, table, lineage["fingerprints"][feature])
    return found


def _as_made_then(name: str, feature: str, table: dict[str, Any], mark: str) -> tuple[BaseFeature, Modality]:
    """Return an input with the dtype in which it was computed then, where the config left that to the machine."""
    extractor = make_feature(name, table)
    if feature_name(extractor) != feature:
        raise ConfigError(f"it reads {feature}, and the mmpipe that is installed makes {feature_name(extractor)}")
    if isinstance(extractor_behind(extractor).params, ComputeParams) and table.get("dtype", "auto") == "auto":
        tables = ({**table, "dtype": dtype} for dtype in ("float32", "bfloat16", "float16"))
        table = next((one for one in tables if _mark_of(name, one) == mark), table)
    return BaseFeature(name=name, table=table, fingerprint=mark), extractor.modality


def _mark_of(name: str, table: Mapping[str, Any]) -> str:
    """Return a fingerprint; "" where such a feature cannot be made here."""
    try:
        return fingerprint(make_feature(name, table))
    except ConfigError:
        return ""


def _require_computable(version: Version, lineage: Mapping[str, Any], feature: str) -> None:
    label = f"{version.name}@{version.label}"
    if any(entry["dataset"] == feature for entry in lineage.get("external", ())):
        raise ConfigError(f"{label} reads {feature}, which another team publishes: nothing here can compute it")
    if rendition := split_feature(feature.rpartition("@")[0])[1]:
        raise ConfigError(
            f"{label} reads {feature}: its media are prepared as the rendition {rendition!r} of its corpus, and an "
            "extractor gets them as they are. Release a model of features without a rendition."
        )


def _is_encoder(spec: Mapping[str, Any]) -> bool:
    return spec.get("model_type") == MODEL_TYPE
