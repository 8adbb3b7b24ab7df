"""The pages of a store that a person may open: the reports on its nights."""

from __future__ import annotations

from pathlib import Path

from mmpipe.config import Config
from mmpipe.store.layout import open_store


def pages_folder(config: Config) -> Path:
    """Return the folder of the reports; it is made by the first of them."""
    return open_store(config.store).reports
