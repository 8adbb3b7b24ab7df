"""The reader's door: open the features of a corpus, aligned."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from os import PathLike

from mmpipe.batches.feature_reader import Missing
from mmpipe.errors import ConfigError
from mmpipe.remote import store_path
from mmpipe.steps.plan.deprecate import warn_deprecated
from mmpipe.steps.share.joined_stream import CorpusReader
from mmpipe.store.layout import StoreLayout, open_store, require_no_datasets
from mmpipe.store.snapshot import load_snapshot, take_snapshot


def open_corpus(
    place: str | PathLike[str],
    features: Sequence[str] | None = None,
    *,
    snapshot: str | None = None,
    split: str | None = None,
    missing: Missing = "mask",
    verify: bool = True,
) -> CorpusReader:
    """Open a corpus, `STORE/CORPUS`, for reading; public as `mmpipe.open`. A store of one corpus opens by itself.

    Without `snapshot` the newest committed state is read, and stays the same for the life of the reader; with the name
    or digest of a kept one, exactly that. `split` chooses "train", "val" or "test". A clip that lacks a feature has an
    all-False row in its mask; `missing` may instead be "drop" or "error". Files are checked against their sha256, once
    each, when first read, unless `verify` is off. Raise ConfigError for what is not there, StoreError for damage.
    """
    if missing not in ("mask", "drop", "error"):
        raise ConfigError(f'missing is "mask", "drop" or "error", got {missing!r}')
    if isinstance(features, str):
        raise ConfigError(f"features is a list of names, got the text {features!r}")
    layout, corpus = _find_corpus(place)
    if snapshot is not None:
        pinned = load_snapshot(layout, snapshot)
        if pinned.corpus != corpus:
            raise ConfigError(f"the snapshot {snapshot!r} is of the corpus {pinned.corpus!r}, not {corpus!r}")
        chosen = tuple(features or pinned.features)
    else:
        chosen = tuple(layout.feature_names(corpus) if features is None else features)
        _require_known(layout, corpus, chosen)
        pinned = take_snapshot(layout, corpus, chosen)
    if not chosen:
        raise ConfigError(f"{place} has no features yet. Run `mmpipe extract` first.")
    warn_deprecated(layout, corpus, chosen)
    return CorpusReader(layout, pinned, chosen, split=split, missing=missing, verify=verify)


open = open_corpus  # `mmpipe.open`; nothing in this file needs Python's own


def _require_known(layout: StoreLayout, corpus: str, features: Sequence[str]) -> None:
    """Refuse a name that is not there; the likeliest one that is left out its version."""
    known = layout.feature_names(corpus)
    for name in features:
        if name not in known:
            meant = [other for other in known if other.partition("@")[0] == name] or get_close_matches(name, known)
            hint = f"Did you mean {' or '.join(map(repr, meant))}?" if meant else "Run `mmpipe extract` first."
            raise ConfigError(f"{corpus!r} has no feature {name!r}; features there: {list(known)}. {hint}")


def _find_corpus(place: str | PathLike[str]) -> tuple[StoreLayout, str]:
    path = store_path(place)
    if StoreLayout(path).format_file.exists():
        layout = open_store(path)
        known = layout.corpora()
        if len(known) != 1:
            raise ConfigError(f"the store {place} has the corpora {list(known)}; open one as {place}/CORPUS")
        return layout, known[0]
    if not StoreLayout(path.parent).format_file.exists():
        if StoreLayout(path.parent).dataset_names(path.name):
            require_no_datasets(StoreLayout(path.parent))
        require_no_datasets(StoreLayout(path))
        raise ConfigError(f"no corpus at {place}: neither it nor the folder that it is in has a store's format.json")
    layout = open_store(path.parent)
    if path.name not in layout.corpora():
        raise ConfigError(f"the store {path.parent} has no corpus {path.name!r}; it has {list(layout.corpora())}")
    return layout, path.name
