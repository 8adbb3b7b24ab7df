"""Tell the readers of a feature that it will go away, and what to use instead."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from datetime import date
from typing import Any

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.store.audit import append_event
from mmpipe.store.card import write_card
from mmpipe.store.deprecation import Deprecation, read_deprecation, write_deprecation
from mmpipe.store.layout import DatasetLayout, StoreLayout, open_store
from mmpipe.store.schema import read_schema


def deprecate_feature(
    config: Config, corpus: str, feature: str, use: str, until: date, reason: str, dry_run: bool = False
) -> dict[str, Any]:
    """Put a notice on a feature's card, which every reader sees; its bytes stay as they are."""
    layout = open_store(config.store, to_write=not dry_run)
    dataset = require_feature(layout, corpus, feature)
    use, feature = require_feature(layout, corpus, use).name, dataset.name
    if use == feature:
        raise ConfigError(f"{feature} cannot take its own place; --use names another feature")
    if not reason.strip():
        raise ConfigError("say why the feature is deprecated: --reason TEXT; its readers see it")
    notice = Deprecation(use=use, until=until.isoformat(), reason=" ".join(reason.split()))
    return _put(layout, dataset, notice, dry_run)


def restore_feature(config: Config, corpus: str, feature: str, dry_run: bool = False) -> dict[str, Any]:
    """Take a notice back."""
    layout = open_store(config.store, to_write=not dry_run)
    dataset = require_feature(layout, corpus, feature)
    if read_deprecation(dataset) is None:
        raise ConfigError(f"{feature} of {corpus!r} is not deprecated")
    return _put(layout, dataset, None, dry_run)


def warn_deprecated(layout: StoreLayout, corpus: str, features: Iterable[str]) -> None:
    """Warn whoever opens a feature that will go away."""
    for feature in features:
        notice = read_deprecation(layout.dataset(corpus, feature))
        if notice is not None:
            warnings.warn(notice.sentence(feature), FutureWarning, stacklevel=3)


def require_feature(layout: StoreLayout, corpus: str, feature: str, newest: bool = False) -> DatasetLayout:
    """Return a feature's dataset, by NAME@VERSION, or by NAME where it has one version; with `newest` by any NAME.

    ConfigError with the known ones where there is none.
    """
    known = layout.feature_names(corpus)
    if feature in known:
        return layout.dataset(corpus, feature)
    versions = sorted((name for name in known if name.rpartition("@")[0] == feature), key=_version)
    if not versions:
        raise ConfigError(f"{corpus!r} has no feature {feature!r}; features there: {list(known)}")
    if len(versions) > 1 and not newest:
        raise ConfigError(f"{corpus!r} has {feature!r} in {len(versions)} versions: say which of {versions}")
    return layout.dataset(corpus, versions[-1])


def _version(feature: str) -> tuple[int, str]:
    """Return by what versions are ordered: 10 is after 9."""
    text = feature.rpartition("@")[2]
    return (int(text) if text.isdecimal() else 0), text


def _put(layout: StoreLayout, dataset: DatasetLayout, notice: Deprecation | None, dry_run: bool) -> dict[str, Any]:
    if not dry_run:
        kind, reason = ("feature-deprecate", notice.reason) if notice else ("feature-restore", "the notice is off")
        append_event(layout, kind, f"{dataset.corpus}/{dataset.name}", reason)
        write_deprecation(dataset, notice)
        write_card(dataset, read_schema(dataset), touched=())
    said = notice.sentence(dataset.name) if notice else f"{dataset.name} is no longer deprecated."
    return {"corpus": dataset.corpus, "feature": dataset.name, "notice": said}
