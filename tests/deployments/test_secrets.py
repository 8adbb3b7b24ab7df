"""Secrets in every door that takes one, a night that releases a model, failures, the doctor: where they are afterwards.

The password that `up --shared` makes itself is looked for in test_whole_night.py.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prefect.client.orchestration import SyncPrefectClient

from deployments.postgres import find_programs
from mmpipe.errors import ConfigError
from tests.deployments.receiver import Inbox, webhook

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.sweep, pytest.mark.timeout(900)]
REPOSITORY = Path(__file__).resolve().parent.parent.parent
CONFIG = """\
store = "store"
timezone = "Europe/Berlin"
gate = { draws = 200 }
release = { onnx = false }
[engine]
workers = 1
[watch]
log_file = "night.log"
log_format = "json"
lineage = "lineage.jsonl"
traces = "http://127.0.0.1:9/v1/traces"
send_timeout_s = 0.2
[corpora.words]
root = "raw"
max_age_h = 1
max_quarantined = 0.1
[corpora.answers]
root = "said"
features = ["text-ngrams"]
labels = { file = "labels.jsonl" }
[models.answer]
corpus = "answers"
target = "word"
inputs = ["text-ngrams"]
fusions = ["concat"]
folds = 2
train = { epochs = 2, learning_rate = 0.05 }
encoder = { width = 8, components = 8 }
"""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
HOLDS_SECRETS = {"prefect/postgres.password"}  # as the README says, and only for its owner to read


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What was brought up with secrets."""

    folder: Path
    environment: dict[str, str]
    address: str
    canaries: dict[str, bytes]
    hook: Inbox
    told: list[str]  # what commands printed

    def command(self, *line: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *line], cwd=REPOSITORY, env=self.environment, capture_output=True, text=True
        )
        self.told.append(done.stdout + done.stderr)
        return done


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that others may enter, which those of pytest are not: PostgreSQL runs as another where we are root."""
    with tempfile.TemporaryDirectory(prefix="mmpipe-canary-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    (folder / "raw").mkdir()
    (folder / "raw" / "one.txt").write_text("a first word")
    (folder / "raw" / "bad.wav").write_bytes(b"RIFF....WAVEnonsense" * 9)
    write_answers(folder)
    (folder / "mmpipe.toml").write_text(CONFIG)
    words = {name: f"canary{secrets.token_hex(12)}" for name in ("auth", "notify", "s3", "s3id", "otlp", "hub")}
    canaries = {name: word.encode() for name, word in words.items()}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MMPIPE", "AWS", "OTEL"))}
    with webhook() as hook, tempfile.TemporaryDirectory(prefix="mmpipe-key-") as keys:
        canaries |= write_key(Path(keys) / "key.pem")
        environment = {
            **kept,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_API_AUTH_STRING": f"mmpipe:{words['auth']}",
            "MMPIPE_NOTIFY_URL": f"{hook.address}/{words['notify']}?token={words['notify']}",
            "AWS_ACCESS_KEY_ID": words["s3id"],
            "AWS_SECRET_ACCESS_KEY": words["s3"],
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {words['otlp']}",
            "HF_TOKEN": words["hub"],
            "MMPIPE_SIGN_KEY": str(Path(keys) / "key.pem"),
            "CUDA_VISIBLE_DEVICES": "",
        }
        site = Site(folder=folder, environment=environment, address="", canaries=canaries, hook=hook, told=[])
        try:
            up = site.command("deployments.up", "--config", str(folder / "mmpipe.toml"), "--port", "4880", *database())
            assert up.returncode == 0, up.stderr
            if database():
                canaries["db"] = (folder / "prefect" / "postgres.password").read_bytes().strip()
            yield Site(
                folder=folder,
                environment=environment,
                address=up.stdout.strip(),
                canaries=canaries,
                hook=hook,
                told=site.told,
            )
        finally:
            site.command("deployments.down")


def write_answers(folder: Path) -> None:
    """Write texts whose words go with their label: a model learns it in a moment."""
    (folder / "said").mkdir()
    rows = []
    for number in range(24):
        word = ("yes", "no")[number % 2]
        about = ("sun and warm air", "rain and cold wind")[number % 2]
        (folder / "said" / f"a{number:02d}.txt").write_text(f"{about}, as on day {number}")
        rows.append(json.dumps({"id": f"a{number:02d}", "word": word}))
    (folder / "labels.jsonl").write_text("\n".join(rows) + "\n")


def write_key(file: Path) -> dict[str, bytes]:
    """Write a key to sign releases with, outside of what is looked through; return the forms that it may leak in."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(text)
    file.chmod(0o600)
    raw = key.private_bytes_raw()
    return {"sign key, text": text.splitlines()[1], "sign key": raw, "sign key, hex": raw.hex().encode()}


