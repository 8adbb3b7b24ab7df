"""The image and the compose file: their schema, what their parts say of each other, and how secrets come in."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from prefect.settings.legacy import _get_settings_fields
from prefect.settings.models.root import Settings

from mmpipe.config import parse_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = {
    name.lower(): version
    for name, _, version in (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each on one line."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return compose["services"]


# ------------------------------------------------------------------ the image


def test_all_that_is_copied_is_there_and_let_in() -> None:
    let_in = {
        line.removeprefix("!")
        for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [shlex.split(text) for kind, text in instructions() if kind == "COPY" and "--from=" not in text]
    sources = {word for words in copied for word in words[:-1] if not word.startswith("--")}
    assert {"mmpipe", "flows", "tasks", "deployments", "constraints.txt"} <= sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.partition("/")[0] in let_in, source


def test_stages_and_variants_lead_somewhere() -> None:
    stages: dict[str, str] = {}
    for kind, text in instructions():
        if kind == "FROM":
            image, _, name = text.partition(" AS ")
            stages[name] = image
        for stage in re.findall(r"--from=(\S+)", text):
            assert stage in stages
    (variants,) = re.findall(r"^ARG VARIANT=(\w+)$", DOCKERFILE, re.MULTILINE)
    assert stages["image"] == "base-${VARIANT}" and f"base-{variants}" in stages and "base-gpu" in stages
    default = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))["PYTHON"]
    assert SpecifierSet(PROJECT["requires-python"]).contains(default)


def test_it_installs_pinned_packages_that_exist_and_runs_as_nobody_special() -> None:
    (install,) = [text for kind, text in instructions() if kind == "RUN" and "constraints.txt" in text and "-e" in text]
    for extras in re.findall(r"extras=([\w,]+)", install):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    (torch,) = [text for text in PROJECT["optional-dependencies"]["pipeline"] if text.startswith("torch")]
    assert "torch>=2.11,<2.14" in DOCKERFILE and Requirement(torch).specifier == SpecifierSet(">=2.11,<2.14")
    assert Requirement(torch).specifier.contains(PINS["torch"])
    users = [text for kind, text in instructions() if kind == "USER"]
    assert users == ["10001:10001"]
    last = [kind for kind, _ in instructions()]
    assert last.index("USER") > max(index for index, kind in enumerate(last) if kind == "RUN")


def test_entry_points_are_found_where_the_image_puts_them() -> None:
    """Every deployment names its flow by module; the image has these below MMPIPE_HOME, which is on the path."""
    assert "PYTHONPATH=/opt/mmpipe" in DOCKERFILE and "MMPIPE_HOME=/opt/mmpipe" in DOCKERFILE
    file = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
    for deployment in file["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert module.partition(".")[0] in ("flows", "tasks", "mmpipe", "deployments")
        assert hasattr(importlib.import_module(module), name), deployment["name"]
    assert ("ENTRYPOINT", '["entry.sh"]') in instructions()


# ------------------------------------------------------------------ secrets


def run_entry(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(FOLDER / "entry.sh"), *command],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_entry_reads_secrets_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "api auth"
    secret.write_text("admin:a $(secret) 'with' \\ all\n")
    told = {"PREFECT_API_AUTH_STRING_FILE": str(secret)}
    done = run_entry(
        {"PREFECT_API_AUTH_STRING_FILE": str(secret)}, "sh", "-c", "printf '%s' \"$PREFECT_API_AUTH_STRING\""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "admin:a $(secret) 'with' \\ all", "")
    left = run_entry(told, "env").stdout
    assert "PREFECT_API_AUTH_STRING_FILE" not in left
    assert run_entry({}, "sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize("content", [None, ""])
def test_the_entry_refuses_a_secret_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "secret").write_text(content)
    done = run_entry({"PREFECT_SERVER_API_AUTH_STRING_FILE": str(tmp_path / "secret")}, "echo", "started")
    assert done.returncode == 3 and "started" not in done.stdout
    assert "PREFECT_SERVER_API_AUTH_STRING_FILE" in done.stderr


def test_every_file_of_a_secret_is_one_that_the_entry_reads(services: dict[str, dict[str, Any]]) -> None:
    script = (FOLDER / "entry.sh").read_text()
    (known,) = re.findall(r"^for name in (.+); do$", script, re.MULTILINE)
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD$|AUTH_STRING$", variable), f"{name} has a secret as a value"
            if str(value).startswith("/run/secrets/"):
                assert Path(value).name in service["secrets"], (name, variable)
                assert name == "database" or variable.removesuffix("_FILE") in known.split(), (name, variable)


def test_the_example_of_the_environment_names_all_that_is_asked_for_and_no_secret() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    given = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / ".env.example").read_text(), re.MULTILINE))
    assert asked == set(given)
    assert not [name for name in given if re.search("PASSWORD|SECRET|TOKEN|AUTH", name)]


# ------------------------------------------------------------------ the compose file


def test_the_compose_specification_takes_it(compose: dict[str, Any]) -> None:
    pytest.importorskip("check_jsonschema", reason="it carries the schema of compose files")
    schema = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    table = json.loads(schema.read_text("utf-8"))
    checker = jsonschema.validators.validator_for(table)(table)
    assert [error.message for error in checker.iter_errors(compose)] == []
    wrong = {**compose, "services": {"server": {**compose["services"]["server"], "depend_on": []}}}
    assert list(checker.iter_errors(wrong)), "a misspelt key went through"


def test_what_services_name_is_defined(compose: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert set(service.get("secrets", ())) <= set(compose["secrets"]), name
        assert set(service.get("networks", ())) <= set(compose["networks"]), name
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(compose["volumes"]), name
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)
            if condition["condition"] == "service_completed_successfully":
                assert services[other]["restart"] == "no", (name, other)
        if service.get("restart") != "no":
            assert "healthcheck" in service, name
    for file in compose["secrets"].values():
        assert file["file"].startswith("./secrets/")


def test_nobody_gets_in_without_the_password_and_nothing_untrusted_gets_out(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    server = services["server"]["environment"]
    assert server["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert "PREFECT_SERVER_API_AUTH_STRING_FILE" in server and "*" not in server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    assert [port for service in services.values() for port in service.get("ports", ())] == [
        "127.0.0.1:${MMPIPE_PORT:-4200}:4200"
    ]
    assert compose["networks"]["inside"] == {"internal": True}
    for name in ("worker", "worker-gpu", "deploy", "database"):
        assert services[name]["networks"] == ["inside"], name
    for name in ("worker", "worker-gpu"):
        assert "media:/media:ro" in services[name]["volumes"] and "config:/config:ro" in services[name]["volumes"]
        assert services[name]["cap_drop"] == ["ALL"]


def test_prefect_knows_every_setting(services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt one would be ignored in silence: the server would then run on SQLite, or without a password."""
    for service in services.values():
        for variable in service.get("environment", {}):
            if variable.startswith("PREFECT_"):
                assert variable.removesuffix("_FILE") in _get_settings_fields(Settings), variable
    for name, value in services["server"]["environment"].items():
        if name.startswith("PREFECT_SERVER_DATABASE_") and not name.endswith("_FILE"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_PASSWORD", "p@ss")
    url = Settings().server.database.connection_url
    assert url is not None
    assert url.get_secret_value() == "postgresql+asyncpg://prefect:p%40ss@database:5432/prefect"


def test_commands_are_ones_that_there_are(services: dict[str, dict[str, Any]]) -> None:
    commands = [services[name]["command"] for name in ("server", "worker", "worker-gpu")]
    assert {command[0] for command in commands} == {"prefect"}
    assert [command[command.index("--pool") + 1] for command in commands[1:]] == ["cpu", "gpu"]
    assert all("--with-healthcheck" in command for command in commands[1:])
    python, flag, module = services["deploy"]["command"]
    assert (python, flag) == ("python", "-m") and callable(importlib.import_module(module).main)


def test_the_config_of_the_example_is_one() -> None:
    config = parse_config(tomllib.loads((FOLDER / "mmpipe.toml").read_text()))
    assert str(config.store) == "/store" and str(config.corpora["street"].root).startswith("/media/")


def test_git_never_sees_what_a_person_fills_in() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deployments/docker/.env", "/deployments/docker/secrets/"} <= set(ignored)
