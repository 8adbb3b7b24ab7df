"""The verbs on features: other teams' datasets, and deprecation."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verbs."""
