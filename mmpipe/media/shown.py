"""How the stored pictures of a film are shown: turned upright, and their pixels wider or narrower than high."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

SQUARE = Fraction(1)
MOST = 8  # times as wide as high, or as high as wide: beyond, a header is wrong and not a film odd


def quarter_turns(frame: Any) -> int:
    """Return how many quarter turns, counter-clockwise, set a picture upright."""
    return round(frame.rotation / 90) % 4


def pixel_aspect(track: Any) -> Fraction:
    """Return the width of a stored pixel by its height, as shown: of anamorphic films it is not 1.

    What the container says counts before what the codec does, as in FFmpeg (av_guess_sample_aspect_ratio). Where
    nothing is said, or what no film has, pixels are square.
    """
    said = track.sample_aspect_ratio
    return Fraction(said) if said and Fraction(1, MOST) <= said <= MOST else SQUARE
