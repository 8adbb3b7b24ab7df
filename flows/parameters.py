"""The parameters of every flow: the form in the UI, the command line and the schedule share them.

The server checks types, limits and choices when a run is created; what two fields must be to each other is
checked when the run starts, and a fault there ends it as Failed with the reason.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from mmpipe.config import Table
from tasks.plan import MAX_BATCHES, MAX_DAYS, MAX_IN_FLIGHT, Choice, Only

NAME_OR_EMPTY = r"^([a-z0-9][a-z0-9_-]{0,62})?$"
FeatureChoice = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}(@[0-9]+)?$")]
# The server looks at no `format`, so that "yesterday" would pass for a date; at a pattern it does look.
Day = Annotated[
    datetime.date,
    Field(json_schema_extra={"pattern": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"}),
]
# What a person fills in first; the other fields follow in the order in which they are written here, `config` last.
_FIRST_IN_FORM = ("corpus", "model", "checkpoint", "date", "first_date", "last_date")


def _order_form(schema: dict[str, Any]) -> None:
    """Put the fields in the order of the form, and number them: PostgreSQL keeps no order, and the UI asks for one."""
    fields = schema.get("properties", {})
    first = [name for name in _FIRST_IN_FORM if name in fields]
    names = [*first, *(name for name in fields if name not in (*first, "config")), "config"]
    schema["properties"] = {name: {**fields[name], "position": place} for place, name in enumerate(names)}


class FlowParameters(Table):
    """What every flow needs to know."""

    model_config = ConfigDict(json_schema_extra=_order_form)

    config: str = Field(
        "",
        title="Config file",
        description="Path of the config; empty: the one in MMPIPE_CONFIG, else mmpipe.toml in the working folder.",
    )


class CorpusParameters(FlowParameters):
    """One corpus."""

    corpus: str = Field(
        "", title="Corpus", pattern=NAME_OR_EMPTY, description="Name in the config; empty: the only one there is."
    )


class DayParameters(CorpusParameters):
    """One corpus on one date."""

    date: Day | None = Field(
        None,
        title="Date",
        description="The partition to fill; none: the date this run was scheduled for, in the config's time zone.",
    )


class IngestParameters(DayParameters):
    """Ingest: list, probe and cut what is new."""


class ChoiceParameters(CorpusParameters):
    """Which shards of a corpus are made, and in which portions."""

    only: Only = Field(
        Only.DUE,
        title="Only",
        description="Which shards: due means missing or stale; all means missing, stale or failed.",
    )
    features: list[FeatureChoice] = Field(
        [], title="Features", max_length=100, description="Names, with or without @version; empty: all of the corpus."
    )
    force: bool = Field(
        False, title="Force", description="Also what is complete: everything is computed anew, and nothing is copied."
    )
    batch_clips: int = Field(
        2_000,
        title="Clips per task",
        ge=1,
        le=1_000_000,
        description=f"A task should take 1 to 15 minutes; it gets more where there would be over {MAX_BATCHES} tasks.",
    )

    @property
    def choice(self) -> Choice:
        """Return what is taken up, as the ledger is asked for it."""
        return Choice(only=self.only, features=tuple(self.features), force=self.force)


class ExtractParameters(ChoiceParameters, DayParameters):
    """Extract: make the features that one date is due, or all dates."""

    all_dates: bool = Field(
        False,
        title="All dates",
        description="Whatever is due on any date, as a night does; the date only names the run.",
    )


class BackfillDayParameters(ChoiceParameters):
    """Backfill of one day: bring one date up to the config of today."""

    date: Day = Field(title="Date", description="The partition to fill.")
    ingest: bool = Field(True, title="Ingest", description="Take in the new files of the date first.")


class FreshnessParameters(FlowParameters):
    """Freshness: is every feature as new as was promised?"""

    corpus: str = Field(
        "", title="Corpus", pattern=NAME_OR_EMPTY, description="Name in the config; empty: every one with a promise."
    )


class TrainParameters(FlowParameters):
    """Train: fit the candidates of one model on a snapshot of the store."""

    model: str = Field(
        "", title="Model", pattern=NAME_OR_EMPTY, description="Name in the config; empty: the only one there is."
    )


class ReleaseParameters(TrainParameters):
    """Release: evaluate a checkpoint and let the gate decide."""

    checkpoint: str = Field(title="Checkpoint", min_length=1, description="The checkpoint, as `train` named it.")


class NightlyParameters(DayParameters):
    """Nightly: everything, in order."""

    model: str = Field(
        "", title="Model", pattern=NAME_OR_EMPTY, description="Name in the config; empty: every model of the corpus."
    )
    batch_clips: int = Field(
        2_000, title="Clips per task", ge=1, le=1_000_000, description="A task should take 1 to 15 minutes."
    )


class BackfillParameters(ChoiceParameters):
    """Backfill: bring a range of dates up to the config of today."""

    first_date: Day = Field(title="From", description="First date of the range.")
    last_date: Day = Field(
        title="To",
        description=f"Last date of the range; it is part of it, and the range has at most {MAX_DAYS:,} days.",
    )
    dry_run: bool = Field(False, title="Dry run", description="Say what would be done, and do nothing.")
    max_in_flight: int = Field(
        1, title="Days at once", ge=1, le=MAX_IN_FLIGHT, description="Each day is a run of its own, on its own workers."
    )

    @model_validator(mode="after")
    def _range_is_a_range(self) -> Self:
        days = (self.last_date - self.first_date).days + 1
        if not 1 <= days <= MAX_DAYS:
            raise ValueError(f"{self.first_date} to {self.last_date} is {days} days; 1 to {MAX_DAYS} are possible")
        return self

    @property
    def dts(self) -> tuple[str, ...]:
        """Return the dates of the range, in order."""
        days = (self.last_date - self.first_date).days + 1
        return tuple((self.first_date + datetime.timedelta(days=day)).isoformat() for day in range(days))


class VerifyParameters(FlowParameters):
    """Verify: compare every byte of the store with what its manifests say."""

    corpus: str = Field(
        "",
        title="Corpus",
        pattern=NAME_OR_EMPTY,
        description="Name; empty: the whole store, with models and audit log.",
    )
    repair: bool = Field(
        False, title="Repair", description="Then mend what can be mended; bad bytes are set aside, never deleted."
    )


class GcParameters(FlowParameters):
    """Gc: list what nothing in the store rests on, or remove it."""

    days: float | None = Field(
        None, title="Days", ge=0, le=36_500, description="Only what is older; none: `retention.days` of the config."
    )
    delete: bool = Field(False, title="Delete", description="Remove it; otherwise it is only listed.")
