from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from mmpipe.engine.device.block import MAX_BLOCK_BYTES, SharedBlock
from mmpipe.engine.device.media import Malformed, pack_media, pack_values, unpack_media, unpack_values
from mmpipe.engine.device.wire import Announce, Answer, Closed, Fault, FaultKind, Message, Place, receive, send
from mmpipe.types import ArrayClip, AudioClip, ClipMedia, FeatureValue, ImageClip, TextClip, VideoClip

RNG = np.random.default_rng(1)
MEDIA: list[ClipMedia] = [
    VideoClip(frames=RNG.integers(0, 255, (3, 5, 7, 3), np.uint8), times_ns=np.arange(3) * 10),
    VideoClip(frames=RNG.integers(0, 255, (9, 8, 6), np.uint8)[::2, :, ::3], times_ns=np.arange(5) * -7),
    AudioClip(wave_N=RNG.normal(size=1001).astype(np.float32), sample_rate_hz=16_000, start_ns=-5),
    ImageClip(image=RNG.integers(0, 255, (4, 4, 3), np.uint8)),
    TextClip(text='a "quoted" line\nと、 \ud800 and 𝄞'),
    TextClip(text=""),
    ArrayClip(values_TD=np.array([[1, np.nan], [np.inf, -0.0]], np.float32), times_ns=np.arange(2), columns=("x", "y")),
    ArrayClip(values_TD=np.empty((0, 3), np.float32), times_ns=np.empty(0, np.int64)),
]


def same(one: object, other: object) -> bool:
    assert type(one) is type(other)
    for name in one.__dataclass_fields__:  # type: ignore[attr-defined]
        ours, theirs = getattr(one, name), getattr(other, name)
        if isinstance(ours, np.ndarray):
            equal = ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()
        else:
            equal = ours == theirs
        if not equal:
            return False
    return True


def test_media_of_all_kinds_come_through_shared_memory() -> None:
    block = SharedBlock.create()
    parcel = pack_media(MEDIA)
    parcel.write(block.view(0, parcel.nbytes))
    theirs = SharedBlock.attach(os.dup(block.descriptor))
    found = unpack_media(theirs.view(0, parcel.nbytes))
    assert len(found) == len(MEDIA) and all(map(same, MEDIA, found))


def test_values_are_copies_that_outlive_the_block() -> None:
    values = [
        FeatureValue(array=RNG.normal(size=(4, 3)).astype(np.float16), times_ns=np.arange(4)),
        FeatureValue(array=np.arange(5, dtype=np.float32)),
    ]
    block = SharedBlock.create()
    parcel = pack_values(values)
    parcel.write(block.view(128, parcel.nbytes))
    found = unpack_values(block.view(128, parcel.nbytes))
    block.view(128, parcel.nbytes)[:] = bytes(parcel.nbytes)
    assert all(map(same, values, found)) and found[1].times_ns is None


def test_a_block_grows_on_either_side_and_views_stay_good() -> None:
    block = SharedBlock.create()
    theirs = SharedBlock.attach(os.dup(block.descriptor))
    first = block.view(0, 4)
    first[:] = b"mark"
    theirs.view(5_000_000, 3)[:] = b"end"
    assert bytes(block.view(5_000_000, 3)) == b"end" and bytes(first) == b"mark"
    with pytest.raises(ValueError, match="of a block that may have"):
        block.view(0, MAX_BLOCK_BYTES + 1)
    block.close()
    block.close()
    assert bytes(first) == b"mark"
    with pytest.raises(ValueError, match="closed"):
        block.view(0, 1)


def test_memory_that_its_owner_could_shrink_is_refused(tmp_path: Path) -> None:
    unsealed = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    with pytest.raises(ValueError, match="could be shrunk"):
        SharedBlock.attach(unsealed)
    with open(tmp_path / "file", "wb") as file, pytest.raises(ValueError, match="no memory"):
        SharedBlock.attach(file.fileno())
    os.close(unsealed)


def header(text: bytes, pad: int = 64) -> memoryview:
    return memoryview(bytearray(len(text).to_bytes(8, "little") + text + bytes(pad)))


@pytest.mark.parametrize(
    "data",
    [
        memoryview(bytearray(4)),
        memoryview(bytearray(b"\xff" * 64)),
        header(b"no json"),
        header(b"[" * 100_000),
        header(b'[["video", {}]]'),
        header(b'[["video", {}, []]]'),
        header(b'[["film", {}, []]]'),
        header(b'[["image", {}, [["|O", [1], 0]]]]'),
        header(b'[["image", {}, [["<M8[s]", [1], 0]]]]'),
        header(b'[["image", {}, [["|u1", [1000000], 0]]]]'),
        header(b'[["image", {}, [["|u1", [-1], 0]]]]'),
        header(b'[["image", {}, [["|u1", [1], -64]]]]'),
        header(b'[["image", {}, [["|u1", [true], 0]]]]'),
        header(b'[["image", {}, [["<f8", [4611686018427387904, 4], 0]]]]'),
        header(b'[["audio", {"sample_rate_hz": "x", "start_ns": 0}, [["<f4", [1], 0]]]]'),
        header(b'[["text", {}, []]]'),
    ],
)
def test_what_a_broken_worker_writes_is_refused(data: memoryview) -> None:
    with pytest.raises(Malformed):
        unpack_media(data)


def test_objects_do_not_cross() -> None:
    with pytest.raises(TypeError, match="numbers only"):
        pack_media([ImageClip(image=np.array([object()]))])
    with pytest.raises(Malformed, match="is no value"):
        parcel = pack_media([TextClip(text="x")])
        buffer = memoryview(bytearray(parcel.nbytes))
        parcel.write(buffer)
        unpack_values(buffer)


@pytest.mark.parametrize(
    "message",
    [
        Announce(feature=3, spec="{}"),
        Answer(number=1, offset=64, nbytes=10, used_units=5, padded_units=0),
        Fault(number=1, kind=FaultKind.SAMPLE, code="too_odd", detail="ü"),
    ],
)
def test_messages_come_through(message: Message) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send(ours, message)
        assert receive(theirs) == (message, None)


def test_a_descriptor_comes_with_its_message() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    block = SharedBlock.create()
    with ours, theirs:
        send(ours, Place(slot=0), block.descriptor)
        message, descriptor = receive(theirs)
    assert message == Place(slot=0) and descriptor is not None
    assert os.fstat(descriptor).st_ino == os.fstat(block.descriptor).st_ino
    os.close(descriptor)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"is": "Closed"}',
        b'{"is": "Place", "slot": -1}',
        b'{"is": "Place", "slot": "0"}',
        b'{"is": "Place", "slot": true}',
        b'{"is": "Place", "slot": 0, "more": 1}',
        b'{"is": "Fault", "number": 0, "kind": "odd", "code": "", "detail": ""}',
        b'{"is": "Announce", "feature": 0, "spec": 1}',
        b"x" * 100_000,
        b"",
    ],
)
def test_what_is_no_message_ends_the_line(data: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(data)
        with pytest.raises(Closed):
            receive(theirs)


def test_last_words_are_heard_before_the_end() -> None:
    """A process that dies with packets unread: the kernel tells of the reset first."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            send(ours, Place(slot=9))  # never read
            send(theirs, Place(slot=1))
        assert receive(ours) == (Place(slot=1), None)
        with pytest.raises(Closed):
            receive(ours)
