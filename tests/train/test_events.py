"""Event files are read back by Google's own protocol buffers, after a schema that is written down here."""

from __future__ import annotations

import struct

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mmpipe.train.checkpoint import EpochRecord
from mmpipe.train.events import EVENTS_NAME, crc32c, file_start, scalars_record
from mmpipe.train.log import EpochLog, scalars_of

DOUBLE, FLOAT, INT64, MESSAGE, STRING = 1, 2, 3, 11, 9


def event_class():
    """Build the parts of tensorflow/core/util/event.proto and framework/summary.proto that scalars need."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, str]) -> None:
        made = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            label = 3 if name == "Summary" else 1
            made.field.add(name=field, number=number, type=kind, type_name=of or None, label=label)

    message("Value", ("tag", 1, STRING, ""), ("simple_value", 2, FLOAT, ""))
    message("Summary", ("value", 1, MESSAGE, ".t.Value"))
    message(
        "Event",
        ("wall_time", 1, DOUBLE, ""),
        ("step", 2, INT64, ""),
        ("file_version", 3, STRING, ""),
        ("summary", 5, MESSAGE, ".t.Summary"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def read_events(data: bytes) -> list:
    """Read TFRecords, checking both sums of each."""
    events, kind = [], event_class()
    while data:
        length = struct.unpack("<Q", data[:8])[0]
        body = data[12 : 12 + length]
        for part, found in ((data[:8], data[8:12]), (body, data[12 + length : 16 + length])):
            crc = crc32c(part)
            rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
            assert struct.unpack("<I", found)[0] == (rotated + 0xA282EAD8) % 2**32
        events.append(kind.FromString(body))
        data = data[16 + length :]
    return events


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_sums_are_those_of_rfc_3720(data, crc):
    assert crc32c(data) == crc


def test_scalars_come_back_by_tag_and_step():
    scalars = {"loss/train": 0.25, "loss/validation": -1.5, "x" * 300: 2.0}
    start, *events = read_events(file_start() + scalars_record(1, scalars) + scalars_record(70_000, {"a": 3.0}))
    assert start.file_version == "brain.Event:2"
    assert [event.step for event in events] == [1, 70_000]
    assert {value.tag: value.simple_value for value in events[0].summary.value} == scalars
    assert [(value.tag, value.simple_value) for value in events[1].summary.value] == [("a", 3.0)]


def test_an_epoch_is_logged_with_what_was_measured_and_no_more(tmp_path):
    record = EpochRecord(
        epoch=2,
        train_loss=0.5,
        gradient_norm=1.25,
        val_loss=0.75,
        val_score=0.5,
        unimodal_val_score={"audio@1": 0.25},
        encoder_gradient_norms={"audio@1": 2.0},
        learning_rate=0.5,
    )
    log = EpochLog(tmp_path, tensorboard=True)
    log.begin([EpochRecord(epoch=1, train_loss=1.0, gradient_norm=2.0)])
    log.add(record)
    _, first, second = read_events((tmp_path / EVENTS_NAME).read_bytes())
    tags = {value.tag: value.simple_value for value in second.summary.value}
    assert tags == pytest.approx(scalars_of(record)) and tags["accuracy/audio@1 alone"] == 0.25
    assert tags["gradient_norm/audio@1"] == 2.0 and tags["learning_rate"] == 0.5
    assert {value.tag for value in first.summary.value} == {"loss/train", "gradient_norm/all", "skipped_steps"}


def test_without_tensorboard_there_is_the_log_alone(tmp_path):
    EpochLog(tmp_path).begin([])
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_an_epoch_in_words():
    record = EpochRecord(epoch=3, train_loss=0.5, gradient_norm=1.0, val_loss=0.25, val_score=0.875, skipped_steps=1)
    assert record.told(60) == "epoch 3 of 60, loss 0.500, validation 0.250, accuracy 0.875, 1 step skipped"
    assert EpochRecord(epoch=3, train_loss=0.5, gradient_norm=1.0).told(60) == "epoch 3 of 60, loss 0.500"
