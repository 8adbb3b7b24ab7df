"""How many GPUs there are, as the driver and the environment say."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.gpus import num_gpus


@pytest.mark.parametrize(
    ("named", "expected"),
    [(None, 2), ("0", 1), ("0,1", 2), ("0,1,2,3", 2), ("", 0), ("-1", 0), ("GPU-8a5c,GPU-9b6d", 2)],
)
def test_only_those_that_may_be_used_count(tmp_path: Path, named: str | None, expected: int) -> None:
    for bus in ("0000:17:00.0", "0000:65:00.0"):
        (tmp_path / bus).mkdir()
    environment = {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    assert num_gpus(environment, tmp_path) == expected


def test_without_a_driver_there_is_none(tmp_path: Path) -> None:
    assert num_gpus({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path / "none") == 0
