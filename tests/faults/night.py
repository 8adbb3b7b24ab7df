"""One night as a flow, in a process of its own: `python -m tests.faults.night CONFIG`; prints how it ended."""

from __future__ import annotations

import datetime
import sys

from flows.nightly import nightly
from flows.parameters import NightlyParameters
from tests.faults.clips import NIGHT


def main() -> None:
    """Run the night and print its state and message."""
    wish = NightlyParameters(config=sys.argv[1], date=datetime.date.fromisoformat(NIGHT), batch_clips=2)
    state = nightly(wish, return_state=True)
    print(f"{state.type.value}: {state.message}")


if __name__ == "__main__":
    main()
