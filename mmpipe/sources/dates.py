"""Say to which date an asset belongs."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from mmpipe.config import DateRule, DatesConfig
from mmpipe.errors import SampleError
from mmpipe.sources.stems import AssetFiles

_DATE = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")


def partition_of(asset: AssetFiles, dates: DatesConfig, labels: Mapping[str, str] | None) -> str | None:
    """Return the date `YYYY-MM-DD` of an asset, None where the rule is first_seen: then the caller knows.

    Raise SampleError("bad_date") where the rule finds no date, an impossible one, or several.
    """
    if dates.rule is DateRule.FIRST_SEEN:
        return None
    if dates.rule is DateRule.COLUMN:
        value = (labels or {}).get(dates.column)
        if value is None:
            raise SampleError("bad_date", f"the labels have no value in the column {dates.column!r}")
        return _date(value)
    matches = (match for file in asset.files for match in re.finditer(dates.pattern, file.name))
    found = sorted({_date(match["dt"]) for match in matches if match["dt"]})
    if len(found) == 1:
        return found[0]
    what, way = "no date", ""
    if found:
        what = f"several dates: {', '.join(found)}"
        way = "; say in `dates.pattern` which one counts, as ^(?P<dt>\\d{4}-\\d{2}-\\d{2})/ does for that of a folder"
    raise SampleError("bad_date", f"the pattern {dates.pattern!r} finds {what} in the file names{way}")


def _date(text: str) -> str:
    """Return `YYYY-MM-DD` for that form or `YYYYMMDD`."""
    match = _DATE.fullmatch(text)
    try:
        return datetime.date(*(int(part) for part in match.groups())).isoformat() if match else _refuse(text)
    except ValueError:
        return _refuse(text)


def _refuse(text: str) -> str:
    raise SampleError("bad_date", f"{text[:40]!r} is not a date of the form YYYY-MM-DD")
