"""Stop what `up` started, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.services import alone, forget_service, read_service, state_folder, stop_marked

# The worker first, so that its flow runs can still tell the server how they ended.
ORDER = ("worker", "server")


def main() -> int:
    """Run the command and return its exit code."""
    stopped = bring_down(state_folder())
    for name, count in stopped.items():
        print(f"down: stopped the {name} ({count} processes)", file=sys.stderr)  # noqa: T201
    if not stopped:
        print("down: nothing was up", file=sys.stderr)  # noqa: T201
    return 0


def bring_down(folder: Path) -> dict[str, int]:
    """Stop the services and all their children; return how many processes each had."""
    stopped = {}
    with alone(folder):
        for name in ORDER:
            service = read_service(folder, name)
            if service is None:
                continue
            count = stop_marked(service.mark)
            forget_service(folder, name)
            if count:
                stopped[name] = count
    return stopped


if __name__ == "__main__":
    sys.exit(main())
