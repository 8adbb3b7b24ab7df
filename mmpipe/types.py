"""The nouns of mmpipe as frozen values, and the digests that give them their identity.

Axes in names: N items, B batch, T time, D feature dimension, H height, W width, C channel.
Times are integer nanoseconds on the asset's own clock, which starts at 0.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np

NANOSECONDS_PER_SECOND = 1_000_000_000
PARTITION_PATTERN = re.compile(r"^\d{4}-\d{2}-\d{2}$")


class Modality(StrEnum):
    """What kind of signal a stream carries."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"
    TEXT = "text"
    ARRAY = "array"  # numbers over time: sensors, volumes, behaviour, rows of a table


class Split(StrEnum):
    """Which part of the work a clip may be used for."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


# --------------------------------------------------------------------------- raw material


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """One regular file of a corpus; `name` is corpus-relative, escaped to valid UTF-8 (see `io.escape_name`)."""

    name: str
    nbytes: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0  # of the last change of bytes or status, which nobody can set back; 0: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A timed text."""

    start_ns: int
    end_ns: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One video, audio, image, text or array track of an asset, with a digest of its own content."""

    role: str  # "video", "audio", "image", "text"; a second one of a kind is "audio.1"
    modality: Modality
    digest: str  # sha256 of the track's content: a new audio track leaves the video's digest alone
    file: str  # escaped corpus-relative name of the file that holds the track
    file_sha256: str
    file_nbytes: int
    track: int  # index among the container's streams; 0 for images and text
    start_ns: int  # of the first sample, on the file's clock
    duration_ns: int  # 0 for images and text without cues
    codec: str
    width_px: int = 0
    height_px: int = 0
    frame_rate: float = 0.0
    sample_rate_hz: int = 0
    channels: int = 0
    origin: str = ""  # of a text: "sidecar", "column:caption", "asr:MODEL"; "" of what is raw media
    lost_share: float = 0.0  # of the duration that could not be decoded; above 0 the stream is damaged but usable
    values: str = ""  # numbers that are in no file: a JSON object, names to numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One recording: the streams of one stem in their roles."""

    asset_id: str
    source_id: str  # corpus-relative logical name without the extension
    streams: tuple[Stream, ...]  # sorted by role
    cues: tuple[Cue, ...] = ()

    def stream(self, modality: Modality) -> Stream | None:
        """Return the stream in a modality's own role; a second one of a kind, or a text that nobody reads, is none."""
        return next((stream for stream in self.streams if stream.role == modality), None)

    @property
    def duration_ns(self) -> int:
        """Return the length of the longest timed stream."""
        return max((stream.duration_ns for stream in self.streams), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A time range `[start_ns, end_ns)` of an asset: the sample."""

    key: str
    asset_id: str
    start_ns: int
    end_ns: int
    text: str = ""  # the cue that cut the clip, if one did


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Something that cannot be used, and why: a row of the quarantine."""

    stage: str  # "list", "labels", "probe", "segment", "decode", "extract"
    code: str  # snake_case reason
    detail: str  # one sentence for a person
    file: str = ""  # escaped name
    file_sha256: str = ""
    source_id: str = ""
    asset_id: str = ""
    clip_key: str = ""
    feature: str = ""
    facts: str = ""  # JSON: what the probe saw of the file before it fell out
    kept: bool = False  # a note only: the thing is in use, but somebody should know


# --------------------------------------------------------------------------- what an extractor sees and gives


Decoder = Literal["cpu", "nvdec"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]  # by their names in Pillow


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How pictures of any shape come to one size: scaled to a box, and the middle cut out; black where it ends."""

    keeps_shape: bool = False  # scaled until it just covers the box; else stretched onto it
    box_px: tuple[int, int] | None = None  # width and height; none: what comes out, so that no more is cut than needed

    def __post_init__(self) -> None:
        """Refuse a box without a picture in it."""
        if self.box_px is not None and min(self.box_px) < 1:
            raise ValueError(f"a picture is scaled to at least one pixel, got a box of {self.box_px}")


STRETCH = Fit()
COVER = Fit(keeps_shape=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoNeeds:
    """The frames that an extractor wants, scaled to an exact size; at most one of the ways to choose them is set."""

    width_px: int
    height_px: int
    fit: Fit = STRETCH
    gray: bool = False
    frame_rate: float | None = None  # exactly so many per second; None: every frame
    num_frames: int | None = None  # so many, in the middles of equal parts of the clip; no frame comes twice
    only_keyframes: bool = False  # those that stand for themselves: cheap, and where the encoder put them
    decoder: Decoder = "cpu"  # what makes the pictures: their pixels are near, and not equal

    def __post_init__(self) -> None:
        """Refuse two ways at once, and a number or rate that gives nothing."""
        chosen = (self.frame_rate is not None) + (self.num_frames is not None) + self.only_keyframes
        least = min(self.frame_rate or 1, 1 if self.num_frames is None else self.num_frames)
        if chosen > 1 or least <= 0:
            raise ValueError("choose frames by frame_rate > 0, num_frames >= 1 or only_keyframes, one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioNeeds:
    """The waveform that an extractor wants: mono float32 at this rate."""

    sample_rate_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNeeds:
    """The still that an extractor wants: upright, scaled to an exact size."""

    width_px: int
    height_px: int
    fit: Fit = STRETCH
    filter: Filter = "bilinear"  # all but `nearest` widen with the scale, so they do not alias
    gray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextNeeds:
    """The clip's text: the cues that overlap it, or the whole text where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayNeeds:
    """The numbers of the clip as they are: no size is asked for."""


Needs = VideoNeeds | AudioNeeds | ImageNeeds | TextNeeds | ArrayNeeds


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoClip:
    """Frames of a clip: `frames` is uint8 THW (gray) or THWC (RGB), T >= 1; times on the asset's clock."""

    frames: np.ndarray
    times_ns: np.ndarray  # int64 [T], the true time stamp of every frame


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioClip:
    """Sound of a clip: float32 mono [N] in [-1, 1], N >= 1."""

    wave_N: np.ndarray
    sample_rate_hz: int
    start_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageClip:
    """A still: uint8 HW (gray) or HWC (RGB)."""

    image: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class TextClip:
    """The text of a clip, NFC."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayClip:
    """Numbers of a clip: float32 [T, D], T >= 1, NaN where one is missing; times on the asset's clock."""

    values_TD: np.ndarray
    times_ns: np.ndarray  # int64 [T]
    columns: tuple[str, ...] = ()  # names of the D, where the file has them


ClipMedia = VideoClip | AudioClip | ImageClip | TextClip | ArrayClip


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPictures:
    """A run of pictures on its way to a device's decoder, in a container of our own making.

    Picture k in the order of time is shown at (num_pictures + k * 40) ms: `media/remux.py` writes it so.
    """

    data: np.ndarray  # uint8 [N], Matroska
    num_pictures: int  # in the run
    numbers: tuple[int, ...]  # of those that are wanted, in the order of time from 0, rising
    forms: tuple[VideoNeeds, ...]  # size, fit and colours that each is wanted in; how they are chosen does not count


DeviceMedia = ClipMedia | EncodedPictures


class FeatureKind(StrEnum):
    """The shape of a feature's values."""

    SEQUENCE = "sequence"  # [T, D] with a time base
    VECTOR = "vector"  # [D]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """What the values of a feature look like; frozen for the life of the feature's version."""

    feature: str  # e.g. "audio-logmel@1"
    modality: Modality
    kind: FeatureKind
    dim: int
    dtype: str = "float32"
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureValue:
    """One clip's value, of the schema's dtype: [T, D] with int64 times [T], or [D] with times None."""

    array: np.ndarray
    times_ns: np.ndarray | None = None


# --------------------------------------------------------------------------- batches


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityBatch:
    """Padded values of one feature: x [B, T, D]; mask [B, T], True = real; an all-False row is a missing modality."""

    x_BTD: np.ndarray
    mask_BT: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Aligned clips: row b of every part speaks of clip `keys[b]`."""

    keys: tuple[str, ...]
    features: Mapping[str, ModalityBatch]
    labels_B: np.ndarray  # int64 class index, -1 where there is none
    groups: tuple[str, ...] = field(default=())


# --------------------------------------------------------------------------- identity


def digest_of(*parts: str | bytes | int) -> str:
    """Return the sha256 over the parts, each with its length, so that no two lists of parts meet."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()


def asset_id_of(streams: Iterable[tuple[str, str]]) -> str:
    """Return the identity of an asset from its (role, stream digest) pairs: never from a name."""
    flat = [part for pair in sorted(streams) for part in pair]
    if not flat:
        raise ValueError("an asset needs at least one stream")
    return digest_of("asset", *flat)


def clip_key_of(asset_id: str, start_ns: int, end_ns: int) -> str:
    """Return the 24 characters `[a-z2-7]` that name a clip everywhere (120 bits of sha256)."""
    if not 0 <= start_ns < end_ns:
        raise ValueError(f"a clip needs 0 <= start_ns < end_ns, got [{start_ns}, {end_ns})")
    digest = bytes.fromhex(digest_of("clip", asset_id, start_ns, end_ns))
    return base64.b32encode(digest[:15]).decode().lower()


def fraction_of(*parts: str | bytes | int) -> float:
    """Return a number in [0, 1) that depends on the parts alone: the hash behind splits and folds."""
    return int(digest_of(*parts)[:13], 16) / 16**13
