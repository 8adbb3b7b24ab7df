"""Which clips a corpus keeps: expressions over the columns of their signals, as the config names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from mmpipe.errors import ConfigError
from mmpipe.store.signals import SIGNAL_COLUMNS

FILTER_STAGE = "filter"
FILTERED = "filtered_"  # begins the code of what a filter left out


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFilter:
    """A named condition; what it gives no answer for stays."""

    name: str
    expression: str
    condition: pl.Expr
    columns: tuple[str, ...]

    @property
    def code(self) -> str:
        """Return the code of a clip that fails."""
        return f"{FILTERED}{self.name}"


def parse_filters(corpus: str, filters: Mapping[str, str]) -> tuple[ClipFilter, ...]:
    """Return the filters of a corpus in the order of their names; ConfigError names the key and what is wrong."""
    return tuple(_parse(f"corpora.{corpus}.filters.{name}", name, filters[name]) for name in sorted(filters))


def find_failing(filters: Sequence[ClipFilter], signals: pl.DataFrame) -> dict[str, tuple[ClipFilter, str]]:
    """Return for the key of each clip that is left out the first filter that it fails, and the values it fails by."""
    failing: dict[str, tuple[ClipFilter, str]] = {}
    for rule in filters:
        for row in signals.filter(rule.condition.eq_missing(pl.lit(False))).iter_rows(named=True):
            values = ", ".join(f"{name} = {_short(row[name])}" for name in rule.columns)
            failing.setdefault(row["key"], (rule, f"{values}: not {rule.expression}"))
    return failing


def _parse(where: str, name: str, expression: str) -> ClipFilter:
    try:
        condition = pl.sql_expr(expression)
        columns = tuple(sorted(set(condition.meta.root_names())))
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise ConfigError(f"{where} = {expression!r} is no SQL expression: {error}") from error
    if unknown := _unknown(columns):
        texts = [f"'{name}'" for name in unknown if f'"{name}"' in expression]
        meant = f"In double quotes stands a column; text is written in single quotes: {', '.join(texts)}. "
        raise ConfigError(
            f"{where} = {expression!r} names {', '.join(unknown)}, which no signal is called. "
            f"{meant if texts else ''}There are: {', '.join(SIGNAL_COLUMNS)}."
        )
    _require_condition(where, expression, condition)
    return ClipFilter(name=name, expression=expression, condition=condition, columns=columns)


def _require_condition(where: str, expression: str, condition: pl.Expr) -> None:
    """Try an expression on one row of nulls: it must give one yes, no or null for it."""
    row = pl.DataFrame({name: [None] for name in SIGNAL_COLUMNS}, schema=dict(SIGNAL_COLUMNS))
    try:
        answer = row.select(answer=condition)["answer"]
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{where} = {expression!r} cannot be computed: {error}") from error
    if answer.dtype != pl.Boolean or len(answer) != 1:
        raise ConfigError(f"{where} = {expression!r} is no condition: it gives {answer.dtype}, not true or false")


def _unknown(columns: Sequence[str]) -> Sequence[str]:
    return [name for name in columns if name not in SIGNAL_COLUMNS]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
