"""Real encoders in an encoder process: the same bytes as in the worker, pictures staged ahead, one process for all."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mmpipe.features.extractor import Extractor
from mmpipe.features.registry import make_extractor
from mmpipe.steps.workers.compute import open_computer
from mmpipe.steps.workers.device_bench import synthetic_media
from mmpipe.steps.workers.device_client import DeviceClient
from mmpipe.steps.workers.device_pool import SERVE_CPU, shared_devices
from mmpipe.types import AudioClip, ClipMedia, ImageClip, TextClip, VideoClip

HELPERS = Path(__file__).resolve().parent.parent / "features" / "encoders"


@pytest.fixture
def extractors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Extractor]:
    monkeypatch.syspath_prepend(str(HELPERS))
    make_bert = import_module("text_models").make_bert
    save_model = import_module("vision_models").save_model

    make_bert(tmp_path / "bert")
    vit = str(save_model(tmp_path / "vit", "vit"))
    return [
        make_extractor("video-hf", {"model": vit, "dtype": "float32"}),
        make_extractor("image-hf", {"model": vit, "dtype": "bfloat16"}),
        make_extractor("text-hf", {"model": str(tmp_path / "bert"), "dtype": "float32", "pool": "none"}),
    ]


@pytest.mark.slow
def test_encoders_give_the_same_bytes_in_a_process_of_their_own(
    extractors: list[Extractor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVE_CPU, "1")
    media = {one.name: [synthetic_media(one.needs, 3, 1.0, seed) for seed in range(4)] for one in extractors}
    with shared_devices("cpu") as pool:
        there = {one.name: open_computer(one, "cpu", pool.address) for one in extractors}
        for number in range(4):
            for one in extractors:
                here = open_computer(one, "cpu")
                batch = media[one.name][number]
                before = [copy_of(clip) for clip in batch]
                found, expected = there[one.name].extract(batch), here.extract(batch)
                assert [value.array.tobytes() for value in found] == [value.array.tobytes() for value in expected]
                assert all(np.array_equal(a, b) for a, b in zip(before, map(copy_of, batch), strict=True))
                assert there[one.name].units == here.units
        (report,) = pool.reports()
        for client in there.values():  # they share a line, which lives as long as the process
            assert isinstance(client, DeviceClient)
            client.link.close()
    assert (report.meter.loads, report.meter.requests, report.meter.starts) == (3, 12, 1)
    assert report.meter.busy_share > 0


def copy_of(clip: ClipMedia) -> np.ndarray:
    """Return what a clip holds: an extractor must not write to it."""
    assert not isinstance(clip, AudioClip)
    if isinstance(clip, TextClip):
        return np.array([clip.text])
    found = (
        clip.frames if isinstance(clip, VideoClip) else clip.image if isinstance(clip, ImageClip) else clip.values_TD
    )
    return found.copy()