def database() -> tuple[str, ...]:
    """With PostgreSQL where it is installed: its URL holds a password."""
    try:
        find_programs()
    except ConfigError:
        return ()
    return ("--postgres",)


def poll(what: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError(f"nothing after {seconds:.0f} s")


def test_no_secret_is_found_where_it_does_not_belong(site: Site) -> None:
    with SyncPrefectClient(f"{site.address}/api", auth_string=site.environment["PREFECT_SERVER_API_AUTH_STRING"]) as it:
        runs = [
            start(it, "nightly-words", corpus="words", date="2026-11-03"),  # ends as failed: half of the files are bad
            start(it, "nightly-answers", corpus="answers", date="2026-11-03"),  # trains, releases, signs
            start(it, "freshness"),
            start(it, "extract", config="/nowhere/mmpipe.toml"),
        ]
        for run in runs:
            poll(lambda run=run: it.read_flow_run(run.id).state_type in FINAL)
        trained = it.read_flow_run(runs[1].id)
        assert trained.state and trained.state.is_completed(), trained.state
        site.hook.wait_for("are in quarantine")
        site.hook.status = 500  # and what is written where a notice cannot be sent
        late = start(it, "extract", config="/nowhere/else.toml")
        poll(lambda: it.read_flow_run(late.id).state_type in FINAL)
        site.hook.wait_for("/nowhere/else.toml")
        site.command("mmpipe", "doctor", "--config", str(site.folder / "mmpipe.toml"))
        site.command("mmpipe", "status", "--config", str(site.folder / "mmpipe.toml"))
        site.command("deployments.automations")
        found = [*in_command_lines(site), *in_answers(site, it)]
    found += [*in_files(site), *(f"printed: {name}" for text in site.told for name in inside(site, text.encode()))]
    assert found == []
    assert len(site.told) >= 4 and "mmpipe" in "".join(site.told)
    for name in HOLDS_SECRETS if database() else ():
        assert stat.S_IMODE((site.folder / name).stat().st_mode) == 0o600
    assert list((site.folder / "store").glob("models/answer/signatures/*/*.json")), "a release was signed with the key"


def start(client: SyncPrefectClient, name: str, **parameters: Any) -> Any:
    flow = "nightly" if name.startswith("nightly-") else name
    deployment = client.read_deployment_by_name(f"{flow}/{name}")
    return client.create_flow_run_from_deployment(deployment.id, parameters={"parameters": parameters})


def inside(site: Site, data: bytes) -> list[str]:
    """Return the names of the secrets that are in the bytes, as they are or as a header has them."""
    basic = base64.b64encode(site.environment["PREFECT_SERVER_API_AUTH_STRING"].encode())
    wanted = site.canaries | {"auth header": basic}
    return [name for name, value in wanted.items() if value in data]


def in_files(site: Site) -> Iterator[str]:
    for path in sorted(site.folder.rglob("*")):
        name = str(path.relative_to(site.folder))
        if path.is_file() and not path.is_symlink() and name not in HOLDS_SECRETS:
            yield from (f"{name}: {secret}" for secret in inside(site, path.read_bytes()))


def in_command_lines(site: Site) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        yield from (f"{line!r}: {secret}" for secret in inside(site, line))


def in_answers(site: Site, client: SyncPrefectClient) -> Iterator[str]:
    """Ask the server for all that it shows: a database may keep it compressed."""
    paths = "logs artifacts flow_runs deployments automations block_documents events work_pools variables"
    for name in paths.split():
        answer = client.request("POST", f"/{name}/filter", json={})
        assert answer.status_code == 200, (name, answer.text)
        assert name == "variables" or json.loads(answer.text), f"{name}: there is nothing, so nothing was looked at"
        yield from (f"answer {name}: {secret}" for secret in inside(site, answer.text.encode()))
    settings = client.request("GET", "/admin/settings").text
    yield from (f"answer settings: {secret}" for secret in inside(site, settings.encode()))
