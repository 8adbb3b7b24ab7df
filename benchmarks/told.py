"""What a benchmark tells a person: its figures as a table, and on stderr how far it is."""

from __future__ import annotations

import sys


def print_table(result: dict[str, object]) -> None:
    """Print the figures, the ratios and their goals."""
    for title in ("figures", "ratios", "goals"):
        print(title)
        table = result[title]
        assert isinstance(table, dict)
        for name, figure in table.items():
            print(f"  {name:32s} {figure:14,.2f}")


def log(line: str) -> None:
    """Say on stderr how far it is."""
    print(line, file=sys.stderr)
