"""Workers, decoder processes and the store: the whole way of NVDEC's pictures, with PyAV in its place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from corpus_maker import CORPUS, drops, extract, ingest, make_config, tree, write_film

from mmpipe.config import Config, EngineConfig
from mmpipe.engine.device.find import Gpu, find_gpus
from mmpipe.engine.device.process import DeviceProcesses, DeviceSpec
from mmpipe.errors import ConfigError, SampleError, ShardError
from mmpipe.features.extractor import Extractor, fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.media.nvdec import examine_nvdec
from mmpipe.media.picture_maker import CannotUseGpu, PyAvMaker
from mmpipe.media.remux import remux
from mmpipe.steps.extract.extract import ExtractReport
from mmpipe.steps.tell.doctor import examine as doctor
from mmpipe.steps.workers.device_pool import SERVE_CPU
from mmpipe.steps.workers.picture_client import open_maker
from mmpipe.steps.workers.picture_pool import OPENER, SETUP, picture_specs, shared_pictures
from mmpipe.types import EncodedPictures, Fit, VideoNeeds

FORMS = (
    VideoNeeds(width_px=16, height_px=16),
    VideoNeeds(width_px=8, height_px=12, gray=True, fit=Fit(keeps_shape=True, box_px=(14, 14))),
)
GPUS = (
    Gpu(index=0, name="a", memory_bytes=1 << 30, is_cuda=True),
    Gpu(index=1, name="b", memory_bytes=1, is_cuda=True),
)
THERE = ("0.16.0", "")


def write_h264(path: Path, seed: int, num_frames: int = 30) -> Path:
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "2", "threads": "1"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def make_store(folder: Path, media: Path, decoder: str) -> tuple[Config, ExtractReport]:
    folder.mkdir()
    config = make_config(folder, root=str(media), features=["video-pixels"], shard_clips=4)
    params = {"width_px": 16, "height_px": 16, "num_frames": 4, "decoder": decoder}
    config = config.model_copy(update={"features": {"video-pixels": params}})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(SERVE_CPU, "1" if decoder == "nvdec" else "0")
        ingest(config)
        return config, extract(config)[0]


def data_of(config: Config) -> dict[str, str]:
    return {name: digest for name, digest in tree(config.store / CORPUS).items() if "/data/" in name}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "media"
    folder.mkdir()
    for number in range(6):
        write_h264(folder / f"film-{number}.mp4", number)
    write_film(folder / "old.mp4")  # mpeg4
    return folder


def test_a_store_holds_what_decoder_processes_made_and_tells_what_the_cpu_had_to(media: Path, tmp_path: Path) -> None:
    here, plain = make_store(tmp_path / "cpu", media, "cpu")
    there, report = make_store(tmp_path / "nvdec", media, "nvdec")
    assert plain.computed == report.computed == 7 and drops(there) == drops(here) == {}
    assert sorted(data_of(there).values()) == sorted(data_of(here).values())  # PyAV's pixels are the CPU's
    assert sum(meter.gpu_tracks for meter in report.meters) == 6
    assert report.speed_report is not None and plain.speed_report is not None
    assert report.speed_report.nvdec == "6 tracks decoded; 1 by the CPU all the same: codec_mpeg4 1"
    assert ("NVDEC", report.speed_report.nvdec) in report.speed_report.lines()
    assert plain.speed_report.nvdec == ""


def test_what_decodes_is_part_of_what_a_feature_is() -> None:
    plain = make_extractor("video-pixels", {"num_frames": 4})
    same = make_extractor("video-pixels", {"num_frames": 4, "decoder": "cpu"})
    other = make_extractor("video-pixels", {"num_frames": 4, "decoder": "nvdec"})
    assert fingerprint(plain) == fingerprint(same) != fingerprint(other)
    assert "decoder" not in plain.params.model_dump(mode="json")  # values from before there was a choice stay fresh


# --------------------------------------------------------------------------- what can be used where


def nvdec_features() -> list[Extractor]:
    return [make_extractor("video-pixels", {"decoder": "nvdec"}), make_extractor("video-hogdct")]


@pytest.mark.parametrize(
    ("engine", "gpus", "examined", "match"),
    [
        ({}, (), THERE, "there is none here"),
        ({}, [replace(GPUS[0], is_cuda=False)], THERE, "there is none here"),
        ({"device": "cpu"}, GPUS, THERE, "takes none"),
        ({"kind": "ray"}, GPUS, THERE, "decode themselves"),
        ({}, GPUS, ("", "torchcodec is not installed: pip install 'mmpipe[nvdec]'"), "not installed"),
        ({"device": "cuda:7"}, GPUS, THERE, "no such GPU"),
    ],
)
def test_a_machine_that_cannot_says_so_before_any_work(
    engine: dict[str, Any], gpus: Sequence[Gpu], examined: tuple[str, str], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SERVE_CPU, raising=False)
    with pytest.raises(ConfigError, match=match):
        picture_specs(EngineConfig(**engine), nvdec_features(), lambda: gpus, lambda: examined)


def test_every_gpu_gets_so_many_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVE_CPU, raising=False)

    def names(**engine: Any) -> list[str]:
        specs = picture_specs(EngineConfig(**engine), nvdec_features(), lambda: GPUS, lambda: THERE)
        return [spec.device for spec in specs]

    assert names() == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert names(nvdec_sessions=3, device="cuda:1") == ["cuda:1"] * 3
    assert picture_specs(EngineConfig(), [make_extractor("video-pixels")]) == ()


# --------------------------------------------------------------------------- a process of it


@pytest.fixture
def run(tmp_path: Path) -> EncodedPictures:
    with av.open(str(write_h264(tmp_path / "a.mp4", 1, 10))) as container:
        track = container.streams.video[0]
        packets = [packet for packet in container.demux(track) if packet.size]
        return EncodedPictures(data=remux(packets, track), num_pictures=10, numbers=(0, 3, 9), forms=FORMS)


@pytest.fixture
def processes() -> Iterator[DeviceProcesses]:
    with DeviceProcesses([DeviceSpec(device="cpu", name="a processor")], OPENER, SETUP) as processes:
        yield processes


def test_a_process_gives_what_its_maker_gives_also_after_it_was_killed(
    run: EncodedPictures, processes: DeviceProcesses
) -> None:
    maker = open_maker(str(processes.folder), lambda: None)
    assert maker is not None
    for _ in range(2):
        for ours, theirs in zip(maker.make(run), PyAvMaker().make(run), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        os.kill(processes.pids()[0], signal.SIGKILL)
    with pytest.raises(CannotUseGpu, match="nvdec_unsupported"):
        maker.make(replace(run, numbers=(0, 12)))
    with pytest.raises(CannotUseGpu, match="nvdec_error"):
        maker.make(replace(run, data=np.zeros(100, np.uint8)))
    maker.link.close()


@pytest.mark.parametrize(("opener", "code"), [("open_deadly", "device_killed"), ("open_full", "device_memory")])
def test_what_depends_on_the_moment_is_never_left_to_the_cpu(opener: str, code: str, run: EncodedPictures) -> None:
    spec = DeviceSpec(device="cpu", name="a processor")
    with DeviceProcesses([spec], f"faulty_pictures:{opener}", SETUP) as processes:
        maker = open_maker(str(processes.folder), lambda: None)
        assert maker is not None
        with pytest.raises(SampleError, match=code):
            maker.make(run)
        maker.link.close()


def test_a_device_that_cannot_be_used_ends_the_shard_and_not_the_clip(run: EncodedPictures) -> None:
    spec = DeviceSpec(device="cpu", name="a processor")
    with DeviceProcesses([spec], "faulty_pictures:open_blind", SETUP) as processes:
        maker = open_maker(str(processes.folder), lambda: None)
        assert maker is not None
        with pytest.raises(ShardError, match="capability"):
            maker.make(run)
        maker.link.close()


def test_a_decoder_process_is_confined_as_a_worker_is(processes: DeviceProcesses, run: EncodedPictures) -> None:
    maker = open_maker(str(processes.folder), lambda: None)
    assert maker is not None and maker.make(run)
    proc = Path(f"/proc/{processes.pids()[0]}")
    limits = (proc / "limits").read_text().splitlines()
    assert "NoNewPrivs:\t1" in (proc / "status").read_text()
    assert next(line.split()[4:6] for line in limits if line.startswith("Max core file size")) == ["0", "0"]
    assert os.readlink(proc / "ns/net") != os.readlink("/proc/self/ns/net") or os.getuid() != 0
    maker.link.close()


def test_tasks_of_one_process_share_the_decoder_processes() -> None:
    specs = [DeviceSpec(device="cpu", name="a processor")]
    with shared_pictures(specs) as one:
        with shared_pictures(specs) as other:
            assert one.address == other.address
        assert Path(one.address).exists()
    assert not Path(one.address).exists()
    with shared_pictures(()) as none:
        assert none.address == "" and open_maker(none.address, lambda: None) is None


def test_the_doctor_says_what_can_be_used(tmp_path: Path) -> None:
    (row,) = [row for row in doctor(tmp_path / "mmpipe.toml") if row["check"] == "nvdec"]
    version, problem = examine_nvdec()
    if find_gpus() and version:
        assert version in row["detail"] and row["state"] == ("weak" if problem else "ok")
    else:
        assert row["state"] == "ok" and row["detail"].startswith("not used: ")
