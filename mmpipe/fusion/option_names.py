"""The options of the fusions that come with mmpipe, read out of their files: importing one would load torch."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mmpipe.errors import ConfigError
from mmpipe.fusion import methods
from mmpipe.fusion.registry import fusion_names


def check_names(fusion: str, options: frozenset[str], where: str) -> None:
    """Raise ConfigError for a fusion that is not there, or an option that it does not take.

    What values an option takes, and what a fusion that is installed beside mmpipe takes, its own class says later.
    """
    if fusion not in fusion_names():
        raise ConfigError(f"{where}.fusions: no fusion named {fusion!r}; valid names are: {', '.join(fusion_names())}")
    known = option_names(fusion)
    if known is not None and (strangers := sorted(options - known)):
        takes = f"it takes: {', '.join(sorted(known))}" if known else "it takes none"
        raise ConfigError(
            f"{where}.fusion_options.{fusion}.{strangers[0]}: {fusion} has no such option; {takes}. "
            f"See: mmpipe fusions {fusion}"
        )


@cache
def option_names(fusion: str) -> frozenset[str] | None:
    """Return the names of a fusion's options; None for one that does not come with mmpipe."""
    module = f"{methods.__name__}.{fusion}"
    if not (Path(methods.__path__[0]) / f"{fusion}.py").is_file():
        return None
    for node in ast.walk(_parsed(module)):
        if isinstance(node, ast.Assign) and [_name(target) for target in node.targets] == ["Options"]:
            return _fields(module, _name(node.value))
    return frozenset()


def _fields(module: str, table: str) -> frozenset[str]:
    """Return the fields of a table that a module defines or imports, with those of the tables it extends."""
    for node in _parsed(module).body:
        if isinstance(node, ast.ClassDef) and node.name == table:
            own = (_name(part.target) for part in node.body if isinstance(part, ast.AnnAssign))
            return frozenset(own).union(*(_fields(module, _name(base)) for base in node.bases))
        if isinstance(node, ast.ImportFrom) and node.module and table in {alias.name for alias in node.names}:
            return _fields(node.module, table) if node.module.startswith("mmpipe.fusion") else frozenset()
    return frozenset()


@cache
def _parsed(module: str) -> ast.Module:
    spec = find_spec(module)  # imports the packages above it, which load nothing
    assert spec is not None and spec.origin
    return ast.parse(Path(spec.origin).read_text("utf-8"))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
