"""Checking, mending and tidying the store, as tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import task

from mmpipe.config import Config
from mmpipe.errors import StoreError
from mmpipe.steps.keep import gc, repair, verify
from mmpipe.steps.keep.garbage import Collection
from tasks.policy import STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of the store found, damage first."""

    rows: tuple[dict[str, Any], ...]
    damage: int
    redacted: tuple[str, ...]

    def summary(self) -> str:
        """Return a few lines of Markdown."""
        found = f"{self.damage} places damaged, {len(self.rows) - self.damage} warnings."
        return "\n\n".join((found, *self.redacted))

    def table(self) -> list[dict[str, Any]]:
        """Return one row per finding."""
        return list(self.rows)

    def raise_if_damaged(self) -> None:
        """Raise StoreError where bytes are not what was committed."""
        if self.damage:
            raise StoreError(
                f"{self.damage} place(s) of the store are not what they should be; the table has the way out of each. "
                "For most it is this flow with `repair`, or `mmpipe verify --repair --from COPY`."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What a repair did."""

    rows: tuple[dict[str, Any], ...]

    def summary(self) -> str:
        """Return a line of Markdown."""
        return f"{len(self.rows)} things were mended or set aside."

    def table(self) -> list[dict[str, Any]]:
        """Return one row per thing."""
        return list(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """What nothing rests on any more."""

    found: Collection

    def summary(self) -> str:
        """Return a line of Markdown."""
        verb = "removed" if self.found.deleted else "nothing was removed"
        return (
            f"{len(self.found.items)} things, {self.found.nbytes:,} bytes, older than {self.found.days:g} days: {verb}."
        )

    def table(self) -> list[dict[str, Any]]:
        """Return one row per kind."""
        return self.found.table()


@task(name="verify", task_run_name="verify-{corpus}", **STEP)
def check_store(config: Config, corpus: str) -> Checked:
    """Compare every committed byte with what vouches for it; "" means the whole store."""
    layout = verify.open_to_verify(config)
    findings = verify.check_store(config, layout, corpus or None)
    rows = (
        {
            "severity": str(finding.severity),
            "code": finding.code,
            "path": finding.path,
            "detail": finding.detail,
            "way out": finding.way_out,
        }
        for finding in findings
    )
    redacted = () if corpus else verify.name_redacted(layout)
    return Checked(rows=tuple(rows), damage=verify.count_damage(findings), redacted=redacted)


@task(name="repair", task_run_name="repair-{corpus}", **STEP)
def mend_store(config: Config, corpus: str) -> Mended:
    """Mend what can be mended without a copy of the store; nothing that is lost for good is given up."""
    steps = repair.repair_store(config, verify.open_to_verify(config), corpus or None)
    return Mended(rows=tuple({"action": step.action, "path": step.path, "detail": step.detail} for step in steps))


@task(name="gc", task_run_name="gc", **STEP)
def tidy_store(config: Config, days: float | None, delete: bool) -> Tidied:
    """Find what nothing rests on any more, and with `delete` remove it."""
    return Tidied(found=gc.collect_garbage(config, None, days, delete))
