"""Which clips a corpus keeps: expressions over the columns of their signals, as the config names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from mmpipe.errors import ConfigError
from mmpipe.store.signals import SIGNAL_COLUMNS

FILTER_STAGE = "filter"
FILTERED = "filtered_"  # begins the code of what a filter left out
_BY_ITSELF = (
    "a filter judges each clip by its own signals alone, because a clip must not come and go with others. "
    "Write a number in place of what is told of many clips."
)
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_OF_MANY_ROWS = re.compile(  # what SQL computes over rows: aggregates, and functions of a window
    r"\b(over|avg|mean|sum|count|min|max|first|last|median|mode|stdev\w*|stddev\w*|variance|var\w*|quantile\w*|corr|"
    r"covar\w*|\w+_agg|rank|dense_rank|row_number|lag|lead|ntile|first_value|last_value|nth_value)\s*\(",
    re.IGNORECASE,
)
_TRIED: Mapping[type[pl.DataType], Sequence[object]] = {
    pl.Float64: (0.0, 0.4, 1.0, -21.5, 90.0, 4e3),
    pl.Int64: (0, 1, 7, 900, 20_000),
    pl.Boolean: (True, False),
    pl.String: ("en", "de", ""),
}
_NUM_TRIED = 12
_FAR = 10**9


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
    """Try an expression on rows: it must give a yes, no or null for each, and the same whatever rows are beside it."""
    if said := _OF_MANY_ROWS.search(_QUOTED.sub("''", expression)):
        raise ConfigError(f"{where} = {expression!r} has {said[0].strip('( ')!r}: {_BY_ITSELF}")
    rows = _rows_to_try()
    try:
        alone = [rows[number].select(answer=condition)["answer"] for number in range(rows.height)]
        among = [
            pl.concat([before, rows, after]).select(answer=condition)["answer"].slice(before.height, rows.height)
            for before, after in _others_to_try(rows)
        ]
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{where} = {expression!r} cannot be computed: {error}") from error
    if alone[0].dtype != pl.Boolean:
        raise ConfigError(f"{where} = {expression!r} is no condition: it gives {alone[0].dtype}, not true or false")
    if any(len(answer) != 1 for answer in alone) or any(not pl.concat(alone).equals(answer) for answer in among):
        raise ConfigError(f"{where} = {expression!r} gives a clip another answer beside other clips: {_BY_ITSELF}")


def _rows_to_try() -> pl.DataFrame:
    """Return rows of signals: one of nulls, and some of values on either side of what a condition may ask for."""
    columns = {
        name: [None, *(values[(place + step) % len(values)] for step in range(_NUM_TRIED))]
        for place, (name, dtype) in enumerate(SIGNAL_COLUMNS.items())
        for values in (_TRIED[dtype],)
    }
    return pl.DataFrame(columns, schema=dict(SIGNAL_COLUMNS))


def _others_to_try(rows: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield what is put before and after rows: nothing, and rows that would draw any sum, rank or mean either way."""
    none = rows.clear()
    yield none, none
    for factor in (_FAR, -_FAR):
        numbers = pl.col(pl.Float64, pl.Int64)
        far = rows.with_columns((numbers.abs().fill_null(1) + 1) * factor)
        yield none, far
        yield far, none


def _unknown(columns: Sequence[str]) -> Sequence[str]:
    return [name for name in columns if name not in SIGNAL_COLUMNS]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
