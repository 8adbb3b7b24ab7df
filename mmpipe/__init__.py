"""Turn raw video, audio, images and text into aligned feature shards and fused models that earned their release.

What other teams may rely on is listed here and nowhere else; importing it loads nothing before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmpipe.batches.aligned import AlignedReader as AlignedReader
    from mmpipe.batches.feature_reader import FeatureReader as FeatureReader
    from mmpipe.batches.feature_reader import Sample as Sample
    from mmpipe.config import Table as Table
    from mmpipe.errors import ConfigError as ConfigError
    from mmpipe.errors import MmpipeError as MmpipeError
    from mmpipe.errors import SampleError as SampleError
    from mmpipe.errors import StoreError as StoreError
    from mmpipe.errors import TransientError as TransientError
    from mmpipe.features.extractor import MicroBatch as MicroBatch
    from mmpipe.features.extractor import expect_audio as expect_audio
    from mmpipe.features.extractor import expect_media as expect_media
    from mmpipe.features.extractor import expect_picture as expect_picture
    from mmpipe.fusion.base import Embedded as Embedded
    from mmpipe.fusion.base import Fusion as Fusion
    from mmpipe.fusion.base import require_fused as require_fused
    from mmpipe.fusion.base import weights_by_feature as weights_by_feature
    from mmpipe.fusion.output import FusionOutput as FusionOutput
    from mmpipe.fusion.registry import register_fusion as register_fusion
    from mmpipe.fusion.spec import ModelSpec as ModelSpec
    from mmpipe.sources.origins import SourceObject as SourceObject
    from mmpipe.steps.search.find import find_clips as find_clips
    from mmpipe.steps.search.search import SearchReport as SearchReport
    from mmpipe.steps.share.open import open as open
    from mmpipe.types import ArrayClip as ArrayClip
    from mmpipe.types import ArrayNeeds as ArrayNeeds
    from mmpipe.types import AudioClip as AudioClip
    from mmpipe.types import AudioNeeds as AudioNeeds
    from mmpipe.types import Batch as Batch
    from mmpipe.types import ClipMedia as ClipMedia
    from mmpipe.types import FeatureKind as FeatureKind
    from mmpipe.types import FeatureSchema as FeatureSchema
    from mmpipe.types import FeatureValue as FeatureValue
    from mmpipe.types import ImageClip as ImageClip
    from mmpipe.types import ImageNeeds as ImageNeeds
    from mmpipe.types import Modality as Modality
    from mmpipe.types import ModalityBatch as ModalityBatch
    from mmpipe.types import TextClip as TextClip
    from mmpipe.types import TextNeeds as TextNeeds
    from mmpipe.types import VideoClip as VideoClip
    from mmpipe.types import VideoNeeds as VideoNeeds

_HOMES = {
    "AlignedReader": "mmpipe.batches.aligned",
    "ArrayClip": "mmpipe.types",
    "ArrayNeeds": "mmpipe.types",
    "AudioClip": "mmpipe.types",
    "AudioNeeds": "mmpipe.types",
    "Batch": "mmpipe.types",
    "ClipMedia": "mmpipe.types",
    "ConfigError": "mmpipe.errors",
    "Embedded": "mmpipe.fusion.base",
    "FeatureKind": "mmpipe.types",
    "FeatureReader": "mmpipe.batches.feature_reader",
    "FeatureSchema": "mmpipe.types",
    "FeatureValue": "mmpipe.types",
    "Fusion": "mmpipe.fusion.base",
    "FusionOutput": "mmpipe.fusion.output",
    "ImageClip": "mmpipe.types",
    "ImageNeeds": "mmpipe.types",
    "MicroBatch": "mmpipe.features.extractor",
    "MmpipeError": "mmpipe.errors",
    "Modality": "mmpipe.types",
    "ModalityBatch": "mmpipe.types",
    "ModelSpec": "mmpipe.fusion.spec",
    "Sample": "mmpipe.batches.feature_reader",
    "SampleError": "mmpipe.errors",
    "SourceObject": "mmpipe.sources.origins",
    "SearchReport": "mmpipe.steps.search.search",
    "StoreError": "mmpipe.errors",
    "Table": "mmpipe.config",
    "TextClip": "mmpipe.types",
    "TextNeeds": "mmpipe.types",
    "TransientError": "mmpipe.errors",
    "VideoClip": "mmpipe.types",
    "VideoNeeds": "mmpipe.types",
    "expect_audio": "mmpipe.features.extractor",
    "expect_media": "mmpipe.features.extractor",
    "expect_picture": "mmpipe.features.extractor",
    "find_clips": "mmpipe.steps.search.find",
    "open": "mmpipe.steps.share.open",
    "register_fusion": "mmpipe.fusion.registry",
    "require_fused": "mmpipe.fusion.base",
    "weights_by_feature": "mmpipe.fusion.base",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"mmpipe has no {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
