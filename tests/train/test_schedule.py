from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from test_loop import CONFIG, digest, having, train

from mmpipe.config import TrainConfig
from mmpipe.train.schedule import rate_share


def shares(**changes) -> list[float]:
    config = TrainConfig(**{"epochs": 5, **changes})
    return [rate_share(config, step, 4) for step in range(20)]


def test_constant_is_one_everywhere():
    assert shares() == [1.0] * 20


@pytest.mark.parametrize("warmup", [{"warmup_steps": 6}, {"warmup_epochs": 1.5}])
def test_a_warmup_grows_to_the_whole_rate(warmup):
    assert shares(**warmup) == pytest.approx([(step + 1) / 6 for step in range(6)] + [1.0] * 14)


def test_cosine_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=19, eta_min=0.1)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    assert shares(schedule="cosine", final_rate=0.1) == pytest.approx(expected)


def test_linear_and_cosine_begin_after_the_warmup_and_end_at_the_final_share():
    linear = shares(schedule="linear", warmup_steps=4, final_rate=0.2)
    assert linear[4:] == pytest.approx([1 - 0.8 * step / 15 for step in range(16)])
    cosine = shares(schedule="cosine", warmup_steps=4)
    assert cosine[4] == 1.0 and cosine[-1] == pytest.approx(0.0, abs=1e-12)
    assert cosine[10] == pytest.approx((1 + math.cos(math.pi * 6 / 15)) / 2)


def test_steps_multiply_at_the_epochs_that_were_asked_for():
    found = shares(schedule="step", step_epochs=2, step_factor=0.5)
    assert found == [1.0] * 8 + [0.5] * 8 + [0.25] * 4


def test_a_warmup_longer_than_the_run_never_ends():
    assert shares(schedule="cosine", warmup_steps=40)[-1] == 0.5


def test_two_warmups_are_refused():
    with pytest.raises(ValidationError, match="give one"):
        TrainConfig(warmup_steps=1, warmup_epochs=1.0)


def test_a_run_follows_its_schedule():
    config = having(CONFIG, schedule="linear", epochs=4, patience_epochs=50)
    trained = train(config=config)
    rates = [record.learning_rate for record in trained.history]
    assert rates == pytest.approx([3e-3 * (1 - step / 15) for step in (3, 7, 11, 15)])  # 60 clips are 4 steps of 16
    assert digest(trained) != digest(train(config=having(config, schedule="constant")))
