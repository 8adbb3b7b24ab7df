"""What the tests of the command line share: typing a line, and a project with a published model."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpipe.cli import main

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "steps")]

from corpus_maker import DT  # noqa: E402
from lent_engine import KeptEngine  # noqa: E402
from typed_projects import LABELS, Told, Type, model_table, write_config, write_words  # noqa: E402


@pytest.fixture
def mmpipe(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Type]:
    """Return a function that types a line in a folder; what a terminal must not get, no line may print."""
    for name in ("MMPIPE_CONFIG", "PREFECT_API_URL", "PREFECT_HOME"):  # a server of the caller's is none of ours
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGTERM)

    def type_line(folder: Path, *words: str) -> Told:
        monkeypatch.chdir(folder)
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main(words)
        out, err = capfd.readouterr()
        told = Told(code=int(end.value.code or 0), out=out, err=err)
        for text in (out, err):
            assert "Traceback" not in text, text
            assert all(character.isprintable() or character == "\n" for character in text), text
        return told

    yield type_line
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, _kept_engine: KeptEngine) -> Path:
    """Return the folder of a project whose model has two versions, the second in production; do not change it."""
    folder = tmp_path_factory.mktemp("published")
    write_words(folder)
    for epochs in (2, 3):
        write_config(folder, LABELS, model_table("tones", "audio-mfccseg", epochs=epochs))
        with _kept_engine.lent(), pytest.raises(SystemExit) as end:
            main(["run", "--dt", DT, "--config", str(folder / "mmpipe.toml")])
        assert end.value.code == 0
    return folder
