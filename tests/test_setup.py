"""The set-up: `./run`, the pins, and what they must say."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.!]+)$")


def read_pins() -> dict[str, Version]:
    lines = (REPOSITORY / "constraints.txt").read_text().split("\n")
    found = [(line, PIN.match(line)) for line in lines if line and not line.startswith("#")]
    assert not [line for line, match in found if match is None], "a constraint is name==version, without +cpu"
    return {canonicalize_name(match[1]): Version(match[2]) for _, match in found if match}


def read_requirements() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    return [Requirement(text) for text in texts]


def run(*arguments: str, root: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "run"), *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with a set-up that is cheap to try: nothing is installed yet."""
    root = tmp_path / "a checkout"
    root.mkdir()
    for name in ("run", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, root / name)
    return root


def fake_environment(root: Path) -> Path:
    """Put a finished environment in a checkout whose pip only writes down its calls, in the file returned."""
    tools = root / ".venv" / "bin"
    tools.mkdir(parents=True)
    calls = root / "calls"
    scripts = {
        "python": f'case "$*" in *"-m pip install"*) echo "$@" >>"{calls}"; sleep 0.3;'
        f' exit "${{FAKE_PIP_EXIT:-0}}" ;; esac\nexec "{sys.executable}" "$@"\n',
        "mmpipe": "env\n",
    }
    for name, body in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}")
        (tools / name).chmod(0o755)
    files = (root / "pyproject.toml").read_bytes() + (root / "constraints.txt").read_bytes()
    sums = subprocess.run(["cksum"], input=files, capture_output=True, check=True).stdout.decode().strip()
    (root / ".venv" / ".mmpipe-stamp").write_text(f"{platform.python_version()}|{sums}|{root}\n")
    return calls


@pytest.mark.parametrize("script", ["run", ".ci/run", ".ci/dist"])
def test_the_scripts_parse(script: str) -> None:
    shell = "sh" if script == "run" else "bash"
    assert subprocess.run([shell, "-n", str(REPOSITORY / script)]).returncode == 0
    assert os.access(REPOSITORY / script, os.X_OK)


def test_help_names_every_command() -> None:
    shown = run("help")
    assert shown.returncode == 0
    for command in ("demo", "test", "check", "up", "down", "mmpipe", "setup", "help"):
        assert f"  {command} " in shown.stdout
    assert "--all" in shown.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    done = run("bogus")
    assert done.returncode == 2
    assert "no such command: bogus" in done.stderr


def test_a_missing_python_is_said_plainly(copy: Path) -> None:
    done = run("setup", root=copy, PYTHON="/nowhere/python")
    assert done.returncode == 3
    assert "no Python 3.11 to 3.14" in done.stderr
    assert "/nowhere/python" in done.stderr
    assert not (copy / ".venv").exists()


def test_the_environment_is_reused_while_nothing_changed(copy: Path) -> None:
    calls = fake_environment(copy)
    assert run("setup", root=copy).stderr == ""
    assert not calls.exists()


def test_changed_pins_are_installed_once(copy: Path) -> None:
    calls = fake_environment(copy)
    with open(copy / "constraints.txt", "a") as file:
        file.write("# changed\n")
    for _ in range(2):
        assert run("setup", root=copy).returncode == 0
    (call,) = calls.read_text().splitlines()
    assert "-c constraints.txt" in call
    assert ".[pipeline,dev]" in call


def test_two_at_once_install_once(copy: Path) -> None:
    calls = fake_environment(copy)
    (copy / ".venv" / ".mmpipe-stamp").unlink()
    both = [subprocess.Popen([copy / "run", "setup"], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(calls.read_text().splitlines()) == 1


def test_a_failed_install_is_not_taken_for_done(copy: Path) -> None:
    fake_environment(copy)
    (copy / ".venv" / ".mmpipe-stamp").unlink()
    done = run("setup", root=copy, FAKE_PIP_EXIT="1")
    assert done.returncode == 3
    assert "Run the same command again" in done.stderr
    assert not (copy / ".venv" / ".mmpipe-stamp").exists()
    assert (copy / ".venv" / ".mmpipe-installing").exists()  # makes the next run begin anew


def test_pins_keep_out_what_breaks_prefect_silently() -> None:
    pins = read_pins()
    assert pins["fastapi"] < Version("0.140")
    assert pins["sqlalchemy"] < Version("2.1")


def test_every_requirement_is_pinned_and_the_pin_fits() -> None:
    pins = read_pins()
    for requirement in read_requirements():
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is in pyproject.toml but not in constraints.txt"
        assert pins[name] in requirement.specifier, f"{name}=={pins[name]} is not {requirement.specifier}"


def test_prefect_is_told_to_be_quiet_local_and_patient(copy: Path) -> None:
    """A stand-in for the installed command line shows what every child of ./run gets."""
    fake_environment(copy)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "HF_"))}
    shown = subprocess.run([copy / "run", "mmpipe"], capture_output=True, text=True, env=clean)
    assert shown.returncode == 0, shown.stderr
    lines = set(shown.stdout.split("\n"))
    assert f"PREFECT_HOME={copy}/.mmpipe/prefect" in lines
    assert "PREFECT_SERVER_ANALYTICS_ENABLED=false" in lines
    assert "PREFECT_RESULTS_DEFAULT_SERIALIZER=json" in lines
    assert "HF_HUB_OFFLINE=1" in lines


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], "-n 2 --dist loadfile --no-loadscope-reorder"),
        (["--all"], "--all -n 3 --dist loadfile --no-loadscope-reorder"),
        (["-x", "tests/flows"], "-x tests/flows"),
        (["--all", "tests/flows"], "--all tests/flows"),
    ],
)
def test_all_tests_run_on_two_cores_and_named_ones_in_one_process(copy: Path, words: list[str], given: str) -> None:
    fake_environment(copy)
    tools = copy / ".venv" / "bin"
    python = f'#!/bin/sh\ncase "$*" in "-m pytest"*) echo "$*" ;; *) exec "{sys.executable}" "$@" ;; esac\n'
    for name, script in (("ruff", "#!/bin/sh\n"), ("mypy", "#!/bin/sh\n"), ("python", python)):
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    done = run("test", *words, root=copy)
    assert (done.stdout, done.returncode) == (f"-m pytest {given}\n", 0), done.stderr


@pytest.mark.parametrize(
    ("words", "variables", "ran"),
    [([], {}, {"short"}), (["--all"], {}, {"short", "slow"}), ([], {"MMPIPE_SWEEP": "1"}, {"short", "slow", "sweep"})],
)
def test_what_is_slow_is_left_to_ci_and_sweeps_to_their_command(
    tmp_path: Path, words: list[str], variables: dict[str, str], ran: set[str]
) -> None:
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path)
    marks = {"short": "", "slow": "@pytest.mark.slow\n", "sweep": "@pytest.mark.sweep\n@pytest.mark.slow\n"}
    tests = "".join(f"{mark}def test_{name}():\n    print('ran', {name!r})\n" for name, mark in marks.items())
    (tmp_path / "test_it.py").write_text(f"import pytest\n{tests}")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n  sweep\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MMPIPE_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-rs", "-p", "no:cacheprovider", *words],
        cwd=tmp_path,
        env=environment | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"ran (\w+)", done.stdout)) == ran
    assert ("slow: ./run test --all" in done.stdout) == (ran == {"short"})
    assert ("a part of ./run sweep" in done.stdout) == ("sweep" not in ran)
