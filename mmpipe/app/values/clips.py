"""Clips: a page of them with players, and one with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mmpipe.app.values.paging import Paging

CLIPS_PER_PAGE = 12


class PreviewKind(StrEnum):
    """What a preview is: a film with sound, a sound, a picture, a still of a film, or the spectrum of a sound."""

    FILM = "mp4"
    SOUND = "m4a"
    PICTURE = "jpg"
    STILL = "still.jpg"
    SPECTRUM = "spectrum.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesAsk:
    """Which clips are wanted; "" asks for all, but for the date: the newest."""

    dt: str = ""
    split: str = ""
    text: str = ""  # that the clip's text, labels, source or key hold
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCard:
    """A clip in a list."""

    key: str
    dt: str
    source_id: str
    start_s: float
    end_s: float
    split: str
    group: str
    text: str
    labels: dict[str, str]
    superseded: bool
    previews: tuple[PreviewKind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A page of the clips of one date."""

    corpus: str
    ask: SamplesAsk
    dt: str
    dates: tuple[str, ...]  # newest first
    splits: dict[str, int]
    clips: tuple[ClipCard, ...]
    paging: Paging


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCard:
    """What a clip's value of a feature looks like."""

    feature: str
    shape: str = ""  # "[75, 145]"; "" where there is no value
    dtype: str = ""
    low: float = 0.0
    mean: float = 0.0
    high: float = 0.0
    norm: float = 0.0
    line: tuple[float, ...] = ()  # numbers to draw: of a vector itself, of a sequence its norm over time
    line_of: str = ""  # what the line shows
    has_picture: bool = False  # a heat map of time x numbers
    why_none: str = ""
    shard: str = ""  # where it lies
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCard:
    """A raw track that the clip was cut from."""

    role: str
    file: str
    codec: str
    facts: str
    digest: str
    file_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPage:
    """All that is known of one clip."""

    corpus: str
    clip: ClipCard
    asset_id: str
    place: str  # of its row in the spine
    streams: tuple[StreamCard, ...]
    values: tuple[ValueCard, ...]
    signals: dict[str, str] = field(default_factory=dict)
    text_origin: str = ""
    before: str = ""  # keys of its neighbours in the recording
    after: str = ""
