"""Which part of the work a group of clips is for: a hash decides, so that no group ever moves or is divided.

Where a data set has an official split, its labels say it; what they divide, the search for leaks tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mmpipe.config import SplitConfig
from mmpipe.errors import ConfigError, SampleError
from mmpipe.types import Split, digest_of, fraction_of


def split_of(group: str, split: SplitConfig) -> Split:
    """Return the split of a group; test is drawn first, so that another share of val leaves test as it was."""
    fraction = fraction_of("split", split.salt, group)
    if fraction < split.test:
        return Split.TEST
    return Split.VAL if fraction < split.test + split.val else Split.TRAIN


def told_split(value: str) -> Split:
    """Return the split that a labels column names; raise SampleError no_split where it names none."""
    try:
        return Split(value.strip().lower())
    except ValueError:
        raise SampleError("no_split", f"its split is {value[:40]!r}; a split is one of {', '.join(Split)}") from None


def deal_folds(groups: Iterable[str], folds: int, salt: str) -> dict[str, int]:
    """Return the fold of every group, given the group of each clip: whole groups, and folds of like many clips.

    The largest group goes first, each to the fold with the fewest clips. No fold is empty; raise ConfigError where
    there are fewer groups than folds.
    """
    num_clips = Counter(groups)
    if len(num_clips) < folds:
        raise ConfigError(f"folds = {folds} needs at least so many groups, but there are {len(num_clips)}. Lower it.")
    order = sorted(num_clips, key=lambda group: (-num_clips[group], digest_of("fold", salt, group)))
    clips_in_fold = [0] * folds
    fold_of_group = {}
    for group in order:
        fold = clips_in_fold.index(min(clips_in_fold))
        fold_of_group[group] = fold
        clips_in_fold[fold] += num_clips[group]
    return fold_of_group
