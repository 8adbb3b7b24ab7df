"""What lies nearest to a clip by one feature: if these are not alike, the feature does not say what one thinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEAREST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One clip in a row of neighbours."""

    caption: str
    label: str
    picture: str = ""
    similarity: float = 1.0
    is_same: bool = False  # it has the label of the clip that was asked about


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighboursShown:
    """A clip and its nearest by one feature, and how often neighbours agree in all that was looked at."""

    feature: str
    asked: Neighbour
    nearest: tuple[Neighbour, ...]
    coloured_by: str = ""
    agreement: float | None = None  # share of nearest clips with the same label; None without labels
    chance: float | None = None  # what any clip would give
    num_clips: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How often the nearest clips have the label of a clip, and how often any would."""

    share: float
    chance: float


def similarities(x_ND: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of standardised values [N, N]; nobody is his own neighbour."""
    unit_ND = x_ND / np.maximum(np.linalg.norm(x_ND, axis=1, keepdims=True), 1e-12)
    likeness_NN = np.asarray(unit_ND @ unit_ND.T)
    np.fill_diagonal(likeness_NN, -np.inf)
    return likeness_NN


def nearest_of(likeness_NN: np.ndarray, row: int, most: int = NEAREST) -> list[int]:
    """Return the rows nearest to one, the nearest first; of equals the earlier."""
    order: list[int] = np.argsort(-likeness_NN[row], kind="stable")[: min(most, len(likeness_NN) - 1)].tolist()
    return order


def agreement_of(likeness_NN: np.ndarray, labels: Sequence[str], most: int = NEAREST) -> Agreement | None:
    """Return how often neighbours share a label, over the clips that have one; None where none or all share it."""
    known = [row for row, label in enumerate(labels) if label]
    counts = {label: labels.count(label) for label in set(labels) if label}
    if len(counts) < 2 or len(known) <= most:
        return None
    inner_NN = likeness_NN[np.ix_(known, known)]
    said = [labels[row] for row in known]
    hits = [said[near] == said[row] for row in range(len(known)) for near in nearest_of(inner_NN, row, most)]
    pairs = len(known) * (len(known) - 1)
    return Agreement(share=sum(hits) / len(hits), chance=sum(count * (count - 1) for count in counts.values()) / pairs)
