"""A log line for every clip or file that falls into quarantine."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmpipe.types import Drop
from mmpipe.words import counted, printable

LOGGER = logging.getLogger("mmpipe.quarantine")
MOST = 100  # lines of one step: a log is no table, and `mmpipe quarantine ls` has them all


def log_drops(corpus: str, drops: Sequence[Drop]) -> None:
    """Warn of what falls out, by clip or file, with its code and source; notes on what is used are left out."""
    lost = [drop for drop in drops if not drop.kept]
    for drop in lost[:MOST]:
        thing = f"clip {drop.clip_key}" if drop.clip_key else f"file {printable(drop.file)}"
        source = printable(drop.source_id or drop.file)
        feature = f" for {drop.feature}" if drop.feature else ""
        fields = {
            "clip": drop.clip_key,
            "asset": drop.asset_id,
            "code": drop.code,
            "source": source,
            "feature": drop.feature,
        }
        message = "%s of %s (%s) is in quarantine%s: %s: %s"
        LOGGER.warning(message, thing, source, corpus, feature, drop.code, printable(drop.detail), extra=fields)
    if len(lost) > MOST:
        more = counted(len(lost) - MOST, "more thing", "are", "is")
        LOGGER.warning("%s in quarantine: mmpipe quarantine ls --corpus %s", more, corpus)
