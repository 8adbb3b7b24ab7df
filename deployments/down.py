"""Stop what `up` started, and nothing else; the data stay."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.services import Service, alone, forget_service, read_services, state_folder, stop_service

# The keeper first, so that nothing comes back; workers before the server, so that their flow runs can still tell it
# how they ended; the database last.
ORDER = ("keeper", "recover", "worker", "desk", "server", "postgres")


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
        for service in sorted(read_services(folder), key=_turn):
            count = stop_service(service)
            forget_service(folder, service.name)
            if count:
                stopped[service.name] = count
    return stopped


def _turn(service: Service) -> int:
    """Return when a service's turn to end comes; `worker-cpu` is a worker."""
    kind = service.name.partition("-")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


if __name__ == "__main__":
    sys.exit(main())
