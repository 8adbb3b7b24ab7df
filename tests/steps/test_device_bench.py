from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import device_extractor
import numpy as np
import pytest
from device_extractor import AudioNet, AudioNetParams

from mmpipe.engine.device.sampler import sample_gpu
from mmpipe.steps.workers.device_bench import measure_bare_encoder, measure_embed_stage, synthetic_media
from mmpipe.steps.workers.device_pool import SERVE_CPU, shared_devices
from mmpipe.types import (
    ArrayClip,
    ArrayNeeds,
    AudioClip,
    AudioNeeds,
    ClipMedia,
    ImageClip,
    ImageNeeds,
    Needs,
    TextClip,
    TextNeeds,
    VideoClip,
    VideoNeeds,
)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path) -> Iterator[None]:
    site = str(device_extractor.install(tmp_path / "site"))
    sys.path.insert(0, site)
    yield
    sys.path.remove(site)


def test_the_embed_stage_is_measured_with_media_that_nobody_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVE_CPU, "1")
    extractor = AudioNet(AudioNetParams())
    with shared_devices("cpu") as pool:
        measure = measure_embed_stage(extractor, pool, num_workers=2, batches=5, length_s=0.5)
    (share,) = measure.devices
    assert measure.clips == 2 * 5 * 4 and measure.seconds > 0 and measure.clips_per_s > 0
    assert (share.meter.requests, share.meter.loads, share.meter.starts) == (10, 0, 0)  # loaded before the clock ran
    assert 0 < share.busy_share <= 1 and share.meter.media_bytes > 40 * 4_000 * 4
    assert measure_bare_encoder(extractor, "cpu", batches=3, length_s=0.5) > 0


def test_a_pool_without_devices_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVE_CPU, raising=False)
    with shared_devices("cpu") as pool, pytest.raises(ValueError, match="has no device"):
        measure_embed_stage(AudioNet(AudioNetParams()), pool, num_workers=1)


@pytest.mark.parametrize(
    ("needs", "kind", "shape"),
    [
        (VideoNeeds(width_px=6, height_px=4, num_frames=3), VideoClip, (3, 4, 6, 3)),
        (VideoNeeds(width_px=6, height_px=4, gray=True, frame_rate=2.0), VideoClip, (8, 4, 6)),
        (VideoNeeds(width_px=6, height_px=4), VideoClip, (100, 4, 6, 3)),
        (AudioNeeds(sample_rate_hz=100), AudioClip, (400,)),
        (ImageNeeds(width_px=6, height_px=4), ImageClip, (4, 6, 3)),
        (ArrayNeeds(), ArrayClip, (400, 8)),
        (TextNeeds(), TextClip, None),
    ],
)
def test_synthetic_media_have_the_form_that_is_asked_for(
    needs: Needs, kind: type[ClipMedia], shape: tuple[int, ...] | None
) -> None:
    first, second = synthetic_media(needs, 2, 4.0, seed=1)
    assert type(first) is type(second) is kind
    field = {VideoClip: "frames", AudioClip: "wave_N", ImageClip: "image", ArrayClip: "values_TD"}.get(kind, "text")
    one, other = getattr(first, field), getattr(second, field)
    again = getattr(synthetic_media(needs, 1, 4.0, seed=1)[0], field)
    if shape is None:
        assert one and one == again
    else:
        assert one.shape == shape and np.array_equal(one, again) and not np.array_equal(one, other)


def test_the_driver_is_asked_for_the_load_of_the_gpus_that_are_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho 90\necho 100\necho "[N/A]"\ntouch "$0.$1"\nexec cat "$0.fifo"\n')
    tool.chmod(0o755)
    os.mkfifo(f"{tool}.fifo")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-x")
    with sample_gpu(2) as sampled:
        said = [tmp_path / "nvidia-smi.--id=4", tmp_path / "nvidia-smi.--id=GPU-x"]
        while not all(file.exists() for file in said):
            pass
    assert sampled == {0: [90.0, 100.0], 1: [90.0, 100.0]}
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with sample_gpu(2) as sampled:
        pass
    assert sampled == {}
