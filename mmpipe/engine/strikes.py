"""Which part is to blame for the deaths of an item's workers: one death may be chance."""

from __future__ import annotations

from collections import Counter

IN_A_ROW = 2  # the second, on a fresh worker, is the part's
KILLED_IN_A_ROW = 3  # by SIGKILL, which comes from elsewhere: an administrator, the kernel short of memory
KILLED_OUTSIDE = 8  # while a worker starts, loads or is between parts: nothing could be left out, so patience is all
IN_ALL = 8  # of one part, with others in between: so that no item is run for ever


class Strikes:
    """Counts the deaths of the workers of one item, by the part that they died in."""

    def __init__(self) -> None:
        self._last = ""
        self._row = 0
        self._row_killed = 0  # of them, by SIGKILL
        self._all: Counter[str] = Counter()

    def add(self, part: str, *, killed: bool) -> bool:
        """Count a death in a part, "" for none, and say whether that part is to blame.

        `killed` says that it was by a SIGKILL that we did not send. Deaths in other parts in between say that the part
        was gone through, or not come to: what is killed at random is not blamed for it.
        """
        if part != self._last:
            self._last, self._row, self._row_killed = part, 0, 0
        self._row += 1
        self._row_killed += killed
        self._all[part] += 1
        patience = IN_A_ROW
        if self._row_killed == self._row:
            patience = KILLED_IN_A_ROW if part else KILLED_OUTSIDE
        return self._row >= patience or (part != "" and self._all[part] >= IN_ALL)
