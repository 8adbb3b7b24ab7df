"""The shipped automations on a server: applied once, and what they do with events; ./run sweep kills for real."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger

from deployments.api import ServerApi
from deployments.asked_runs import ask_runs
from deployments.automations import FOLDER, MARK, apply_automations, read_automations
from deployments.notices import BLOCK, VARIABLE, ensure_target, notify_address, read_block
from deployments.settings import HEARTBEAT_S
from mmpipe.errors import ConfigError
from tests.deployments.receiver import Inbox, webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's mail
NAMES = {"dead-runs", "crashed-runs", "stuck-runs", "failed-runs", "notices"}
TITLES = {entry.name for entry in read_automations(FOLDER, uuid.uuid4())}
OWN = AutomationCore(
    name="my own", tags=["mmpipe"], trigger=EventTrigger(expect={"somebody.else"}), actions=[DoNothing()]
)


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    """A client of a server that has none of ours."""
    with get_client(sync_client=True) as client:
        yield client
        for automation in client.read_automations():
            client.delete_automation(automation.id)
        for block in client.read_block_documents():
            if block.name == BLOCK:
                client.delete_block_document(block.id)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """A webhook that notices go to."""
    with webhook() as inbox:
        monkeypatch.setenv(VARIABLE, f"{inbox.address}/hook?token=seven")
        yield inbox


def names(client: SyncPrefectClient) -> set[str]:
    return {automation.name for automation in client.read_automations()}


def poll(what: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.prefect
def test_they_are_applied_once_and_a_persons_own_stay(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    folder = tmp_path / "automations"
    shutil.copytree(FOLDER, folder)
    client.create_automation(OWN)
    first = apply_automations(client, folder)
    assert len(first.created) == 3 and not first.has_target, "without a target those that notify are not made"
    assert any(VARIABLE in line for line in first.lines())
    again = apply_automations(client, folder)
    assert (again.created, again.updated, again.removed, len(again.kept)) == ((), (), (), 3)

    ours = next(entry for entry in client.read_automations() if entry.name == again.kept[0])
    client.pause_automation(ours.id)
    assert apply_automations(client, folder).kept == again.kept, "what a person switched off stays off"
    path = folder / "dead-runs.yaml"
    path.write_text(path.read_text().replace("within: 90", "within: 120"))
    (folder / "stuck-runs.yaml").unlink()
    changed = apply_automations(client, folder)
    assert (len(changed.updated), len(changed.removed), len(changed.kept)) == (1, 1, 1)
    assert apply_automations(client, folder).updated == ()
    assert next(entry for entry in client.read_automations() if entry.id == ours.id).enabled is False
    assert "my own" in names(client)

    with webhook() as hook:
        monkeypatch.setenv(VARIABLE, f"{hook.address}/hook?token=seven")
        require_target(client, hook)
    assert "my own" in names(client)


def require_target(client: SyncPrefectClient, hook: Inbox) -> None:
    """A target is a block with a secret in it, and stays without the variable."""
    assert apply_automations(client).has_target and names(client) >= TITLES
    number, address = read_block(client) or pytest.fail("there is no block")
    assert address == f"{hook.address.replace('http', 'json')}/hook?-token=seven"
    plain = client.read_block_document_by_name(BLOCK, "slack-webhook", include_secrets=False)
    assert "seven" not in str(plain.data), "the server shows it to nobody who does not ask for secrets"
    assert ensure_target(client, {}) == number, "a command without its secrets silences nobody"
    assert ensure_target(client, {VARIABLE: "mailtos://me:pass@example.org"}) == number
    assert (read_block(client) or ("", ""))[1].startswith("mailtos://")
    assert not apply_automations(client).created


@pytest.mark.parametrize("address", ["gopher://canary", "canary", "http://", "https:///canary"])
def test_an_address_that_is_none_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigError) as told:
        notify_address(address)
    assert VARIABLE in str(told.value) and "canary" not in str(told.value)


def test_the_files_are_automations_and_agree_with_the_heartbeat() -> None:
    found = {path.stem for path in FOLDER.glob("*.yaml")}
    assert found == NAMES
    assert len(read_automations(FOLDER, uuid.uuid4())) == len(NAMES)
    assert {name for entry in read_automations(FOLDER, None) for name in entry.tags} == {MARK}
    dead = yaml.safe_load((FOLDER / "dead-runs.yaml").read_text())
    assert dead["trigger"]["within"] == 3 * HEARTBEAT_S


# In the sweep: the test server's SQLite loses so many events where it is locked that four tries may not be enough.
# That a run which was killed starts again by itself is proven by a whole house, in tests/deployments/test_up.py.
@pytest.mark.sweep
@pytest.mark.prefect
@pytest.mark.timeout(600)
def test_what_they_do_with_runs_and_notices(client: SyncPrefectClient, hook: Inbox, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "automations"))
    crashed = folder / "crashed-runs.yaml"
    crashed.write_text(crashed.read_text().replace("within: 20", "within: 10"))
    apply_automations(client, folder)
    flow_id = client.create_flow_from_name("sleeper")
    deployment = client.create_deployment(flow_id, "sleeper", tags=["mmpipe"])

    def run(*types: StateType) -> Any:
        made = client.create_flow_run_from_deployment(deployment)
        for kind in types:
            client.set_flow_run_state(made.id, State(type=kind), force=True)
        return made

    def state(made: Any) -> Any:
        return client.read_flow_run(made.id).state

    def silent_runs_are_tried_again() -> bool:
        """Let one run die that the server was asked about after an outage, one that sent a heartbeat, and one not."""
        forgotten, silent = (run(StateType.PENDING, StateType.RUNNING) for _ in range(2))
        assert ask_runs(ServerApi(str(client.api_url).removesuffix("/api/")), long_ago()) >= 2
        living = run(StateType.PENDING, StateType.RUNNING)
        # Prefect takes the newest event for the time of day: so the living one is told of last.
        send(client, heartbeat(silent, long_ago()), heartbeat(living, datetime.now(UTC)))
        seen = poll(lambda: {state(made).name for made in (forgotten, silent)} == {"AwaitingRetry"}, 60)
        assert state(living).type == StateType.RUNNING
        client.set_flow_run_state(living.id, State(type=StateType.COMPLETED), force=True)
        return seen

    # Once is enough, but that a server with SQLite loses events where its database is locked for long.
    assert any(silent_runs_are_tried_again() for _ in range(4))
    assert hook.messages == [], "nobody is told of what mends itself"

    never_began = run(StateType.PENDING, StateType.CRASHED)
    failed = run(StateType.PENDING, StateType.RUNNING, StateType.FAILED)
    assert never_began.name in hook.wait_for(never_began.name)
    assert f"mmpipe: {failed.name} Failed" in hook.wait_for(failed.name)
    assert state(never_began).type == StateType.CRASHED, "what never got as far as our code is not tried again"

    send(client, notice("audio-logmel@1", "the first"))
    hook.wait_for("the first")
    send(client, notice("audio-logmel@1", "the same again"), notice("text-ngrams@1", "of another"))
    hook.wait_for("of another")
    assert "the same again" not in str(hook.messages)


def long_ago() -> datetime:
    """Return when a run was heard of last that should have been heard of again by now."""
    return datetime.now(UTC) - timedelta(seconds=100)


def send(client: SyncPrefectClient, *events: dict[str, Any]) -> None:
    client.request("POST", "/events", json=list(events)).raise_for_status()


def heartbeat(run: Any, at: datetime) -> dict[str, Any]:
    """Return an event as the engine sends it."""
    return {
        "id": str(uuid.uuid4()),
        "occurred": at.isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name},
        "related": [{"prefect.resource.id": "prefect.tag.mmpipe", "prefect.resource.role": "tag"}],
    }


def notice(about: str, text: str) -> dict[str, Any]:
    """Return an event as `tasks.events` sends it."""
    return {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "mmpipe.freshness.missed",
        "resource": {
            "prefect.resource.id": "mmpipe.corpus.av",
            "prefect.resource.name": "av",
            "mmpipe.what": "mmpipe.freshness.missed",
            "mmpipe.about": about,
        },
        "payload": {"text": text},
    }
