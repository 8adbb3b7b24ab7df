"""Runs that need the same shards at the same time: each shard is made once, and all of them end well."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterName
from prefect.settings import PREFECT_API_URL, get_current_settings

from flows.extract import extract
from flows.parameters import ExtractParameters
from mmpipe.config import Config, load_config
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.store.claims import claim_shards
from mmpipe.store.journal import read_made
from mmpipe.store.layout import StoreLayout

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_server")]
REPOSITORY = Path(__file__).resolve().parent.parent.parent
DT = "2026-11-03"
DAY = datetime.date.fromisoformat(DT)
SHARDS = 20
A_RUN = """
import datetime, sys
from flows.extract import extract
from flows.parameters import ExtractParameters
if __name__ == "__main__":
    parameters = ExtractParameters(config=sys.argv[1], date=datetime.date.fromisoformat(sys.argv[2]), batch_clips=1)
    print("ready", flush=True)
    sys.stdin.readline()
    state = extract(parameters, return_state=True)
    print(state.type.value, state.message, flush=True)
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A corpus of texts, a shard each, with the config for it; it is ingested."""
    (tmp_path / "raw").mkdir()
    for number in range(SHARDS):
        (tmp_path / "raw" / f"{number:02d}.txt").write_text(f"sentence number {number}, in a shard of its own")
    return ingested(tmp_path / "mmpipe.toml", "store")


def ingested(path: Path, store: str) -> Path:
    """Write a config over the corpus with a store of that name, and take the files in."""
    path.write_text(
        f'store = "{store}"\n[engine]\nworkers = 1\n'
        '[corpora.words]\nroot = "raw"\nfeatures = ["text-ngrams"]\nshard_clips = 1\n'
    )
    ingest_corpus(load_config(path), "words", DT)
    return path


def made(config: Config) -> Counter[tuple[str, int]]:
    """How often each shard was made, by the journal of the store."""
    return Counter((shard.feature, shard.shard) for shard in read_made(StoreLayout(config.store), "words"))


def content(store: Path) -> dict[str, bytes]:
    """What consumers see, and the newest manifest: the revisions before it say how often it was committed."""
    files = {path for path in store.rglob("*") if path.is_file() and {"data", "index"} & set(path.parts)}
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(files)}


def waits() -> list[Any]:
    """The task runs that wait for others."""
    with get_client(sync_client=True) as client:
        return client.read_task_runs(task_run_filter=TaskRunFilter(name=TaskRunFilterName(any_=["wait-words"])))


def test_a_run_waits_for_what_another_makes_and_then_makes_what_that_one_left(config: Path) -> None:
    """The other claims two shards, and ends without having made them."""
    states = []
    before = len(waits())
    run = threading.Thread(
        target=lambda: states.append(
            extract(ExtractParameters(config=str(config), date=DAY, batch_clips=4), return_state=True)
        )
    )
    layout = StoreLayout(load_config(config).store)
    with claim_shards(layout, "words", [(DT, 3), (DT, 4)]):
        run.start()
        deadline = time.monotonic() + 120
        while len(waits()) == before:
            assert run.is_alive() and time.monotonic() < deadline, states
            time.sleep(0.1)
        assert set(made(load_config(config))) == {
            ("text-ngrams@1", number) for number in range(SHARDS) if number not in (3, 4)
        }, "what nobody else had is made before the wait"
    run.join(120)
    assert [state.type for state in states] == ["COMPLETED"], states
    assert plan_corpus(load_config(config), "words").is_empty
    assert set(made(load_config(config)).values()) == {1}


@pytest.mark.slow
def test_two_runs_at_once_make_every_shard_once_and_the_store_of_one(config: Path) -> None:
    command = [sys.executable, "-c", A_RUN, str(config), DT]
    environment = get_current_settings().to_environment_variables() | {"PREFECT_API_URL": PREFECT_API_URL.value()}
    runs = [
        subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for run in runs:
        assert run.stdout and run.stdout.readline() == "ready\n"
    ends = tell_all(runs)
    assert [end.split()[0] for end in ends] == ["COMPLETED", "COMPLETED"], ends
    both = load_config(config)
    assert made(both) == {("text-ngrams@1", number): 1 for number in range(SHARDS)}

    alone = load_config(ingested(config.parent / "alone.toml", "alone"))
    extract_plan(alone, plan_corpus(alone, "words"))
    assert content(both.store) == content(alone.store) != {}


def tell_all(runs: list[subprocess.Popen[str]]) -> list[str]:
    """Let all runs go at once, and return how each ended."""
    for run in runs:
        assert run.stdin
        run.stdin.write("go\n")
        run.stdin.flush()
    return [run.communicate(timeout=300)[0].strip() for run in runs]
