"""What a person types. Results go to stdout, progress and errors to stderr.

Exit codes: 0 ok, 1 failed, 2 usage, 3 config or environment, 4 gate refused, 5 too much quarantined, 75 try again,
130 interrupted.
"""

from mmpipe.cli.main import main

__all__ = ["main"]
