"""The table of verbs, held against what is behind it: every verb has its examples, and loads what it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typed_projects import AUDIO, Type, write_sample_project

from mmpipe.cli.lazy import leaves_of
from mmpipe.cli.main import app
from mmpipe.cli.verbs import VERBS

ROOT = typer.main.get_command(app)
LEAVES = {" ".join(words): command for words, command in leaves_of(ROOT)}
READING = (
    "audit", "bank ls", "bench extract", "config", "doctor", "evaluate", "feature canary", "feature compare",
    "feature ls", "fusions", "goals", "ls", "models ls", "models show", "models verify", "plan", "predict", "probe",
    "quarantine ls", "quarantine show", "reproduce", "sample", "schema", "search", "show", "snapshot diff",
    "snapshot ls", "snapshot show", "status",
)  # fmt: skip
# What neither reads a person's question nor changes a store in one go, and why it has no such option.
OWN_WAY = {
    "app": "a server: it reads, and never ends",
    "completion": "prints a script",
    "gc": "lists, unless it is told to --delete",
    "metrics": "prints what Prometheus reads",
    "serve": "a server: it never ends",
}


def options_of(command: object) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", LEAVES)
def test_a_verb_that_reads_speaks_json_and_one_that_writes_can_say_what_it_would_do(verb: str) -> None:
    wanted = "--json" if verb in READING else "--dry-run"
    assert verb in OWN_WAY or wanted in options_of(LEAVES[verb]), f"{verb} takes no {wanted}"


def test_every_verb_has_examples_that_are_understood() -> None:
    examples = [example for verb in VERBS for example in verb.examples]
    for name, command in LEAVES.items():
        told = [example for example in examples if example == name or example.startswith(f"{name} ")]
        assert told, f"{name} has no example in mmpipe/cli/verbs.py"
        assert all(f"Example: mmpipe {example}" in command.epilog for example in told)
    for verb in VERBS:
        assert verb.examples[0].split()[0] == verb.name and len(verb.about) <= 52


def test_a_file_of_verbs_is_named_in_the_table() -> None:
    folder = Path(sys.modules["mmpipe.cli.verbs"].__file__ or "").parent
    with_verbs = {path.stem for path in folder.glob("*.py") if re.search(r"^def register\(", path.read_text(), re.M)}
    assert with_verbs == {verb.room for verb in VERBS}


def test_an_example_of_each_stands_beside_it_where_there_is_room(
    tmp_path: Path, mmpipe: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    wide = mmpipe(tmp_path, "--help").out
    monkeypatch.setenv("COLUMNS", "80")
    narrow = mmpipe(tmp_path, "--help").out
    for verb in VERBS:
        assert re.search(rf"│ {verb.name} +{re.escape(verb.about)} +mmpipe {re.escape(verb.examples[0])}", wide)
        assert re.search(rf"│ {verb.name} +{re.escape(verb.about)} +│", narrow)
    assert max(map(len, narrow.splitlines())) == 80


# ------------------------------------------------------------------ what a verb loads

LOADED = """
import contextlib, io, json, sys
from mmpipe.cli import main
for line in {lines!r}:
    words = line.split()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    heavy = [name for name in {heavy!r} if name in sys.modules]
    print(json.dumps([line, code, heavy, said.getvalue()]), flush=True)
"""
HEAVY = ("torch", "transformers", "sklearn", "av", "prefect", "polars", "pyarrow", "numpy")
LIGHT = ("--help", "--version", "frob", "completion bash")
# Each is judged by what it adds to those before it.
NO_TABLES = ("status --frob", "config engine", "models ls", "init --help")
NO_NETWORKS = (
    "ls", "status", "plan", "quarantine ls", "quarantine show", "schema audio-toy", "sample audio-toy", "audit",
    "snapshot ls", "feature ls", "bank ls", "metrics", "verify", "gc", "run --dry-run", "compact --dry-run",
    "migrate --dry-run", "export --to parquet --out x --dry-run", "report --dry-run",
)  # fmt: skip


def test_a_verb_loads_what_it_needs(tmp_path: Path) -> None:
    """Torch for what computes alone; `fusions` and `goals` tell of networks by their code, `doctor` looks at torch."""
    write_sample_project(tmp_path, AUDIO)
    program = LOADED.format(lines=(*LIGHT, *NO_TABLES, *NO_NETWORKS), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    for line, code, heavy, said in told:
        allowed = () if line in LIGHT else ("numpy",) if line in NO_TABLES else ("numpy", "polars", "pyarrow")
        assert set(heavy) <= set(allowed), (line, heavy)
        assert code == (2 if "frob" in line else 0) or line == "status", (line, code, said)
    assert len(told) == len(LIGHT) + len(NO_TABLES) + len(NO_NETWORKS)
