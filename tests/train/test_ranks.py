"""Two processes that torchrun starts make the very steps of one process with the big batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ranks_case import CONFIG, CONFIGS, gradient_of, train_case

from mmpipe.errors import ConfigError
from mmpipe.train.ranks import ALONE, Ranks, join_ranks

CHILD = Path(__file__).with_name("ranks_child.py")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(CHILD), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def found(folder: Path, rank: int) -> dict:
    return json.loads((folder / f"rank-{rank}" / "found.json").read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_and_gradient_are_those_of_one_process_with_the_big_batch(two, name):
    loss, norm, gradients = gradient_of(CONFIGS[name], ALONE)
    for rank in (0, 1):
        assert found(two, rank)[name] == pytest.approx([loss, norm], rel=1e-5)
        theirs = np.load(two / f"rank-{rank}" / f"{name}.npz")
        assert set(theirs.files) == set(gradients) and len(gradients) > 10
        for parameter, gradient in gradients.items():
            np.testing.assert_allclose(theirs[parameter], gradient, rtol=1e-4, atol=1e-6, err_msg=parameter)


def test_a_whole_run_is_that_of_one_process(two):
    trained = train_case(CONFIG, ALONE)
    expected = [[record.train_loss, record.val_loss] for record in trained.history]
    np.testing.assert_allclose(found(two, 0)["losses"], expected, rtol=1e-5)
    weights = np.load(two / "rank-0" / "weights.npz")
    for name, value in trained.model.state_dict().items():
        np.testing.assert_allclose(weights[name], value.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_both_processes_end_with_the_same_bytes(two):
    one, other = (np.load(two / f"rank-{rank}" / "weights.npz") for rank in (0, 1))
    assert set(one.files) == set(other.files)
    assert all(np.array_equal(one[name], other[name]) for name in one.files)
    assert found(two, 0)["losses"] == found(two, 1)["losses"]


def test_rank_0_alone_writes_and_is_heard(two):
    names = sorted(path.name for path in (two / "checkpoint").iterdir())
    assert len(names) == 2 and names[0] == "checkpoint.json"
    assert [found(two, rank)["told"] for rank in (0, 1)] == [True, True]


def test_another_number_of_processes_is_another_run(two):
    with pytest.raises(ConfigError, match="is of another run"):
        train_case(CONFIG, ALONE, checkpoint_dir=two / "checkpoint")


def test_shares_of_a_batch_are_the_batch_in_order():
    positions = np.arange(7) * 3
    parts = [Ranks(rank=rank, size=3).share(positions) for rank in range(3)]
    assert np.concatenate(parts).tolist() == positions.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert ALONE.share(positions).tolist() == positions.tolist()


def test_without_torchrun_one_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # as batch systems set it for their own ends
    with join_ranks() as ranks:
        assert ranks == ALONE and ranks.writes and ranks.told(False) is False
