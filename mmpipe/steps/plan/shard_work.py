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
    num_clips: int  # that are live
    num_superseded: int = 0  # clips of the shard that are left out
    arrays: ArraysConfig = field(default_factory=ArraysConfig)
    text: TextConfig = field(default_factory=TextConfig)
    max_missing: float = 0.02  # share of a track that may be broken
    device: str = "cpu"  # where extractors compute that use one; resolved by the parent
    encoders: str = ""  # address of the process that has the device; "": the worker computes itself
    pictures: str = ""  # address of the processes that make pictures by NVDEC; "": no feature asks for it
    spool: Path | None = None  # folder of what is computed and not finished; None: the store's staging
    run: str = ""  # which run it is of: what another one has spooled is taken over, not made
    fresh: str = ""  # set where everything is to be made anew: what was spooled before counts for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDone:
    """One feature of a shard: durable, but not visible before the commit."""

    feature: str
    entry: ShardEntry
    drops: tuple[Drop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkMeter:
    """What the making of a shard took, for the speed-of-light report; times are wall seconds of one worker."""

    started_s: float = 0.0  # on the machine's monotonic clock: what lies between two shards of a worker is idle
    ended_s: float = 0.0
    worker: str = ""  # host and process: whose time it was
    decode_s: float = 0.0
    encode_s: float = 0.0  # inside `extract`, waiting for a device included
    write_s: float = 0.0
    clips: int = 0  # whose media were decoded for a value that was not there yet
    clip_ns: int = 0  # of these, each once
    media_ns: int = 0  # of the same, each modality for itself
    file_bytes: int = 0  # read from files
    media_bytes: int = 0  # handed from the decoder to extractors
    frames: int = 0
    samples: int = 0  # of waves
    used_units: int = 0  # tokens, windows or frames that encoders were given on purpose
    padded_units: int = 0  # and those that filled batches up
    reused: int = 0  # values that this run did not compute
    gpu_tracks: int = 0  # whose pictures NVDEC made
    cpu_tracks: tuple[tuple[str, int], ...] = ()  # whose pictures it was to make, and the CPU did, by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDone:
    """What a worker answers."""

    partition: str
    shard: int
    features: tuple[FeatureDone, ...]
    reused: int  # values that this run did not compute: committed already, or spooled by a run that was cut short
    computed: int
    meter: WorkMeter = WorkMeter()
