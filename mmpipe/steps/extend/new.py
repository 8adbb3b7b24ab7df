"""Write a plug-in package that works as it is: named, rendered, and an extractor's golden recorded."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mmpipe.features.registry import extractor_names
from mmpipe.fusion.registry import fusion_names
from mmpipe.plugins import PluginKind
from mmpipe.sources.plugged import source_names
from mmpipe.starters.package import Starter, plan_starter, render_starter, require_new, write_starter
from mmpipe.testing import record_extractor
from mmpipe.types import Modality

_GOLDEN = Path("tests") / "golden"


def plan_new(kind: PluginKind, name: str, modality: Modality | None, into: Path) -> tuple[Starter, tuple[str, ...]]:
    """Return what would be written and its files; raise ConfigError where the name or the folder is taken."""
    names = {
        PluginKind.EXTRACTOR: extractor_names,
        PluginKind.FUSION: fusion_names,
        PluginKind.SOURCE: source_names,
    }
    starter = plan_starter(kind, name, modality, names[kind]())
    require_new(starter, into)
    golden = (str(_GOLDEN / f"{name}@1.json"),) if kind is PluginKind.EXTRACTOR else ()
    return starter, (*render_starter(starter), *golden)


def write_new(starter: Starter, into: Path) -> Path:
    """Write a package that was planned, and return its folder."""
    return write_starter(starter, into, finish=lambda folder: _finish(starter, folder))


def _finish(starter: Starter, folder: Path) -> None:
    if starter.kind is PluginKind.EXTRACTOR:
        with _imported(folder / f"{starter.module}.py") as module:
            record_extractor(getattr(module, starter.class_name), folder / _GOLDEN)


@contextmanager
def _imported(path: Path) -> Iterator[ModuleType]:
    """Import a file that is not installed yet, and leave no trace of it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.modules.pop(path.stem)
        if before:
            sys.modules[path.stem] = before
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
