"""The low spatial frequencies of gray images: what is light and dark where, without detail.

Axes: N images, H height, W width, K frequencies per axis.
"""

from __future__ import annotations

import numpy as np
from scipy import fft


def low_frequencies(images_NHW: np.ndarray, num_frequencies: int) -> np.ndarray:
    """Return the first K x K coefficients of the orthonormal 2-D DCT-II of uint8 images, float64 [N, K, K].

    Scaled so that the first one is the mean intensity in [0, 1], whatever the size.
    """
    height, width = images_NHW.shape[1:]
    # A transform, not a product with cosines: BLAS may sum in another order on another number of threads.
    across = fft.dct(images_NHW.astype(np.float64), type=2, norm="ortho", axis=2)[:, :, :num_frequencies]
    both = fft.dct(across, type=2, norm="ortho", axis=1)[:, :num_frequencies]
    return both / (255 * np.sqrt(height * width))
