"""What takes the clips of an asset while it is decoded once for all: one feature, of a shard or of a question."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mmpipe.errors import SampleError
from mmpipe.features.extractor import Extractor
from mmpipe.media.filters import FilterStep
from mmpipe.steps.extract.micro_batch import BatchComputer
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork
from mmpipe.types import ClipMedia, Stream


class ClipTaker(Protocol):
    """Settles every clip of an asset once: with what the decoder gave for it, or with the reason why there is none."""

    @property
    def extractor(self) -> Extractor:
        """Return what the feature reads and gives; not set up."""

    @property
    def batches(self) -> BatchComputer:
        """Return where clips wait for others."""

    @property
    def filters(self) -> tuple[FilterStep, ...]:
        """Return the filters that the media must go through before they are decoded."""

    @property
    def staging(self) -> Path:
        """Return a folder for what filters write."""

    def settle_known(self, asset: AssetWork, clip: ClipWork) -> bool:
        """Settle a clip that needs no decoding; say whether it is one that does."""

    def has_done(self, asset: AssetWork) -> bool:
        """Say whether an asset needs no decoding any more."""

    def waits_for(self, clip: ClipWork) -> bool:
        """Say whether nothing is known of a clip yet."""

    def settle_media(self, asset: AssetWork, clip: ClipWork, media: ClipMedia | None) -> None:
        """Take what the decoder gave for a clip."""

    def settle_fault(self, asset: AssetWork, clip: ClipWork, fault: SampleError) -> None:
        """Settle a clip that cannot be used, with the reason."""

    def note_damage(self, asset: AssetWork, stream: Stream, share: float) -> None:
        """Note that a part of a stream could not be decoded."""

    def end_pass(self, asset: AssetWork) -> None:
        """Take that the decoder is through with an asset."""
