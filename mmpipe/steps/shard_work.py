"""What a worker is told about one shard, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mmpipe.config import ArraysConfig, LimitsConfig, TextConfig
from mmpipe.store.manifest import ShardEntry
from mmpipe.types import Clip, Cue, Drop, Modality, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipWork:
    """One clip and its place in the shard."""

    ordinal: int
    clip: Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetWork:
    """One asset and those of its clips that lie in the shard."""

    asset_id: str
    source_id: str
    streams: tuple[Stream, ...]
    cues: tuple[Cue, ...]
    clips: tuple[ClipWork, ...]
    released: tuple[str, ...] = ()  # codes that a person lifted for it

    def stream(self, modality: Modality) -> Stream | None:
        """Return the stream of a modality; None where the asset has none."""
        return next((stream for stream in self.streams if stream.role == modality), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureWork:
    """One feature to make: as the config names it and its parameters, and what its shard will be made from."""

    name: str  # in the config
    table_json: str  # the config's table of that name
    feature: str
    fingerprint: str
    inputs: str
    rendition_json: str = ""  # how its media are prepared, resolved; "": not at all


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusedValue:
    """A value that is committed already: same stream, same range, same fingerprint."""

    feature: str
    ordinal: int
    partition: str
    shard: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """All that a worker needs to make one shard of several features in one decode pass per asset."""

    store: Path
    corpus: str
    partition: str
    shard: int
    root: Path
    limits: LimitsConfig
    features: tuple[FeatureWork, ...]
    assets: tuple[AssetWork, ...]
    reused: tuple[ReusedValue, ...]
    num_clips: int
    arrays: ArraysConfig = field(default_factory=ArraysConfig)
    text: TextConfig = field(default_factory=TextConfig)
    max_missing: float = 0.02  # share of a track that may be broken


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDone:
    """One feature of a shard: durable, but not visible before the commit."""

    feature: str
    entry: ShardEntry
    drops: tuple[Drop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDone:
    """What a worker answers."""

    partition: str
    shard: int
    features: tuple[FeatureDone, ...]
    reused: int  # values that were not computed again
    computed: int
