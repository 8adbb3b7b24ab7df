"""On a real GPU: the values of the CPU within a tolerance, the same bytes after a kill, media staged ahead."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mmpipe.engine.device.find import find_gpus
from mmpipe.features.extractor import Extractor
from mmpipe.features.registry import make_extractor
from mmpipe.steps.workers.compute import open_computer
from mmpipe.steps.workers.device_bench import measure_embed_stage, synthetic_media
from mmpipe.steps.workers.device_client import DeviceClient
from mmpipe.steps.workers.device_pool import shared_devices

HELPERS = Path(__file__).resolve().parent.parent / "features" / "encoders"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not find_gpus(), reason="no GPU that torch can use")]


@pytest.fixture
def extractors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Extractor]:
    monkeypatch.syspath_prepend(str(HELPERS))
    make_bert = import_module("text_models").make_bert
    save_model = import_module("vision_models").save_model

    make_bert(tmp_path / "bert")
    vit = str(save_model(tmp_path / "vit", "vit"))
    return [
        make_extractor("video-hf", {"model": vit, "dtype": "float32"}),
        make_extractor("text-hf", {"model": str(tmp_path / "bert"), "dtype": "float32"}),
    ]


def test_a_gpu_gives_what_the_cpu_gives_also_after_its_process_was_killed(extractors: list[Extractor]) -> None:
    with shared_devices("cuda") as pool:
        assert pool.reports()[0].name == find_gpus()[0].name
        for one in extractors:
            there, here = open_computer(one, "cuda", pool.address), open_computer(one, "cpu")
            first: list[bytes] = []
            for turn in range(2):
                media = synthetic_media(one.needs, 16, 2.0, seed=7)
                found = there.extract(media)
                for ours, theirs in zip(found, here.extract(media), strict=True):
                    scale = np.abs(theirs.array).max()
                    assert np.abs(ours.array - theirs.array).max() <= 2e-3 * scale
                first.append(b"".join(value.array.tobytes() for value in found))
                if turn == 0:
                    for pid in pids_on_gpus(pool.address):
                        os.kill(pid, signal.SIGKILL)
            assert first[0] == first[1]  # the same device gives the same bytes again
        assert isinstance(there, DeviceClient)
        there.link.close()  # one line for both


def test_the_gpu_is_measured(extractors: list[Extractor]) -> None:
    with shared_devices("cuda") as pool:
        measure = measure_embed_stage(extractors[0], pool, num_workers=2, batches=20)
    assert measure.clips_per_s > 0 and all(0 < share.busy_share <= 1 for share in measure.devices)
    assert sum(share.meter.staged for share in measure.devices) > 0


def pids_on_gpus(address: str) -> list[int]:
    """Return the encoder processes that listen in a folder: children of this process with its socket open."""
    found = []
    for child in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in child.read_text().split():
            if b"device_serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    assert found, f"nobody listens at {address}"
    return found
