"""Rare classes: heavier in the loss, or as frequent as the others in an epoch."""

from __future__ import annotations

import numpy as np

from mmpipe.train.deterministic import epoch_order


def class_weights(labels_N: np.ndarray, num_classes: int) -> np.ndarray:
    """Return N / (C n_k) for each of the C classes that there are, 0 for others; float32 [K].

    They are scikit-learn's "balanced" weights: the mean weight of a clip is 1.
    """
    counts_K = np.bincount(labels_N, minlength=num_classes)
    present = int((counts_K > 0).sum())
    weights_K = np.where(counts_K > 0, len(labels_N) / (present * np.maximum(counts_K, 1)), 0.0)
    return weights_K.astype(np.float32)


def balanced_order(labels_N: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return N clips in which every class has its equal share, to one clip: a pure function of its arguments.

    A class goes round its clips: none comes a second time before all have come once. Which classes have one clip more,
    and which clips a frequent class leaves out, changes with the epoch.
    """
    classes = np.unique(labels_N)
    classes = classes[epoch_order(len(classes), seed, epoch)]
    drawn = []
    for place, label in enumerate(classes.tolist()):
        of_class = np.flatnonzero(labels_N == label)
        wanted = len(labels_N) // len(classes) + (place < len(labels_N) % len(classes))
        drawn.append(np.resize(of_class[epoch_order(len(of_class), seed, epoch)], wanted))
    return np.concatenate(drawn)[epoch_order(len(labels_N), seed, epoch)]
