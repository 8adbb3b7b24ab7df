"""The `mmpipe` command: its verbs, and what an error looks like."""

from __future__ import annotations

import os
import signal
import sys

import typer
from rich.console import Console

from mmpipe.cli import look, make, models
from mmpipe.errors import MmpipeError

app = typer.Typer(
    name="mmpipe",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Raw video, audio, images and text in; aligned feature shards and fused models that earned their release out.",
)
make.register(app)
look.register(app)
models.register(app)


def main() -> None:
    """Run a command line; an error is one clear text on stderr and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(standalone_mode=False)
    except MmpipeError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted; what is finished is kept, run the same command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does; closing stdout again would only complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "show"):
            error.show()
            sys.exit(2)
        raise


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text)
