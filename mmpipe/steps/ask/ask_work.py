"""What a worker is told about raw media that a model is asked about, and what it answers: the features, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmpipe.config import CorpusConfig
from mmpipe.sources.stems import AssetFiles
from mmpipe.steps.ground.wire import decode, encode
from mmpipe.steps.plan.shard_work import FeatureWork
from mmpipe.steps.plan.speech_model import SpeechModel
from mmpipe.types import Drop

_HEADER = "reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWork:
    """Recordings to look into, cut and compute the features of."""

    root: Path
    staging: Path  # for what filters write
    source: CorpusConfig  # how the model's corpus was read, cut and limited
    stems: tuple[AssetFiles, ...]
    features: tuple[FeatureWork, ...]
    speech: SpeechModel | None = None  # that hears the words, where a text is to come from the sound
    device: str = "cpu"
    encoders: str = ""  # as of a shard's work
    pictures: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedClip:
    """A clip of a recording, and what there is of it: feature -> [T, D] or [D]."""

    source: str
    key: str
    start_ns: int
    end_ns: int
    values: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskReply:
    """What came of recordings: clips by source and time, and why files, clips or features of them are missing."""

    clips: tuple[AskedClip, ...] = ()
    drops: tuple[Drop, ...] = ()
    failure: str = ""  # code of what kept the whole call from coming to anything


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clip:
    source: str
    key: str
    start_ns: int
    end_ns: int
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    clips: tuple[_Clip, ...]
    drops: tuple[Drop, ...]


def pack_reply(clips: Sequence[AskedClip], drops: Sequence[Drop]) -> bytes:
    """Return a reply as bytes: arrays as safetensors, which hold nothing that runs, and the rest as their header."""
    from safetensors.numpy import save

    head = _Reply(
        clips=tuple(
            _Clip(
                source=clip.source,
                key=clip.key,
                start_ns=clip.start_ns,
                end_ns=clip.end_ns,
                features=tuple(clip.values),
            )
            for clip in clips
        ),
        drops=tuple(drops),
    )
    arrays = {
        f"{number}.{name}": np.ascontiguousarray(value)
        for number, clip in enumerate(clips)
        for name, value in clip.values.items()
    }
    arrays[_HEADER] = np.frombuffer(encode(_Reply, head), np.uint8)
    return bytes(save(arrays))


def unpack_reply(data: bytes) -> AskReply:
    """Return the reply that the bytes hold."""
    from safetensors.numpy import load

    arrays = load(data)
    head = decode(_Reply, arrays.pop(_HEADER).tobytes())
    clips = (
        AskedClip(
            source=clip.source,
            key=clip.key,
            start_ns=clip.start_ns,
            end_ns=clip.end_ns,
            values={name: arrays[f"{number}.{name}"] for name in clip.features},
        )
        for number, clip in enumerate(head.clips)
    )
    return AskReply(clips=tuple(clips), drops=head.drops)
