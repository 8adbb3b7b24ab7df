"""What the ledger says of external features whose files changed or went: why, and that a person must decide."""

from __future__ import annotations

import polars as pl

from mmpipe.steps.plan.choices import State
from mmpipe.steps.plan.external_pins import VERSION, held_features, registered_names
from mmpipe.store.layout import StoreLayout

_OTHER_PIN = "weights changed"  # what the ledger makes of another pin, which stands where weights would
_PINNED_ANEW = "theirs was pinned anew since it was copied"


def hold_drifted(layout: StoreLayout, corpus: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the ledger with what another team must be asked about marked in `held`, and the cause as the reason.

    Where theirs changed, what was complete is stale; where theirs is gone it stays complete, because it is copied.
    """
    theirs = [f"{name}@{VERSION}" for name in registered_names(layout, corpus)]
    is_pinned_anew = pl.col("feature").is_in(theirs) & (pl.col("reason") == _OTHER_PIN)
    rows = rows.with_columns(reason=pl.when(is_pinned_anew).then(pl.lit(_PINNED_ANEW)).otherwise("reason"))
    for feature, drift in held_features(layout, corpus, set(rows["feature"].unique())).items():
        made = pl.col("state").is_in([State.COMPLETE, State.FAILED])
        hit = (pl.col("feature") == feature) & (pl.col("state") != State.RUNNING)
        state = pl.col("state") if drift.is_gone else pl.when(made).then(pl.lit(str(State.STALE))).otherwise("state")
        name = feature.rpartition("@")[0]
        why = (
            f"theirs is gone, what is copied stays usable: {drift.detail}"
            if drift.is_gone
            else f"theirs changed since it was pinned: {drift.detail}; take it over: mmpipe feature refresh {name}"
        )
        rows = rows.with_columns(
            state=pl.when(hit).then(state).otherwise("state"),
            reason=pl.when(hit).then(pl.lit(why)).otherwise("reason"),
            held=pl.when(hit).then(pl.lit(True)).otherwise("held"),
        )
    return rows
