"""Where a file of the store can be opened: at the desk, if there is one, else as a path."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from mmpipe.steps.release.published_plots import Plot

DESK_VARIABLE = "MMPIPE_DESK_URL"


def report_markdown(path: Path, desk: str | None = None) -> str:
    """Return a link to a report's page at the desk; without a desk its path, to be opened by hand."""
    address = desk if desk is not None else os.environ.get(DESK_VARIABLE, "")
    if not address:
        return f"`{path}`"
    return f"[Open the report]({address.rstrip('/')}/reports/{quote(path.name)}): `{path.name}`"


def plots_markdown(plots: Iterable[Plot]) -> str:
    """Return pictures as Markdown that holds their bytes: they are there as long as the page is, desk or not."""
    return "\n\n".join(f"![{plot.name}](data:image/svg+xml;base64,{_coded(plot.svg)})" for plot in plots)


def _coded(svg: bytes) -> str:
    return base64.b64encode(svg).decode()
