"""What a whole ingest and extraction opens and connects to, as the kernel saw it: its own files, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import mutants
import pytest
from corpus_maker import CORPUS, DT, write_pairs, write_text

import mmpipe

CANARY = b"canary-bytes-9f3a77"
_OPEN = re.compile(r'open(?:at)?\((?:[^,"]+, )?"((?:[^"\\]|\\.)*)".*\) = \d+')
_CONNECT = re.compile(r"connect\(\d+, \{sa_family=(AF_INET6?)")


class Hits(BaseHTTPRequestHandler):
    """Counts who comes."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Note a request."""
        self.seen.append(self.path)
        self.send_response(404)
        self.end_headers()


@pytest.fixture
def canary_url() -> Iterator[str]:
    """Serve on this machine, and hold that nobody came."""
    Hits.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hits) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{CANARY.decode()}"
        server.shutdown()
    assert Hits.seen == []


def require_strace() -> str:
    tool = shutil.which("strace")
    if tool is None:
        pytest.skip("strace is not installed")
    if subprocess.run([tool, "-f", "-o", "/dev/null", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow ptrace")
    return tool


def write_corpus(root: Path, canary: Path, url: str) -> int:
    """Write good, broken and hostile files, and such as name the canaries; return how many."""
    write_pairs(root, [f"good{number}" for number in range(8)])
    mutants.write_mutants(root, mutants.make_seeds(), 11, 20)
    for number, data in enumerate(mutants.references(str(canary), url)):
        for suffix in ("mp4", "ts", "png"):
            write_text(root / f"reference{number}.{suffix}", data)
    os.symlink(canary, root / "link.wav")
    return len(list(root.iterdir()))


def test_a_whole_ingest_and_extraction_reaches_nothing_but_its_own(tmp_path, canary_url):
    tool = require_strace()
    canary = tmp_path / "elsewhere" / "secret.wav"
    canary.parent.mkdir()
    canary.write_bytes(CANARY * 100)
    project = tmp_path / "project"
    num_files = write_corpus(project / "media", canary, canary_url)
    assert num_files >= 60
    (project / "mmpipe.toml").write_text(
        f'store = "store"\nengine = {{workers = 2}}\n[corpora.{CORPUS}]\nroot = "media"\nmax_quarantined = 1\n'
        'features = ["audio-mfccseg", "image-hogdct", "text-ngrams"]\n'
    )
    script = (
        "from contextlib import suppress\nfrom mmpipe.cli import main\n"
        f"for words in (['ingest', '--dt', {DT!r}], ['extract']):\n"
        "    with suppress(SystemExit):\n        main(words)\n"
    )
    log = tmp_path / "calls"
    command = [tool, "-f", "-s", "4096", "-o", str(log), "-e", "trace=open,openat,connect", "--seccomp-bpf"]
    done = subprocess.run(
        [*command, sys.executable, "-c", script], cwd=project, capture_output=True, text=True, timeout=240
    )
    assert (project / "store" / CORPUS / "audio-mfccseg@1").is_dir(), done.stderr
    calls = log.read_text(errors="replace")
    assert not _CONNECT.findall(calls)
    opened = {name.encode().decode("unicode_escape", "replace") for name in _OPEN.findall(calls)}
    assert len(opened) > 50 and not [name for name in opened if "elsewhere" in name or "/etc/hostname" in name]
    strange = [name for name in opened if name.startswith("/") and not is_ours(name, project)]
    assert not strange, strange
    outputs = [path for path in (project / "store").rglob("*") if path.is_file()]
    assert not [path for path in outputs if CANARY * 2 in path.read_bytes()]


def is_ours(name: str, project: Path) -> bool:
    """Say whether a path is the project's, the interpreter's, its libraries' or a scratch file."""
    homes = [sys.prefix, Path(sys.prefix).parent, sys.base_prefix, Path(mmpipe.__file__).parent.parent, project]
    homes += [os.environ[key] for key in ("MMPIPE_CACHE", "PREFECT_HOME") if key in os.environ]
    system = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc", "/opt", "/run")
    scratch = re.fullmatch(re.escape(tempfile.gettempdir()) + r"/(?:tmp)?[a-z0-9_]{8}(?:/.*)?", name)
    under = (str(home) for place in (*homes, *system) for home in (place, Path(place).resolve()))
    return scratch is not None or any(name == home or name.startswith(home + "/") for home in under)
