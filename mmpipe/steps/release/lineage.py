"""Where a model comes from: manifests, shards and raw files by digest, and the settings that made it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from mmpipe.config import Config, split_feature
from mmpipe.features.naming import table_name
from mmpipe.steps.plan.external_pins import read_pins
from mmpipe.store.assets import read_assets
from mmpipe.store.identity import fingerprint_of, read_identity
from mmpipe.store.layout import StoreLayout
from mmpipe.store.rightscount import count_clips
from mmpipe.store.snapshot import Snapshot, pinned_manifest, read_pinned_spine
from mmpipe.types import Modality

# What of a rendition spoils its media on purpose; nothing else draws, so that the seed is of it too.
_SPOILING = ("snr_db", "bank", "bank_sha256", "blur_px", "block_share", "seed")
_PACKAGES = ("mmpipe", "torch", "numpy", "scipy", "scikit-learn", "polars", "pyarrow", "av")


def trace_snapshot(layout: StoreLayout, snapshot: Snapshot) -> dict[str, Any]:
    """Return every manifest, shard file and raw file that a snapshot rests on, as plain JSON values."""
    manifests, shards = [], []
    for entry in snapshot.entries:
        manifest = pinned_manifest(layout.dataset(snapshot.corpus, entry.dataset), entry)
        manifests.append(
            {
                "dataset": entry.dataset,
                "partition": entry.partition,
                "revision": entry.revision,
                "sha256": entry.sha256,
                "fingerprint": manifest.fingerprint,
            }
        )
        shards += [
            {"dataset": entry.dataset, "partition": entry.partition, "file": file.name, "sha256": file.sha256}
            for shard in manifest.shards
            for file in shard.files
        ]
    assets = read_assets(layout, snapshot.corpus, snapshot.partitions)
    spine = read_pinned_spine(layout, snapshot)
    pinned = spine["asset_id"].unique()  # others of these nights may have come later
    mine = assets.filter(pl.col("asset_id").is_in(pinned.implode()))
    files = mine.filter(pl.col("file") != "").select("file", "file_sha256").unique()  # a label's words are in none
    return {
        "snapshot": snapshot.digest,
        "corpus": snapshot.corpus,
        "manifests": manifests,
        "shards": shards,
        "raw_files": [{"name": name, "sha256": sha256} for name, sha256 in sorted(files.iter_rows())],
        "texts": count_origins(mine),
        "external": _trace_external(layout, snapshot.corpus, manifests),
        "rights": asdict(count_clips(spine, assets)),  # as they were said when this was traced
    }


def count_origins(assets: pl.DataFrame) -> list[dict[str, Any]]:
    """Return from where the assets' texts come, with the number of assets."""
    texts = assets.filter((pl.col("role") == Modality.TEXT.value) & (pl.col("origin") != ""))
    counts = texts.group_by("origin").agg(pl.col("asset_id").n_unique().alias("assets")).sort("origin")
    return counts.to_dicts()


def _trace_external(layout: StoreLayout, corpus: str, manifests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the pins of other teams' datasets that manifests were copied from, file by file."""
    used = {(manifest["dataset"], manifest["fingerprint"]) for manifest in manifests}
    pins = [
        stored
        for feature in sorted({dataset for dataset, _ in used})
        for stored in read_pins(layout, corpus, feature.rpartition("@")[0])
        if (stored.pin.feature, stored.pin.digest) in used
    ]
    return [
        {
            "dataset": stored.pin.feature,
            "uri": stored.pin.uri,
            "pin": stored.number,
            "sha256": stored.pin.digest,
            "files": [{"name": file.name, "sha256": file.sha256} for file in stored.pin.files],
        }
        for stored in pins
    ]


def trace_settings(config: Config, corpus: str, inputs: tuple[str, ...]) -> dict[str, Any]:
    """Return what a raw file must go through to become the model's input: no path of this machine is in it."""
    _, source = config.corpus(corpus)
    return {
        "clips": source.clips.model_dump(mode="json"),
        "limits": source.limits.model_dump(mode="json"),
        "text": source.text.model_dump(mode="json", exclude={"asr"}),  # where a speech model lies is of this machine
        # Numbers of the labels table are no file that one could ask about.
        "arrays": source.arrays.model_dump(mode="json", exclude={"label_columns"}),
        "features": {name: config.features.get(table_name(name), {}) for name in inputs},
        "renditions": {
            name: source.renditions[name].model_dump(mode="json")
            for name in sorted({split_feature(feature)[1] for feature in inputs} & source.renditions.keys())
        },
    }


def trace_noiseless(layout: StoreLayout, corpus: str, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Return what the fingerprints of features would be without the noise, blur and blocks that were put into them.

    A model that learnt from spoilt media is asked about media as they are; of other features nothing is said.
    """
    found = {}
    for feature, fingerprint in sorted(fingerprints.items()):
        identity = read_identity(layout.dataset(corpus, feature), fingerprint)
        if identity and fingerprint_of(identity) == fingerprint and not identity.rendition.keys().isdisjoint(_SPOILING):
            rest = {name: value for name, value in identity.rendition.items() if name not in _SPOILING}
            found[feature] = fingerprint_of(replace(identity, rendition=rest))
    return found


def trace_code() -> dict[str, str]:
    """Return the versions of what computed."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
