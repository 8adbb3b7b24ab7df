"""How a corpus's renditions are resolved, to the last digest, and how a worker applies one to the media of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mmpipe.config import BankConfig, Config, CorpusConfig, RenditionConfig, split_feature
from mmpipe.errors import ConfigError
from mmpipe.features.prepared import Rendition
from mmpipe.media.filters import FilterStep, parse_filter
from mmpipe.media.noise import add_noise, babble, block_mask, blur, cover, resample
from mmpipe.store.banks import bank_digest, read_bank
from mmpipe.store.layout import StoreLayout
from mmpipe.types import (
    AudioClip,
    ClipMedia,
    ImageClip,
    ImageNeeds,
    Modality,
    Needs,
    VideoClip,
    VideoNeeds,
    digest_of,
)

_BANK_VERSION = "bank-1"  # another one makes every bank anew
_KEPT_BABBLES = 4


def resolve_rendition(config: Config, corpus: str | None, feature: str) -> Rendition | None:
    """Return the rendition that a feature's name says, resolved; None where it says none. ConfigError: no such one."""
    _, name = split_feature(feature)
    if not name:
        return None
    if corpus is None:
        raise ConfigError(f"the feature {feature!r} reads a rendition, and renditions are a corpus's: name a corpus")
    _, source = config.corpus(corpus)
    wanted = source.renditions.get(name)
    if wanted is None:
        raise ConfigError(
            f"the feature {feature!r} reads the rendition {name!r}; {corpus!r} has: {sorted(source.renditions)}. "
            f"Add a table [corpora.{corpus}.renditions.{name}]."
        )
    filters = tuple(step.text for step in _steps(corpus, name, wanted))
    return _resolved(StoreLayout(config.store), corpus, source, wanted, filters)


def _resolved(
    layout: StoreLayout, corpus: str, source: CorpusConfig, wanted: RenditionConfig, filters: tuple[str, ...]
) -> Rendition:
    from mmpipe.media.ffmpeg import ffmpeg_version

    noise, degrade = wanted.noise, wanted.degrade
    drawn = noise or (degrade and degrade.block_share)
    return Rendition(
        modality=wanted.modality,
        filters=filters or None,
        ffmpeg=ffmpeg_version() if filters else None,
        snr_db=noise.snr_db if noise else None,
        bank=noise.bank if noise else None,
        bank_sha256=bank_digest(layout, corpus, noise.bank, bank_settings(source, noise.bank)) if noise else None,
        blur_px=degrade.blur_px if degrade else None,
        block_share=degrade.block_share if degrade else None,
        seed=wanted.seed if drawn else None,
    )


def bank_settings(source: CorpusConfig, name: str) -> str:
    """Return the digest of all by which a bank's clips are chosen: with another split, a clip may be a test's."""
    bank: BankConfig = source.banks[name]
    group, split = (source.labels.group, source.labels.split) if source.labels else (None, None)
    told = (split,) if split else ()  # one that is drawn is known by its settings
    return digest_of(_BANK_VERSION, bank.model_dump_json(), source.split.model_dump_json(), group or "", *told)


def noted_rendition(rendition: Rendition | None) -> dict[str, Any]:
    """Return a rendition as JSON values, as the fingerprint has it; what differs here is why a feature is stale."""
    return rendition.model_dump(mode="json", exclude_none=True) if rendition else {}


def filter_steps(rendition: Rendition) -> tuple[FilterStep, ...]:
    """Return the filters of a resolved rendition."""
    return tuple(parse_filter(text, Modality(rendition.modality)) for text in rendition.filters or ())


def _steps(corpus: str, name: str, wanted: RenditionConfig) -> Sequence[FilterStep]:
    try:
        return [parse_filter(text, Modality(wanted.modality)) for text in wanted.filters]
    except ConfigError as error:
        raise ConfigError(f"corpora.{corpus}.renditions.{name}.filters: {error}") from error


# --------------------------------------------------------------------------- inside a worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is done to the media of a clip just before extraction; filters have done their part by then."""

    layout: StoreLayout
    corpus: str
    rendition: Rendition
    needs: Needs

    def apply(self, media: ClipMedia, place: str) -> ClipMedia:
        """Return the media prepared; what is drawn depends on the seed and on the place: stream and range."""
        if isinstance(media, AudioClip) and self.rendition.snr_db is not None:
            return replace(media, wave_N=self._noisy(media, place))
        if isinstance(media, VideoClip) and isinstance(self.needs, VideoNeeds):
            return replace(media, frames=self._degraded(media.frames, self.needs, place))
        if isinstance(media, ImageClip) and isinstance(self.needs, ImageNeeds):
            return replace(media, image=self._degraded(media.image, self.needs, place))
        return media

    def _noisy(self, clip: AudioClip, place: str) -> np.ndarray:
        rendition = self.rendition
        assert rendition.bank and rendition.bank_sha256, "the bank is made before any shard"
        assert rendition.snr_db is not None and rendition.seed is not None
        noise_M = _babble(self.layout, self.corpus, rendition.bank, rendition.bank_sha256, clip.sample_rate_hz)
        return add_noise(clip.wave_N, noise_M, rendition.snr_db, rendition.seed, place)

    def _degraded(self, pictures: np.ndarray, needs: VideoNeeds | ImageNeeds, place: str) -> np.ndarray:
        rendition = self.rendition
        if rendition.blur_px:
            pictures = blur(pictures, rendition.blur_px, gray=needs.gray)
        if rendition.block_share and rendition.seed is not None:
            mask_HW = block_mask(needs.height_px, needs.width_px, rendition.block_share, rendition.seed, place)
            pictures = cover(pictures, mask_HW, gray=needs.gray)
        return pictures


@lru_cache(maxsize=_KEPT_BABBLES)
def _babble(layout: StoreLayout, corpus: str, name: str, digest: str, rate_hz: int) -> np.ndarray:
    """Return what a bank sounds like at a rate: voices and length are kept with its clips by its digest."""
    bank = read_bank(layout, corpus, name, digest)
    made = babble(bank.waves, bank.voices, round(bank.length_s * bank.sample_rate_hz), bank.seed)
    return resample(made, bank.sample_rate_hz, rate_hz)
