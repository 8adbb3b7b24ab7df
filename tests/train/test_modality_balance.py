from __future__ import annotations

import math

import pytest
import torch
from test_loop import CONFIG, digest, having, train
from torch import nn

from mmpipe.train.modality_balance import balance_gradients, leading_coefficients, true_class_chances


def test_two_modalities_as_in_the_paper():
    found = leading_coefficients({"a": 0.6, "v": 0.2}, alpha=0.3)
    assert found == {"a": pytest.approx(1 - math.tanh(0.3 * 3.0)), "v": 1.0}
    assert leading_coefficients({"a": 0.5, "v": 0.5}, alpha=0.3) == {"a": 1.0, "v": 1.0}


def test_each_of_three_stands_against_the_mean_of_the_others():
    found = leading_coefficients({"a": 0.6, "t": 0.3, "v": 0.1}, alpha=1.0)
    assert found["a"] == pytest.approx(1 - math.tanh(0.6 / 0.2))
    assert (found["t"], found["v"]) == (1.0, 1.0)


def test_chances_count_only_clips_that_have_the_modality():
    logits_BK = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    present = {"a": torch.tensor([True, True, False])}
    sums = true_class_chances({"a": logits_BK}, torch.tensor([0, 0, 1]), present)["a"]
    expected = 1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(1))
    assert sums.tolist() == pytest.approx([expected, 2.0])
    soft = true_class_chances({"a": logits_BK}, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), present)["a"]
    torch.testing.assert_close(soft, sums)


def test_gradients_are_scaled_and_the_noise_has_their_deviation():
    torch.manual_seed(0)
    encoders = {"a": nn.Linear(200, 200), "v": nn.Linear(200, 200)}
    before = {}
    for name, encoder in encoders.items():
        for parameter in encoder.parameters():
            parameter.grad = 3 * torch.randn_like(parameter)
        before[name] = encoder.weight.grad.clone()
    balance_gradients(encoders, {"a": 0.25, "v": 1.0}, with_noise=False)
    torch.testing.assert_close(encoders["a"].weight.grad, before["a"] * 0.25)
    assert torch.equal(encoders["v"].weight.grad, before["v"])
    balance_gradients(encoders, {"a": 1.0, "v": 1.0}, with_noise=True)
    noise = encoders["v"].weight.grad - before["v"]
    assert noise.std().item() == pytest.approx(3.0, rel=0.03) and abs(noise.mean().item()) < 0.1


def test_a_run_is_held_back_and_its_other_gradients_are_not():
    config = having(CONFIG, epochs=2)
    plain = train(config=config)
    balanced = train(config=having(config, balance_alpha=1.0, balance_noise=False))
    noisy = train(config=having(config, balance_alpha=1.0))
    assert len({digest(plain), digest(balanced), digest(noisy)}) == 3
    norms, held = (trained.history[-1].encoder_gradient_norms for trained in (plain, balanced))
    assert min(held[name] / norms[name] for name in norms) < 0.8


def test_one_modality_alone_has_nothing_to_balance():
    config = having(CONFIG, epochs=2)
    assert digest(train("unimodal", config=config)) == digest(
        train("unimodal", config=having(config, balance_alpha=1.0))
    )
