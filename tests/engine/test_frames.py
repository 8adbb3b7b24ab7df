from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpipe.engine.frames import FrameBuffer, Kind, pack, receive_frame

frames = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=40)), max_size=6)


@given(frames, st.integers(1, 30))
def test_frames_survive_any_cutting_of_the_stream(sent: list[tuple[Kind, bytes]], piece: int) -> None:
    data = b"".join(pack(kind, body) for kind, body in sent)
    buffer = FrameBuffer()
    got = [frame for start in range(0, len(data), piece) for frame in buffer.feed(data[start : start + piece])]
    assert got == sent and not buffer.is_broken


@given(frames, st.sampled_from([b"\x00" * 9, b"\xff" * 9, b"\x05" + b"\xff" * 8]), st.binary(max_size=20))
def test_what_came_before_garbage_is_kept_and_nothing_after(
    sent: list[tuple[Kind, bytes]], garbage: bytes, rest: bytes
) -> None:
    buffer = FrameBuffer()
    assert buffer.feed(b"".join(pack(kind, body) for kind, body in sent) + garbage + rest) == sent
    assert buffer.is_broken
    assert buffer.feed(pack(Kind.READY, b"")) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_broken_and_never_raise(data: bytes) -> None:
    FrameBuffer().feed(data)


@pytest.mark.parametrize("cut", [0, 5, 12])
def test_waiting_end_sees_frames_and_then_the_end(cut: int) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(pack(Kind.TASK, b"body") + pack(Kind.TASK, b"cut off")[:cut])
        assert receive_frame(ours) == (Kind.TASK, b"body")
        assert receive_frame(ours) is None
