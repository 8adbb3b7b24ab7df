"""The verbs on the life of a store: forget, compact, migrate."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verbs."""
