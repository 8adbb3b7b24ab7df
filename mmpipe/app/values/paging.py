"""A page of a long list: which one of how many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Where in a list a page stands; pages count from 1."""

    page: int
    num_pages: int
    total: int  # rows of the whole list

    @property
    def has_more(self) -> bool:
        """Say whether one page does not hold all."""
        return self.num_pages > 1


def paging_of(total: int, wanted: int, rows_per_page: int) -> Paging:
    """Return the page that is wanted of a list; the last one there is, where it has not so many."""
    num_pages = max(-(-total // rows_per_page), 1)
    return Paging(page=min(max(wanted, 1), num_pages), num_pages=num_pages, total=total)


def rows_of(rows: Sequence[_Row], wanted: int, rows_per_page: int) -> tuple[tuple[_Row, ...], Paging]:
    """Return the rows of a page, and where it stands."""
    paging = paging_of(len(rows), wanted, rows_per_page)
    start = (paging.page - 1) * rows_per_page
    return tuple(rows[start : start + rows_per_page]), paging
