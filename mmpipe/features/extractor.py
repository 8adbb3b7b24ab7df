"""What an extractor is, and the fingerprint that says when its stored values are stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from mmpipe.config import Table
from mmpipe.features.alias import Alias
from mmpipe.features.pinned import PinnedFeature
from mmpipe.features.prepared import Prepared
from mmpipe.io import canonical_json
from mmpipe.types import (
    AudioClip,
    AudioNeeds,
    ClipMedia,
    FeatureSchema,
    FeatureValue,
    ImageNeeds,
    Modality,
    Needs,
    VideoNeeds,
    digest_of,
)

_Media = TypeVar("_Media")


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """How many clips' media are gathered before `extract` is called: what comes first ends the gathering."""

    max_clips: int = 1
    max_bytes: int = 0  # of decoded media; 0: no bound

    def __post_init__(self) -> None:
        """Refuse a bound that lets nothing in."""
        if self.max_clips < 1 or self.max_bytes < 0:
            raise ValueError(f"a micro-batch needs max_clips >= 1 and max_bytes >= 0, got {self}")


@runtime_checkable
class Extractor(Protocol):
    """Anything with these members; a clip's value must not depend on the other clips of the batch."""

    @property
    def name(self) -> str:
        """Return the name in the config, without the version."""

    @property
    def version(self) -> int:
        """Return the version: a change of what comes out is a new one."""

    @property
    def modality(self) -> Modality:
        """Return the modality that is read."""

    @property
    def params(self) -> Table:
        """Return the parameters, frozen."""

    @property
    def needs(self) -> Needs:
        """Return the form in which the media must come."""

    @property
    def schema(self) -> FeatureSchema:
        """Return what the values look like."""

    @property
    def weights_sha256(self) -> str:
        """Return the digest of the weights, or "" where there are none."""

    def setup(self, device: str) -> None:
        """Load what is loaded once a worker; `device` is "cpu", "cuda" or "cuda:0"."""

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return one finite value per clip; raise SampleError for a clip that cannot have one."""


def extractor_behind(extractor: Extractor) -> Extractor:
    """Return the extractor that computes: behind a rendition or an alias another, else itself."""
    if isinstance(extractor, Prepared | Alias):
        return extractor_behind(extractor.extractor)
    return extractor


def micro_batch_of(extractor: Extractor) -> MicroBatch:
    """Return how many clips an extractor wants at once, by its member `micro_batch`: one where it has none."""
    found: MicroBatch = getattr(extractor_behind(extractor), "micro_batch", MicroBatch())
    return found


def uses_device(extractor: Extractor) -> bool:
    """Say whether an extractor computes on a device where there is one, by its member `uses_device`."""
    return bool(getattr(extractor_behind(extractor), "uses_device", False))


def units_of(extractor: Extractor) -> tuple[int, int]:
    """Return the units that an extractor was given on purpose so far, and those that filled its batches up.

    Tokens, windows or frames, by its member `units`; none where it does not count.
    """
    used, padded = getattr(extractor_behind(extractor), "units", (0, 0))
    return int(used), int(padded)


def feature_name(extractor: Extractor) -> str:
    """Return the name of what the extractor makes, e.g. `audio-logmel@1`."""
    return f"{extractor.name}@{extractor.version}"


def fingerprint(extractor: Extractor) -> str:
    """Return the sha256 over name, version, parameters, dtype and weights: equal means the values are equal.

    Of values that another team publishes it is the digest of the pin, which says the same of them. Of prepared media
    it is over the rendition too: filters, program, bank and seed. The name that a config gives to an extractor does
    not count.
    """
    if isinstance(extractor, Prepared):
        resolved = canonical_json(extractor.rendition.model_dump(mode="json", exclude_none=True))
        return digest_of("rendition", fingerprint(extractor.extractor), resolved)
    if isinstance(extractor, Alias):
        return fingerprint(extractor.extractor)
    if isinstance(extractor, PinnedFeature):
        return extractor.pin_sha256
    return digest_of(
        "extractor",
        extractor.name,
        extractor.version,
        canonical_json(extractor.params.model_dump(mode="json")),
        extractor.schema.dtype,
        extractor.weights_sha256,
    )


def expect_media(media: ClipMedia, kind: type[_Media], feature: str) -> _Media:
    """Return the media as the kind that the extractor asked for; raise TypeError where the caller mixed them up."""
    if not isinstance(media, kind):
        raise TypeError(f"{feature} reads {kind.__name__}, got {type(media).__name__}: hand it what its `needs` say")
    return media


def expect_audio(media: ClipMedia, needs: AudioNeeds, feature: str) -> AudioClip:
    """Return the sound at the rate that was asked for; raise ValueError where it came otherwise."""
    clip = expect_media(media, AudioClip, feature)
    if clip.sample_rate_hz != needs.sample_rate_hz or clip.wave_N.ndim != 1 or not len(clip.wave_N):
        raise ValueError(
            f"{feature} reads a mono wave at {needs.sample_rate_hz} Hz with at least one sample, "
            f"got shape {clip.wave_N.shape} at {clip.sample_rate_hz} Hz"
        )
    return clip


def expect_pixels(images_NHW: np.ndarray, needs: VideoNeeds | ImageNeeds, feature: str) -> np.ndarray:
    """Return gray pictures of the size that was asked for; raise ValueError where they came otherwise."""
    expected = (needs.height_px, needs.width_px)
    if images_NHW.shape[1:] != expected or images_NHW.dtype != np.uint8 or not len(images_NHW):
        raise ValueError(
            f"{feature} reads uint8 gray pictures of {expected} (height, width), "
            f"got {images_NHW.dtype} {images_NHW.shape[1:]} x {len(images_NHW)}"
        )
    return images_NHW


def expect_picture(pixels: np.ndarray, needs: VideoNeeds | ImageNeeds, feature: str) -> np.ndarray:
    """Return a picture or frames as they were asked for, gray or in colour; raise ValueError where they are not."""
    expected = (needs.height_px, needs.width_px) if needs.gray else (needs.height_px, needs.width_px, 3)
    wanted_axes = len(expected) + isinstance(needs, VideoNeeds)
    if pixels.shape[-len(expected) :] != expected or pixels.ndim != wanted_axes or not pixels.size:
        raise ValueError(f"{feature} reads pictures {expected}, got {pixels.dtype} {pixels.shape}")
    if pixels.dtype != np.uint8:
        raise ValueError(f"{feature} reads bytes, got {pixels.dtype}")
    return pixels
