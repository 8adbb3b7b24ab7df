"""On a CUDA device: strict training repeats and resumes to the bit, and bf16 learns what float32 learns."""

from __future__ import annotations

import json

import pytest
import torch
from test_loop import TEST, digest, having, train
from toy_clips import ToySource

from mmpipe.train.weights import predict

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = having(device="cuda", ema_decay=0.9, balance_alpha=0.5, modality_dropout=0.2, epochs=6, patience_epochs=50)


class Stopped(Exception):
    pass


def test_strict_repeats_to_the_bit_and_is_near_the_cpu() -> None:
    first = train(config=CUDA)
    assert digest(first) == digest(train(config=CUDA))
    assert next(first.model.parameters()).device.type == "cpu"  # ready for answers anywhere
    still = having(CUDA, dropout=0.0, modality_dropout=0.0, balance_noise=False, optimizer="sgd", epochs=2)
    losses = [
        [record.val_loss for record in train(config=having(still, device=device)).history] for device in ("cpu", "cuda")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_run_that_was_stopped_in_an_epoch_goes_on_to_the_same_bytes(tmp_path) -> None:
    def stop(epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == (3, 2):
            raise Stopped

    with pytest.raises(Stopped):
        train(config=having(CUDA, checkpoint_every_steps=1), checkpoint_dir=tmp_path, on_step=stop)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["cursor"]["step"] == 2
    assert digest(train(config=CUDA, checkpoint_dir=tmp_path)) == digest(train(config=CUDA))


@pytest.mark.parametrize("fusion", ["concat", "transformer"])
def test_mixed_precision_learns(fusion: str) -> None:
    source = ToySource()
    trained = train(fusion, source, having(device="cuda", precision="bf16", epochs=40, patience_epochs=50))
    assert (predict(trained.model, source, TEST).argmax(1) == source.labels_N[TEST]).mean() > 0.7
    assert all(parameter.dtype is torch.float32 for parameter in trained.model.parameters())
