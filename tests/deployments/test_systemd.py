"""The unit names what there is: nobody has run it, so at least its words are checked."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

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
