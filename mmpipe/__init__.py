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
    from mmpipe.errors import ConfigError as ConfigError
    from mmpipe.errors import MmpipeError as MmpipeError
    from mmpipe.errors import SampleError as SampleError
    from mmpipe.errors import StoreError as StoreError
    from mmpipe.errors import TransientError as TransientError
    from mmpipe.fusion.registry import register_fusion as register_fusion
    from mmpipe.steps.share.open import open as open
    from mmpipe.types import Batch as Batch
    from mmpipe.types import FeatureKind as FeatureKind
    from mmpipe.types import FeatureSchema as FeatureSchema
    from mmpipe.types import FeatureValue as FeatureValue
    from mmpipe.types import Modality as Modality
    from mmpipe.types import ModalityBatch as ModalityBatch

_HOMES = {
    "AlignedReader": "mmpipe.batches.aligned",
    "Batch": "mmpipe.types",
    "ConfigError": "mmpipe.errors",
    "FeatureKind": "mmpipe.types",
    "FeatureReader": "mmpipe.batches.feature_reader",
    "FeatureSchema": "mmpipe.types",
    "FeatureValue": "mmpipe.types",
    "MmpipeError": "mmpipe.errors",
    "Modality": "mmpipe.types",
    "ModalityBatch": "mmpipe.types",
    "Sample": "mmpipe.batches.feature_reader",
    "SampleError": "mmpipe.errors",
    "StoreError": "mmpipe.errors",
    "TransientError": "mmpipe.errors",
    "open": "mmpipe.steps.share.open",
    "register_fusion": "mmpipe.fusion.registry",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"mmpipe has no {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
