"""Claims: a shard has one maker, the rest of a batch goes on, and the dead count for nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmpipe.store.claims import claim_shards, running_shards
from mmpipe.store.layout import StoreLayout

DT = "2026-11-20"
HOLD = """
import sys, time
from pathlib import Path
from mmpipe.store.claims import claim_shards
from mmpipe.store.layout import StoreLayout
with claim_shards(StoreLayout(Path(sys.argv[1])), "films", [("2026-11-20", 0), ("2026-11-20", 1)]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return StoreLayout(tmp_path)


def test_who_comes_second_gets_the_rest_and_hears_who_has_the_others(layout):
    with claim_shards(layout, "films", [(DT, 0), (DT, 1)]) as first:
        assert (first.taken, first.held) == ({(DT, 0), (DT, 1)}, {})
        with claim_shards(layout, "films", [(DT, 1), (DT, 2)]) as second:
            assert second.taken == {(DT, 2)}
            assert second.held.keys() == {(DT, 1)}
            assert f"process {os.getpid()}" in second.held[DT, 1]
            assert running_shards(layout, "films").keys() == {(DT, 0), (DT, 1), (DT, 2)}


def test_claims_of_a_corpus_are_no_claims_of_another_whose_name_begins_alike(layout):
    with claim_shards(layout, "films-old", [(DT, 0)]):
        assert running_shards(layout, "films") == {}


def test_a_claim_that_is_given_back_leaves_nothing(layout):
    with pytest.raises(KeyError), claim_shards(layout, "films", [(DT, 0)]):
        raise KeyError("work failed")
    assert running_shards(layout, "films") == {}
    assert [path.name for path in layout.leases.iterdir()] == ["claiming-films.lock"]


def test_the_claim_of_a_killed_process_is_taken_over_and_swept(layout):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "held\n"
        assert set(running_shards(layout, "films").values()) != set()
        with claim_shards(layout, "films", [(DT, 0)]) as losing:
            assert losing.taken == set() and f"process {child.pid}" in losing.held[DT, 0]
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        assert running_shards(layout, "films") == {}
        with claim_shards(layout, "films", [(DT, 0)]) as winning:
            assert winning.taken == {(DT, 0)}
        assert [path.name for path in layout.leases.iterdir()] == ["claiming-films.lock"]
    finally:
        child.kill()
        child.wait(10)
        child.stdin.close()
        child.stdout.close()
