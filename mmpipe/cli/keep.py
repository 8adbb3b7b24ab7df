"""The verbs that keep the store: snapshots, retention, the audit log."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verbs."""
