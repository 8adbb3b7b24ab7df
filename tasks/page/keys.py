"""The names under which artifacts are found."""

from __future__ import annotations

import re


def artifact_key(*names: str) -> str:
    """Return the key of something named so: the only letters that Prefect takes there."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(names).lower()).strip("-")
