"""The JSON twin of a page: the same values, for other tools."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any


def to_json(page: Any) -> bytes:
    """Return a page's values as JSON; a number that JSON has no word for is null."""
    return json.dumps(_plain(asdict(page)), allow_nan=False, ensure_ascii=True, indent=1).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
