"""A night among hostile files in a process of its own: it takes no input and tells no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus_maker import CORPUS, DT, write_pairs, write_text
from hostile_makers import wav_of

SECRETS = ("canary-secret-123", "canary-password-456")


@dataclass(frozen=True)
class Night:
    """What a child process did in a folder, what it printed, and what it left of its standard input."""

    folder: Path
    printed: bytes
    left: bytes


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Night:
    """Return what a few verbs did in a process of their own, with secrets about and something piped in."""
    folder = tmp_path_factory.mktemp("night")
    write_pairs(folder / "media", ["one"])
    write_text(folder / "media" / "pipe:0.wav", wav_of(8_000, 1, 800))
    write_text(folder / "media" / "bad.wav", "no sound")
    (folder / "mmpipe.toml").write_text(
        f'store = "store"\nengine = {{workers = 1}}\n[corpora.{CORPUS}]\nroot = "media"\nmax_quarantined = 1\n'
        'features = ["audio-mfccseg"]\n'
        f'[corpora.away]\nroot = "https://user:{SECRETS[1]}@127.0.0.1:9/folder"\n'
    )
    verbs = [
        ["ingest", "--corpus", CORPUS, "--dt", DT],
        ["quarantine", "show", "--corpus", CORPUS, "--json"],
        ["ingest", "--corpus", "away", "--dt", DT],
    ]
    script = (
        "from contextlib import suppress\nfrom mmpipe.cli import main\n"
        f"for words in {verbs!r}:\n    with suppress(SystemExit):\n        main(words)\n"
    )
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >&2; cat', sys.executable, script],
        input=b"left alone",
        capture_output=True,
        cwd=folder,
        env={**os.environ, "AWS_SECRET_ACCESS_KEY": SECRETS[0]},
    )
    return Night(folder=folder, printed=done.stderr, left=done.stdout)


def test_nothing_a_reader_runs_takes_the_standard_input(night):
    """A worker has /dev/null there: what is piped into a run stays for who it is for."""
    assert night.left == b"left alone", night.printed


def test_no_secret_of_the_environment_or_of_an_address_is_in_any_output(night):
    written = [path for path in (night.folder / "store").rglob("*") if path.is_file()]
    assert len(written) > 10 and b"bad.wav" in night.printed
    found = [str(path) for path in written if any(secret.encode() in path.read_bytes() for secret in SECRETS)]
    assert not found and not any(secret.encode() in night.printed for secret in SECRETS), (found, night.printed)
