"""Completion as a shell does it: in a real bash, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_maker import write_text
from typed_projects import Type

from mmpipe.cli import completion, names
from mmpipe.cli.verbs import VERBS

CONFIG = """
store = "store"
[corpora.street]
root = "raw"
features = ["audio-logmel"]
[corpora.market]
root = "raw"
[features.mfcc-next]
extractor = "audio-mfccseg"
[models.street-event]
corpus = "street"
target = "event"
inputs = ["audio-logmel"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_text(tmp_path / "mmpipe.toml", CONFIG)
    (tmp_path / "store" / "street" / "video-hogdct@1").mkdir(parents=True)
    (tmp_path / "store" / "models" / "old-model").mkdir(parents=True)
    (tmp_path / "store" / "snapshots" / "names").mkdir(parents=True)
    write_text(tmp_path / "store" / "snapshots" / "names" / "paper.json", "{}")
    return tmp_path


def completed(project: Path, line: str) -> list[str]:
    """Return what bash offers when Tab is pressed at the end of a line."""
    if not shutil.which("bash"):
        pytest.skip("no bash")
    script = project / "complete.sh"
    if not script.exists():
        told = subprocess.run(
            [sys.executable, "-m", "mmpipe.cli", "completion", "bash"], capture_output=True, text=True
        )
        program = project / "bin" / "mmpipe"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mmpipe.cli "$@"\n')
        program.chmod(0o755)
        script.write_text(told.stdout)
    words = line.split(" ")
    typed = " ".join(f"'{word}'" for word in words)
    press = f"""
        source {script}
        COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}
        read -r _ _ _ _ function _ <<< "$(complete -p mmpipe)"
        "$function" mmpipe
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", press],
        cwd=project,
        env={**os.environ, "PATH": f"{project / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.split()


def test_bash_completes_verbs_options_and_names(project: Path) -> None:
    assert completed(project, "mmpipe st") == ["status"]
    assert set(completed(project, "mmpipe ")) >= {verb.name for verb in VERBS}
    assert completed(project, "mmpipe models pro") == ["promote"]
    assert "--dry-run" in completed(project, "mmpipe run --d")
    assert completed(project, "mmpipe run --corpus ") == ["market", "street"]
    assert completed(project, "mmpipe extract --feature a") == ["audio-logmel"]
    assert completed(project, "mmpipe models promote s") == ["street-event"]


def test_names_are_those_of_the_config_and_of_the_store(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMPIPE_CONFIG", raising=False)
    monkeypatch.chdir(project)
    assert names.corpora("") == ["market", "street"] and names.corpora("m") == ["market"]
    assert names.models("") == ["old-model", "street-event"]
    assert names.features("") == ["audio-logmel", "mfcc-next", "video-hogdct"]
    assert names.snapshots("") == ["paper"]


def test_the_config_that_is_typed_on_the_line_is_the_one(project: Path) -> None:
    other = CONFIG.replace("corpora.market", "corpora.harbour")
    write_text(project / "other.toml", other)
    assert completed(project, "mmpipe run -c other.toml --corpus ") == ["harbour", "street"]
    assert completed(project, "mmpipe run --config other.toml --corpus h") == ["harbour"]


def test_whatever_fails_a_shell_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**words: str) -> None:
        raise AttributeError("a fault of its own")

    with pytest.raises(SystemExit):
        completion.answer(fail)  # type: ignore[arg-type]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "config",
    [
        *("store = [", "corpora = 3", '[corpora]\nstreet = "x"', "[corpora.a]\nfeatures = 3", 'store = "a\\u0000b"'),
        'store = "s3://bucket/x"\n[corpora.a]\nroot = "b"',
    ],
)
def test_a_config_that_cannot_be_read_offers_nothing_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    monkeypatch.delenv("MMPIPE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "mmpipe.toml", config)
    assert names.features("") == [] and names.snapshots("") == [] and names.models("") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(tmp_path: Path, mmpipe: Type, shell: str) -> None:
    told = mmpipe(tmp_path, "completion", shell)
    assert told.code == 0 and f"_MMPIPE_COMPLETE=complete_{shell}" in told.out
    if shutil.which(shell):
        read = subprocess.run([shell, "-n"], input=told.out, capture_output=True, text=True)
        assert read.returncode == 0, read.stderr
