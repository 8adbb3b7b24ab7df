"""Say in sentences which features of a date are unlike those of the dates before."""

from __future__ import annotations

from mmpipe.config import Config
from mmpipe.store.drift import warn_of_date
from mmpipe.store.layout import open_store


def drift_of_date(config: Config, corpus: str, dt: str) -> dict[str, str]:
    """Return by feature how its values of the date are unlike those before; from manifests alone."""
    found = warn_of_date(open_store(config.store), corpus, dt)
    return {feature: f"{feature} dt={dt}: {finding.detail}. {finding.way_out}" for feature, finding in found.items()}
