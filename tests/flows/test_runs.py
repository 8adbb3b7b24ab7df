"""The door to other runs: what passes by itself is waited for, and everything else is said at once."""

from __future__ import annotations

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from flows.runs import patiently
from mmpipe.errors import TransientError


def status(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1/api/flow_runs/filter")
    return PrefectHTTPStatusError("no", request=request, response=httpx.Response(code, request=request))


@pytest.mark.parametrize(
    "error",
    [status(503), status(502), status(429), httpx.ConnectError("refused"), httpx.ReadTimeout("slow")],
    ids=str,
)
def test_a_server_that_restarts_or_is_busy_is_waited_for(error: Exception) -> None:
    faults, pauses = [error] * 6, list[float]()

    def call() -> str:
        if faults:
            raise faults.pop()
        return "answer"

    assert patiently(call, sleep=pauses.append) == "answer"
    assert len(pauses) == 6
    assert all(
        0.5 * length <= pause <= 1.5 * length for pause, length in zip(pauses, (1, 2, 4, 8, 16, 30), strict=True)
    )


@pytest.mark.parametrize("error", [status(404), status(409), status(422), status(500), ValueError("ours")], ids=str)
def test_any_other_fault_is_raised_at_once(error: Exception) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        patiently(call)
    assert len(calls) == 1


def test_patience_has_an_end_that_says_what_to_do() -> None:
    now_s = [0.0]

    def call() -> None:
        raise httpx.ConnectError("refused")

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    with pytest.raises(TransientError, match=r"not answered for 15 minutes \(refused\).*retry this run"):
        patiently(call, sleep=sleep, clock=lambda: now_s[0])
    assert now_s[0] > 900
