"""Small encoders learn what there is to learn, give the same bytes for the same seed, and mind no padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmpipe.errors import ConfigError
from mmpipe.features.trained.files import encoder_files, make_encoder
from mmpipe.features.trained.spec import EncoderSpec
from mmpipe.train.encoder_fit import fit_encoder
from mmpipe.train.fit_settings import FitReport, FitSettings
from mmpipe.types import Batch, ModalityBatch

FEATURE = "input@1"
TEXT = EncoderSpec(kind="text-lstm", input=FEATURE, input_dim=1, num_ids=12, width=16)
SPEECH = EncoderSpec(kind="audio-speech2vec", input=FEATURE, input_dim=3, width=16, segment_rows=5, neighbours=1)


class Clips:
    """A source of clips that are kept in memory."""

    def __init__(self, clips: list[np.ndarray]) -> None:
        self.clips = clips

    def gather(self, rows: np.ndarray) -> Batch:
        """Return the clips of these rows."""
        chosen = [self.clips[row] for row in rows.tolist()]
        mask_BT = np.arange(max(map(len, chosen))) < np.array([len(clip) for clip in chosen])[:, None]
        x_BTD = np.zeros((*mask_BT.shape, chosen[0].shape[1]), chosen[0].dtype)
        for row, clip in zip(x_BTD, chosen, strict=True):
            row[: len(clip)] = clip
        keys = tuple(str(row) for row in rows)
        return Batch(
            keys=keys,
            features={FEATURE: ModalityBatch(x_BTD=x_BTD, mask_BT=mask_BT)},
            labels_B=np.full(len(keys), -1),
        )


def counting_texts() -> Clips:
    """Texts that count in a circle: the next token follows from the one before."""
    return Clips([(np.arange(8 + start % 5) + start).astype(np.int32)[:, None] % 12 for start in range(24)])


def swinging_sounds() -> Clips:
    """Sounds that go on as they began, each with a tone of its own; a column that never changes beside it."""
    times = np.arange(40)[:, None]
    return Clips(
        [
            np.hstack([np.sin(times * step), np.cos(times * step), np.full((40, 1), 7.0)]).astype(np.float32) + 100
            for step in np.linspace(0.05, 0.3, 24)
        ]
    )


def fit(spec: EncoderSpec, source: Clips, seed: int = 0, epochs: int = 6) -> tuple[dict[str, bytes], FitReport]:
    network = make_encoder(spec, seed)
    rows = np.arange(len(source.clips))
    settings = FitSettings(seed=seed, epochs=epochs, batch_clips=4, learning_rate=1e-2)
    report = fit_encoder(network, network, source, FEATURE, rows[:20], rows[20:], settings)
    return encoder_files(network), report


@pytest.mark.parametrize(("spec", "source"), [(TEXT, counting_texts()), (SPEECH, swinging_sounds())])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_learns_and_the_seed_decides_every_byte(spec: EncoderSpec, source: Clips, cell: str) -> None:
    spec = spec.model_copy(update={"cell": cell})
    files, report = fit(spec, source)
    assert report.train_losses[-1] < 0.7 * report.train_losses[0]
    assert report.val_losses[report.kept_epoch] == min(report.val_losses)
    assert report.val_losses[report.kept_epoch] < 0.7 * report.train_losses[0]
    torch.manual_seed(99)  # whatever the caller draws
    assert fit(spec, source)[0] == files
    assert fit(spec, source, seed=1)[0] != files


def test_a_text_is_read_in_one_direction_and_a_batch_changes_no_loss() -> None:
    network = make_encoder(TEXT, 0).eval()
    ids = torch.tensor([[1], [2], [3], [4]])
    whole, part = network.encode(ids), network.encode(ids[:2])
    torch.testing.assert_close(whole.z_SW[:2], part.z_SW)
    assert whole.rows_S.tolist() == [0, 1, 2, 3]
    batch = counting_texts().gather(np.array([0, 4])).features[FEATURE]
    both = network.loss(torch.from_numpy(batch.x_BTD), torch.from_numpy(batch.mask_BT))
    alone = [network.loss(torch.from_numpy(batch.x_BTD[[n]]), torch.from_numpy(batch.mask_BT[[n]])) for n in (0, 1)]
    counts = batch.mask_BT[:, 1:].sum(axis=1)
    torch.testing.assert_close(both, sum(a * int(c) for a, c in zip(alone, counts, strict=True)) / counts.sum())


def test_speech_is_cut_into_whole_segments() -> None:
    network = make_encoder(SPEECH, 0).eval()
    x = torch.randn(17, 3)
    found = network.encode(x)
    assert found.z_SW.shape == (3, 16)
    assert found.rows_S.tolist() == [2, 7, 12]
    torch.testing.assert_close(found.z_SW, network.encode(x[:15]).z_SW)
    short = network.encode(x[:2])
    assert (short.z_SW.shape, short.rows_S.tolist()) == ((1, 16), [1])


def test_clips_that_are_too_short_teach_nothing() -> None:
    source = Clips([np.ones((4, 3), np.float32)] * 24)
    with pytest.raises(ConfigError, match="too short"):
        fit(SPEECH, source)
