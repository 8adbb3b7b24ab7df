"""Call a function by its name, and tell apart how it can end."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from mmpipe.engine.work import WorkFailure
from mmpipe.errors import MmpipeError

Report = Callable[[str], None]
WorkFunction = Callable[[Any, Report, Mapping[str, str]], bytes]


def find_function(name: str) -> Callable[..., Any]:
    """Return what "module:name" names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def perform(function: str, payload: object, report: Report, poisoned: Mapping[str, str]) -> bytes | WorkFailure:
    """Return the function's result, or its exception as a failure.

    MemoryError is let through: a file that asks for too much is the file's fault, as it is where the worker is killed.
    """
    part = ""

    def note_part(name: str) -> None:
        nonlocal part
        part = name
        report(name)

    try:
        result = find_function(function)(payload, note_part, poisoned)
        if not isinstance(result, bytes):
            raise TypeError(f"{function} must return bytes, not {type(result).__name__}")
        return result
    except MmpipeError as error:
        return WorkFailure(code=type(error).__name__, detail=str(error), part=part)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the process border: the caller raises it, with this traceback
        return WorkFailure(code="crashed", detail=traceback.format_exc(), part=part)
