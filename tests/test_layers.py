"""The order of the house: who may import whom, and that importing does nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
GROUND = {"types", "errors", "config", "io", "faults", "remote", "cache", "words", "plugins", "look"}
# Floor 2: the only places that know two rooms. `__init__` and `testing` are the doors for other teams.
JOINERS = {"steps", "cli", "testing", "__init__", "__main__"}
# (from, to) -> why the door must be.
DOORS = {
    ("features", "fusion"): "a release is an extractor: what its network embeds is computed as what it is",
    ("features", "weights"): "an encoder is what its weights are: their digest is its fingerprint",
    ("fusion", "weights"): "a network that begins from weights finds and reads them as an encoder does",
    ("batches", "store"): "a batch is read from the mapped shards: a copy in between would cost the speed",
    ("train", "fusion"): "a network is trained as what it is: its modules, losses and export have no plain form",
}
# Heavy packages, and the only places that may load them by being imported.
MAY_LOAD: dict[str, tuple[str, ...]] = {
    "torch": ("mmpipe.fusion", "mmpipe.train", "mmpipe.features.trained"),
    "transformers": (),
    "av": (
        "mmpipe.media",
        "mmpipe.steps.ask.ask_worker",
        "mmpipe.steps.extract.extract_shard",
        "mmpipe.steps.speed.speed_sample",
        "mmpipe.steps.ingest.survey_worker",
    ),
    "prefect": (),
    "ray": (),
}
# The rooms of the steps, from the ground up: each may import those before it.
STEPS = ("ground", "workers", "plan", "goals", "ingest", "share", "speed", "extract", "train", "release", "ask",
         "quarantine", "keep", "shown", "tell", "night", "search", "serve", "app", "extend")  # fmt: skip
# (from, to) -> why a room of the steps must know one above it.
STAIRS = {
    ("speed", "extract"): "what a run could have done at best is measured with its own shards and workers",
    ("train", "release"): "a training that goes on from a release asks what its examination found weak",
}
# What a file above the library may import of it.
FLOORS = {
    "tasks": {"mmpipe.steps", "mmpipe.config", "mmpipe.types", "mmpipe.errors", "tasks"},
    "flows": {"mmpipe.config", "mmpipe.types", "mmpipe.errors", "tasks", "flows"},
    # The steps for the desk alone: it shows what the library says of a store.
    "deployments": {"mmpipe.steps", "mmpipe.config", "mmpipe.errors", "deployments"},
}
OURS = ("mmpipe", "tasks", "flows", "deployments", "examples", "benchmarks", "tests")


def python_files(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Every module that the code names in an import; `from a import b` names both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: imports name their floor"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> set[str]:
    return set(imported_modules(ast.parse(path.read_text("utf-8"))))


def module_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(path: Path) -> str:
    """The room of a file of the library, or its own name on the ground floor."""
    return path.relative_to(REPOSITORY / "mmpipe").with_suffix("").parts[0]


def rooms_named(imports: set[str]) -> set[str]:
    return {name.split(".")[1] for name in imports if name.startswith("mmpipe.")} - {"__init__"}


def faults_of_library(path: Path, imports: set[str]) -> list[str]:
    """What is wrong with the imports of a file under mmpipe/."""
    room, name = room_of(path), path.relative_to(REPOSITORY)
    faults = [
        f"{name} imports {module}: the library knows nothing above it"
        for module in sorted(imports)
        if module.split(".")[0] in ("prefect", *OURS[1:])
    ]
    if room in JOINERS:
        return faults
    known = {path.stem for path in (REPOSITORY / "mmpipe").iterdir()}
    for other in sorted(rooms_named(imports) & known - {room}):
        if room in GROUND and other not in GROUND:
            faults.append(f"{name} imports mmpipe.{other}: the ground floor knows no room")
        elif other not in GROUND and (room, other) not in DOORS:
            faults.append(f"{name} imports mmpipe.{other}: rooms do not know each other; join them in mmpipe/steps")
    return faults


def faults_of_floor(floor: str, path: Path, imports: set[str]) -> list[str]:
    """What is wrong with the imports of a file above the library."""
    allowed = FLOORS[floor]
    return [
        f"{path.relative_to(REPOSITORY)} imports {module}: {floor} may import only {sorted(allowed)}"
        for module in sorted(imports)
        if module.split(".")[0] in OURS
        and not any(module == base or module.startswith(f"{base}.") for base in allowed)
        # `from mmpipe import errors` names mmpipe as well as mmpipe.errors; the second decides.
        and not (module == "mmpipe" and any(name.startswith("mmpipe.") for name in imports))
    ]


def test_the_library_imports_down_only() -> None:
    faults = [fault for path in python_files("mmpipe") for fault in faults_of_library(path, imports_of(path))]
    assert not faults, "\n".join(faults)


def faults_of_steps(path: Path, imports: set[str]) -> list[str]:
    """What is wrong with the imports that a file of the steps has from other rooms of the steps."""
    room, name = path.relative_to(REPOSITORY / "mmpipe" / "steps").parts[0], path.relative_to(REPOSITORY)
    others = {module.split(".")[2] for module in imports if module.startswith("mmpipe.steps.")} & set(STEPS)
    return [
        f"{name} imports mmpipe.steps.{other}: that stands above {room}"
        for other in sorted(others)
        if STEPS.index(other) > STEPS.index(room) and (room, other) not in STAIRS
    ]


def test_every_room_of_the_steps_has_its_place() -> None:
    rooms = {path.name for path in (REPOSITORY / "mmpipe" / "steps").iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(STEPS)


def test_the_steps_import_down_only() -> None:
    paths = [path for path in python_files("mmpipe/steps") if path.parent.name != "steps"]
    faults = [fault for path in paths for fault in faults_of_steps(path, imports_of(path))]
    assert not faults, "\n".join(faults)


def test_a_wrong_import_in_the_steps_is_seen() -> None:
    path = REPOSITORY / "mmpipe" / "steps" / "plan" / "x.py"
    assert faults_of_steps(path, {"mmpipe.steps.night.backfill"})
    assert not faults_of_steps(path, {"mmpipe.steps.workers.compute"})


@pytest.mark.parametrize("floor", sorted(FLOORS))
def test_the_floors_above_import_down_only(floor: str) -> None:
    faults = [fault for path in python_files(floor) for fault in faults_of_floor(floor, path, imports_of(path))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("file", "code", "word"),
    [
        ("mmpipe/store/x.py", "from prefect import task", "prefect"),
        ("mmpipe/store/x.py", "def f():\n    import prefect.flows", "prefect"),
        ("mmpipe/store/x.py", "from mmpipe.train.data import x", "mmpipe.train"),
        ("mmpipe/store/x.py", "from mmpipe import train", "mmpipe.train"),
        ("mmpipe/store/x.py", "import mmpipe.steps.plan.plan", "mmpipe.steps"),
        ("mmpipe/io.py", "from mmpipe.store import layout", "mmpipe.store"),
        ("mmpipe/steps/x.py", "import flows.nightly", "flows.nightly"),
    ],
)
def test_a_wrong_import_in_the_library_is_seen(file: str, code: str, word: str) -> None:
    faults = faults_of_library(REPOSITORY / file, set(imported_modules(ast.parse(code))))
    assert any(word in fault for fault in faults)


@pytest.mark.parametrize(
    ("floor", "code"),
    [
        ("tasks", "from mmpipe.store import layout"),
        ("tasks", "import flows"),
        ("flows", "from mmpipe.steps import plan"),
        ("flows", "from mmpipe import steps"),
        ("deployments", "from flows.nightly import nightly"),
    ],
)
def test_a_wrong_import_above_the_library_is_seen(floor: str, code: str) -> None:
    path = REPOSITORY / floor / "x.py"
    assert faults_of_floor(floor, path, set(imported_modules(ast.parse(code))))


def test_a_right_import_is_let_through() -> None:
    code = "from mmpipe.errors import ConfigError\nfrom mmpipe import config\nimport numpy"
    assert not faults_of_floor("flows", REPOSITORY / "flows" / "x.py", set(imported_modules(ast.parse(code))))
    assert not faults_of_library(REPOSITORY / "mmpipe/store/x.py", set(imported_modules(ast.parse(code))))


def test_every_door_is_used() -> None:
    used = {(room_of(path), other) for path in python_files("mmpipe") for other in rooms_named(imports_of(path))}
    assert set(DOORS) <= used, "a door that nobody uses comes out of the list"


# Runs in a fresh interpreter: import modules one by one and say which loaded what it must not, or started a thread.
IMPORT_ALL = """
import importlib, json, sys, threading
forbidden, modules = json.loads(sys.argv[1]), json.loads(sys.argv[2])
faults = []
for name in modules:
    importlib.import_module(name)
    faults += [f"importing {name} loads {package}" for package in forbidden if package in sys.modules]
    faults += [f"importing {name} starts a thread" for _ in threading.enumerate()[1:]]
    if faults:
        break
print("FAULTS", json.dumps(faults))
"""


def packages_allowed(module: str) -> frozenset[str]:
    """The heavy packages that a module may load when it is imported."""
    return frozenset(
        package
        for package, places in MAY_LOAD.items()
        if any(module == place or module.startswith(f"{place}.") for place in places)
    )


def groups_of_modules() -> dict[frozenset[str], list[str]]:
    groups: dict[frozenset[str], list[str]] = {}
    for path in python_files("mmpipe"):
        if path.stem != "__main__":
            groups.setdefault(packages_allowed(module_of(path)), []).append(module_of(path))
    return groups


@pytest.mark.parametrize(
    "allowed", sorted(groups_of_modules(), key=sorted), ids=lambda group: "+".join(group) or "none"
)
def test_importing_does_nothing(allowed: frozenset[str]) -> None:
    forbidden, modules = sorted(set(MAY_LOAD) - allowed), groups_of_modules()[allowed]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps(forbidden), json.dumps(modules)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "FAULTS []\n", done.stdout
