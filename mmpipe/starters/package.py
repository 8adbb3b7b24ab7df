"""The first files of a plug-in package: rendered whole, and shown under their name only when all are written."""

from __future__ import annotations

import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from mmpipe.config import NAME_PATTERN
from mmpipe.errors import ConfigError
from mmpipe.plugins import PluginKind
from mmpipe.types import Modality

_FUSION_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
_SPOKEN = {Modality.AUDIO: "sound", Modality.IMAGE: "a still", Modality.VIDEO: "a film", Modality.TEXT: "a text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """A package that is to be written."""

    kind: PluginKind
    name: str  # by which the config knows what it brings
    modality: Modality | None = None  # of an extractor

    @property
    def package(self) -> str:
        """Return the name to install it by."""
        return f"mmpipe-{self.name.replace('_', '-')}"

    @property
    def module(self) -> str:
        """Return the name to import it by."""
        return self.package.replace("-", "_")

    @property
    def class_name(self) -> str:
        """Return the name of its class; the kind ends it, because an `ImageClip` would hide that of mmpipe."""
        return "".join(part.capitalize() for part in (*re.split("[-_]", self.name), self.kind))


def plan_starter(kind: PluginKind, name: str, modality: Modality | None, taken: tuple[str, ...]) -> Starter:
    """Return the package for a name; raise ConfigError where the name cannot be one, or is taken."""
    pattern = _FUSION_PATTERN if kind is PluginKind.FUSION else NAME_PATTERN
    if not re.fullmatch(pattern, name):
        raise ConfigError(
            f"{name!r} is no name of {_an(kind)}: it fits {pattern}. Choose small letters, as {_like(kind)}."
        )
    starter = Starter(kind=kind, name=name, modality=_modality_of(kind, name, modality))
    if keyword.iskeyword(name):
        raise ConfigError(f"{name!r} is a word of Python's own. Choose another name, as {_like(kind)}.")
    if not starter.class_name.isidentifier():
        raise ConfigError(
            f"{name!r} would be the class {starter.class_name!r}, which Python does not allow. "
            f"Begin with a letter, as {_like(kind)}."
        )
    if starter.module in sys.stdlib_module_names or not starter.module.isidentifier():
        raise ConfigError(f"{name!r} would be the module {starter.module!r}, which cannot be imported. Choose another.")
    if name in taken:
        raise ConfigError(f"{_an(kind)} named {name!r} is there already. Choose another name, as {_like(kind)}.")
    return starter


def _modality_of(kind: PluginKind, name: str, modality: Modality | None) -> Modality | None:
    """Return what an extractor reads: what is said, else what its name begins with."""
    if kind is not PluginKind.EXTRACTOR:
        if modality:
            raise ConfigError(f"--modality is for an extractor; {_an(kind)} reads no media")
        return None
    named = name.partition("-")[0]
    if modality is None and named not in list(Modality):
        raise ConfigError(
            f"what the extractor {name!r} reads is not known: begin its name with {', '.join(Modality)}, "
            f"as {_like(kind)}, or say --modality"
        )
    return modality or Modality(named)


def render_starter(starter: Starter) -> Mapping[str, str]:
    """Return the files of a package, by their place in it."""
    kind, module = str(starter.kind), starter.module
    code = f"{kind}.{starter.modality}.py" if starter.modality else f"{kind}.py"
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": f"{kind}.md",
        f"{module}.py": code,
        f"tests/test_{module}.py": f"{kind}_test.py",
    }
    return {place: _render(template, starter) for place, template in templates.items()}


def _render(template: str, starter: Starter) -> str:
    text = (resources.files("mmpipe.starters") / "templates" / f"{template}.tmpl").read_text("utf-8")
    return Template(text).substitute(
        kind=starter.kind,
        group=starter.kind.group,
        name=starter.name,
        package=starter.package,
        module=starter.module,
        class_name=starter.class_name,
        modality=_SPOKEN.get(starter.modality, "numbers") if starter.modality else "",
    )


def write_starter(starter: Starter, into: Path, finish: Callable[[Path], None]) -> Path:
    """Write a package as a new folder of `into`, and return it; a folder that is there is never touched.

    `finish` adds what only the written files can give, before anybody sees the folder.
    """
    require_new(starter, into)
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{starter.package}.", dir=into) as temporary:
            made = Path(temporary) / starter.package
            for place, text in render_starter(starter).items():
                (made / place).parent.mkdir(parents=True, exist_ok=True)
                (made / place).write_text(text, encoding="utf-8")
            finish(made)
            return Path(shutil.move(made, into / starter.package))
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"cannot write to {into}: {why}. Name another folder by --into.") from error


def require_new(starter: Starter, into: Path) -> None:
    """Raise ConfigError where something is already there."""
    if (into / starter.package).exists() or (into / starter.package).is_symlink():
        raise ConfigError(
            f"{into / starter.package} is there already, and is not touched. "
            "Choose another name, or a folder by --into."
        )


def _an(kind: PluginKind) -> str:
    return f"an {kind}" if kind is PluginKind.EXTRACTOR else f"a {kind}"


def _like(kind: PluginKind) -> str:
    return {"extractor": "'audio-rhythm'", "fusion": "'soft_vote'", "source": "'photo-shelf'"}[str(kind)]
