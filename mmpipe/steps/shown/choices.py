"""The words by which a person chooses what is shown."""

from __future__ import annotations

from enum import StrEnum


class MapMethod(StrEnum):
    """How clips are put on a plane."""

    PCA = "pca"
    UMAP = "umap"
