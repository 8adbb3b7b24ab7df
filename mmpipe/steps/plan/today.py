"""The date that a run without one is for: small, so that asking it loads nothing that trains."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from mmpipe.config import Config


def date_now(config: Config) -> str:
    """Return today's date in the schedule's zone: for a person at a keyboard; a schedule gives its own date."""
    return datetime.now(ZoneInfo(config.timezone)).date().isoformat()
