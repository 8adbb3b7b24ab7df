"""Who writes to a corpus at this moment: a commit shows its manifest a moment before its view and its card."""

from __future__ import annotations

import re

from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import find_holder

EVERYWHERE = ("migrate",)


def find_writer(layout: StoreLayout, corpus: str) -> str:
    """Say who alive takes in, makes or rewrites something of a corpus, "" where nobody does; takes nothing."""
    mine = re.compile(rf"ingest-{re.escape(corpus)}|batch-{re.escape(corpus)}-[0-9a-f]{{32}}|{'|'.join(EVERYWHERE)}")
    names = sorted(path.stem for path in layout.leases.glob("*.json")) if layout.leases.is_dir() else []
    return next((who for name in names if mine.fullmatch(name) and (who := find_holder(layout, name))), "")
