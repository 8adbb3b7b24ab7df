from __future__ import annotations

import logging
import socket

import pytest
from http_receiver import Receiver

from mmpipe.watch.outlets import KEY_VARIABLE, MOST_WAITING, HttpOutlet


def test_events_arrive_in_order_with_the_key_of_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "s3cret")
    outlet = HttpOutlet(f"{receiver.url}/api/v1/lineage", timeout_s=30)
    for number in range(5):
        outlet.send(b"%d" % number)
    outlet.flush()
    assert receiver.bodies == [b"0", b"1", b"2", b"3", b"4"]
    assert set(receiver.paths) == {"/api/v1/lineage"} and set(receiver.keys) == {"Bearer s3cret"}


def test_a_server_that_is_busy_is_asked_again(receiver: Receiver) -> None:
    receiver.answers = [503, 429]
    outlet = HttpOutlet(receiver.url, timeout_s=30)
    outlet.send(b"a")
    outlet.flush()
    assert receiver.bodies == [b"a"] and receiver.refused == 2 and outlet.num_lost == 0


def test_an_event_that_is_refused_does_not_stop_the_next(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answers = [422]
    outlet = HttpOutlet(receiver.url, timeout_s=30)
    with caplog.at_level(logging.WARNING, "mmpipe.watch"):
        outlet.send(b"a")
        outlet.send(b"b")
        outlet.flush()
    assert receiver.bodies == [b"b"] and "answered 422" in caplog.text


def test_a_server_that_is_away_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        outlet = HttpOutlet(f"http://127.0.0.1:{nobody.getsockname()[1]}", timeout_s=0.3, rest_s=1e9)
        with caplog.at_level(logging.WARNING, "mmpipe.watch"):
            outlet.send(b"a")
            while not outlet.num_lost:
                outlet.flush()
            for _ in range(3):
                outlet.send(b"b")
    assert outlet.num_lost == 4 and caplog.text.count("are lost") == 1


def test_a_server_that_comes_back_gets_what_is_new(receiver: Receiver) -> None:
    receiver.answers = [500] * 1000
    outlet = HttpOutlet(receiver.url, timeout_s=0.3, rest_s=0)
    outlet.send(b"lost")
    while not outlet.num_lost:
        outlet.flush()
    receiver.answers.clear()
    while not receiver.bodies:
        outlet.send(b"new")
        outlet.flush()
    assert set(receiver.bodies) == {b"new"}


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = HttpOutlet("http://127.0.0.1:9", timeout_s=1)
    monkeypatch.setattr(outlet, "_post_all", lambda: None)  # a thread that never takes anything
    for _ in range(MOST_WAITING + 3):
        outlet.send(b"a")
    assert outlet.num_lost == 3
