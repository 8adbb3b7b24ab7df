"""The unit names what there is: nobody has run it, so at least its words are checked, by systemd too."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from deployments import keep
from deployments.services import ROOT
from deployments.up import parse_wish

UNIT = ROOT / "deployments" / "systemd" / "mmpipe.service"


def read_unit() -> dict[str, list[str]]:
    """The service's settings; one may stand there several times."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_it_is_a_unit() -> None:
    parser = configparser.ConfigParser(strict=False)
    parser.read(UNIT)
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_it_types_what_a_person_types_and_looks_at_the_keeper() -> None:
    service = read_unit()
    program, verb, *words = shlex.split(service["ExecStart"][0])
    assert (Path(program).name, verb) == ("run", "up")
    assert parse_wish(words, {}).postgres == ""
    assert shlex.split(service["ExecStop"][0]) == [program, "down"]
    home = next(value.partition("=")[2] for value in service["Environment"] if value.startswith("PREFECT_HOME="))
    assert service["PIDFile"] == [f"{home}/services/{keep.NAME}.pid"]
    assert "nobody has run it yet" in " ".join(UNIT.read_text().replace("#", "").split())


def test_it_holds_no_secret() -> None:
    assert not [value for value in read_unit()["Environment"] if "AUTH" in value or "PASSWORD" in value]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze, which comes with systemd")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    """In a copy for this checkout; and it would find what is: a wrong copy tells that it looks at all."""
    text = UNIT.read_text().replace("/opt/mmpipe/run", str(ROOT / "run"))
    assert complaints(tmp_path / "mmpipe.service", text) == []
    assert len(complaints(tmp_path / "wrong.service", text.replace("Type=forking", "Type=spoon\nSpoon=1"))) == 2


def complaints(path: Path, text: str) -> list[str]:
    """What systemd says of a unit; it only warns of a word that it does not know, and ends well."""
    path.write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    return [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]
