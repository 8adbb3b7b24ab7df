from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from mmpipe.engine.device.block import SharedBlock
from mmpipe.engine.device.peer import Peer
from mmpipe.engine.device.queue import PATIENCE, Job, JobQueue


@pytest.fixture
def peer() -> Iterator[Peer]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Peer(ours)


@pytest.fixture(scope="module")
def block() -> Iterator[SharedBlock]:
    one = SharedBlock.create()
    yield one
    one.close()


def job(peer: Peer, block: SharedBlock, number: int, spec: str) -> Job:
    return Job(peer=peer, number=number, slot=0, spec=spec, media=(), block=block, nbytes=0)


def test_what_is_loaded_comes_first_and_nobody_waits_for_ever(peer: Peer, block: SharedBlock) -> None:
    queue = JobQueue(lambda spec: spec == "a")
    for number, spec in enumerate("bacab"):
        queue.put(job(peer, block, number, spec))
    assert [queue.take()[0].number for _ in range(5)] == [1, 3, 0, 2, 4]
    queue.put(job(peer, block, 0, "b"))
    for number in range(PATIENCE + 3):
        queue.put(job(peer, block, 1 + number, "a"))
    taken = [queue.take()[0].number for _ in range(PATIENCE + 4)]
    assert taken.index(0) == PATIENCE


def test_requests_of_who_is_gone_are_forgotten(peer: Peer, block: SharedBlock) -> None:
    with socket.socket() as other:
        gone = Peer(other)
        queue = JobQueue(lambda spec: True)
        for number, whose in enumerate([gone, peer, gone]):
            queue.put(job(whose, block, number, "a"))
        queue.forget(gone)
        assert queue.take()[0].number == 1


def test_one_request_is_staged_ahead_and_not_taken_meanwhile(peer: Peer, block: SharedBlock) -> None:
    queue = JobQueue(lambda spec: spec == "a")
    for number, spec in enumerate("baa"):
        queue.put(job(peer, block, number, spec))
    taken: list[Job] = []
    with queue.next_to_stage() as staging:
        assert staging.number == 1
        taker = threading.Thread(target=lambda: taken.append(queue.take()[0]))
        taker.start()
        assert not taken  # it waits, or has not begun
        staging.staged.append("copied")
    taker.join(10)
    assert taken == [staging] and taken[0].staged == ["copied"]
    with queue.next_to_stage() as staging:
        staging.staged.append("copied")
    with queue.nothing_staged():
        assert staging.staged == []
    with queue.next_to_stage() as again:
        assert again is staging
