"""The `mmpipe` command: its verbs, and what an error looks like."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from mmpipe.cli import completion
from mmpipe.cli.ending import run_and_leave
from mmpipe.cli.lazy import LazyGroup
from mmpipe.cli.show import plain, print_text
from mmpipe.errors import MmpipeError

# Its verbs stand in mmpipe/cli/verbs.py.
app = typer.Typer(
    name="mmpipe",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Raw video, audio, images and text in; aligned feature shards and fused models that earned their release out.",
    epilog="An example of each, and all its options: mmpipe VERB --help. Begin with: mmpipe init --corpus FOLDER",
)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print_text(f"mmpipe {version('mmpipe')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say the version, and exit.")
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", callback=_be_plain, is_eager=True, help="No colours, as NO_COLOR=1 does.")
    ] = False,
) -> None:
    """Take what stands before any verb."""


def _be_plain(is_asked: bool) -> None:
    if is_asked:
        os.environ["NO_COLOR"] = "1"  # children are told, too


def main(words: Sequence[str] | None = None) -> None:
    """Run a command line, by default the process's own, which ends with it; words that are given raise SystemExit."""
    if words is None:
        run_and_leave(lambda: _main(sys.argv[1:]))
    else:
        _main(words)


def _main(words: Sequence[str]) -> None:
    """Run a command line; an error is one clear text on stderr and an exit code."""
    if completion.is_asked():
        completion.answer(app)
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without é still shows that there is one
    try:
        _run(list(words))
    except MmpipeError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted; what is finished is kept, run the same command again to go on")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does; closing stdout again would only complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _say(f"error: {error}. What is committed is whole; put this right, and run the same command again.")
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("", "mmpipe"):
            raise  # ours is missing: a fault of this build, not of the installation
        _say(f"error: {error.name} is not installed; the base install only reads. Run: pip install 'mmpipe[pipeline]'")
        sys.exit(3)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "show"):
            _say_usage(error)
            sys.exit(2)
        raise


def _run(words: list[str]) -> NoReturn:
    """Run a verb. Not by `app()`, which swallows an interrupt and a broken pipe, and returns exit codes as values."""
    command = typer.main.get_command(app)
    with command.make_context(app.info.name, words) as context:
        command.invoke(context)
    sys.stdout.flush()  # here, where a broken pipe is understood
    sys.exit(0)


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say_usage(usage: Any) -> None:
    """Say what is wrong with a line, what may have been meant, and where all is told that it may hold."""
    if type(usage).__name__ == "NoArgsIsHelpError":
        usage.show()
        return
    from mmpipe.config import fault_text

    near = getattr(usage, "possibilities", None)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    usage.message, usage.possibilities = fault_text(usage.message), None
    said = usage.format_message().rstrip(".")
    said = said if said.endswith("?") else f"{said}."
    context = getattr(usage, "ctx", None)
    _say(f"error: {said}{meant}\nWhat it takes: {context.command_path if context else 'mmpipe'} --help")


def _say(text: str) -> None:
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for line in text.split("\n"):
        told = Text(plain(line))
        told.highlight_regex(r"^error:", "bold red")
        console.print(told)
