"""The rules that a Dockerfile linter would hold ours to, each with a line that breaks it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deployments" / "docker" / "Dockerfile").read_text("utf-8")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each on one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines.splitlines() if line.strip()]


def faults(text: str) -> set[str]:
    """Return the rules that a Dockerfile breaks."""
    told = instructions(text)
    stages = {name for kind, rest in told if kind == "FROM" for name in re.findall(r" AS (\S+)", rest)}
    found = {fault for kind, rest in told for fault in _faults_of(kind, rest, stages)}
    users = [rest for kind, rest in told if kind == "USER"]
    if not users or users[-1].partition(":")[0] in ("root", "0"):
        found.add("the last user is root")
    if any(kind == "RUN" and "pip install" in rest for kind, rest in told) and "PIP_NO_CACHE_DIR=1" not in text:
        found.add("pip keeps its cache in a layer")
    return found


def _faults_of(kind: str, rest: str, stages: set[str]) -> list[str]:
    image = rest.partition(" AS ")[0]
    is_ours = image.split("$")[0].rstrip("-") in {stage.rpartition("-")[0] for stage in stages} | stages
    rules = {
        "an image without a version, or :latest": kind == "FROM"
        and not is_ours
        and (":" not in image or image.endswith(":latest")),
        "ADD instead of COPY": kind == "ADD",
        "a command in shell form": kind in ("CMD", "ENTRYPOINT") and not rest.startswith("["),
        "a relative WORKDIR": kind == "WORKDIR" and not rest.startswith("/"),
        "cd or sudo in RUN": kind == "RUN" and bool(re.search(r"(^|[;&|(]\s*)(cd|sudo) ", rest)),
        "a pipe whose first half may fail": kind == "RUN" and " | " in rest and "pipefail" not in rest,
        "something downloaded and run": kind == "RUN" and bool(re.search(r"\b(curl|wget)\b", rest)),
        "a secret in a layer": kind in ("ENV", "ARG") and bool(re.search(r"(PASSWORD|SECRET|TOKEN|API_KEY)=", rest)),
    }
    if kind == "RUN" and "apt-get install" in rest:
        rules["apt without --yes"] = not re.search(r"apt-get install .*(--yes|-y\b)", rest)
        rules["apt with recommended packages"] = "--no-install-recommends" not in rest
        rules["apt keeps its lists in a layer"] = "rm -rf /var/lib/apt/lists" not in rest
        rules["apt installs by lists of another layer"] = "apt-get update" not in rest
    if kind == "RUN":
        for command in re.findall(r"pip install [^;&]+", rest):
            rules["pip installs what nothing pins"] = "constraints.txt" not in command
    return [rule for rule, is_broken in rules.items() if is_broken]


def test_ours_breaks_no_rule() -> None:
    assert faults(DOCKERFILE) == set()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("FROM python", "an image without a version, or :latest"),
        ("FROM python:latest AS image", "an image without a version, or :latest"),
        ("ADD mmpipe /opt", "ADD instead of COPY"),
        ("CMD mmpipe --help", "a command in shell form"),
        ("WORKDIR opt", "a relative WORKDIR"),
        ("RUN ls && cd /opt && ls", "cd or sudo in RUN"),
        ("RUN cat list | sort", "a pipe whose first half may fail"),
        ("RUN curl -o x address", "something downloaded and run"),
        ("ENV API_TOKEN=1", "a secret in a layer"),
        ("RUN apt-get update && apt-get install ffmpeg", "apt without --yes"),
        ("RUN apt-get update && apt-get install --yes ffmpeg", "apt with recommended packages"),
        ("RUN apt-get update && apt-get install --yes ffmpeg", "apt keeps its lists in a layer"),
        ("RUN apt-get install --yes ffmpeg", "apt installs by lists of another layer"),
        ("RUN pip install torch", "pip installs what nothing pins"),
        ("USER root", "the last user is root"),
    ],
)
def test_a_broken_rule_is_seen(line: str, fault: str) -> None:
    assert fault in faults(f"{DOCKERFILE}\n{line}\n")


def test_a_cache_in_a_layer_is_seen() -> None:
    assert faults(DOCKERFILE.replace("PIP_NO_CACHE_DIR=1", "")) == {"pip keeps its cache in a layer"}


def test_both_kinds_of_workers_are_variants_of_one_image() -> None:
    stages = {rest.partition(" AS ")[2] for kind, rest in instructions(DOCKERFILE) if kind == "FROM"}
    assert {"base-cpu", "base-gpu", "image"} <= stages
    (install,) = [rest for kind, rest in instructions(DOCKERFILE) if kind == "RUN" and "nvdec" in rest]
    assert re.search(r"= gpu \]; then extras=\S*nvdec; else extras=(?!\S*nvdec)", install)


def test_the_licence_goes_into_the_image() -> None:
    assert any(kind == "COPY" and {"LICENSE", "NOTICE"} <= set(rest.split()) for kind, rest in instructions(DOCKERFILE))
