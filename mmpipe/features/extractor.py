"""What an extractor is, and the fingerprint that says when its stored values are stale."""

from __future__ import annotations

from collections.abc import Sequence
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
