"""Make pictures by a GPU's own decoder, NVDEC, through torchcodec: the `nvdec` extra. Runs in a decoder process alone.

Pixels are close to the CPU's and not equal: other conversion of colours, other scaler. Which is why `decoder` is a
parameter of a feature, and part of its fingerprint. Not tried on a GPU yet: torchcodec's calls are those of 0.13 to
0.17 as its sources have them, and `tests/media/test_nvdec_gpu.py` compares pictures wherever there is a GPU.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.fitting import cut_start, scaled_size
from mmpipe.media.picture_maker import STEP_MS, UNSUPPORTED, shape_of
from mmpipe.types import EncodedPictures, VideoNeeds

_KEPT_DECODERS = 4  # by size and codec, for reuse; each holds surfaces of its size
_FRAME_BYTES = 256 << 20  # of full pictures at once, with what scaling them takes
_BYTES_PER_VALUE = 6  # as it comes, as float32, and a little
_ASK_TIMEOUT_S = 300
_ASK = """
import ctypes, json
from importlib.metadata import version
problem = ""
try:
    from torchcodec.decoders import VideoDecoder
except Exception as error:
    problem = f"torchcodec cannot be loaded, {type(error).__name__}: {str(error).strip().splitlines()[0]}"
else:
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError as error:
        problem = f"the driver's decoder cannot be loaded: {error}"
print("NVDEC", json.dumps({"version": version("torchcodec"), "problem": problem}))
"""


@cache
def examine_nvdec() -> tuple[str, str]:
    """Return torchcodec's version, "" where it is not installed, and why NVDEC cannot be used, "" where it may.

    Asked in a process of its own: loading torchcodec brings a second FFmpeg and all of torch.
    """
    from importlib.util import find_spec

    if find_spec("torchcodec") is None:
        return "", "torchcodec is not installed: pip install 'mmpipe[nvdec]'"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "?", f"torchcodec was not loaded after {_ASK_TIMEOUT_S} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("NVDEC ")]
    if not lines:
        return "?", f"loading torchcodec ended with code {done.returncode}"
    said = json.loads(lines[-1].removeprefix("NVDEC "))
    return str(said["version"]), str(said["problem"])


class TorchcodecMaker:
    """Makes pictures on one device, one run after another: a process of it is one decode session."""

    def __init__(self, device: str, decoders: Any = None) -> None:
        """Take the device, and in place of `torchcodec.decoders` what has its calls.

        Raise ConfigError where torchcodec is not there, or does not find FFmpeg's libraries.
        """
        self._device = device
        self._decoders = decoders or _load_torchcodec()
        if device.startswith("cuda"):
            self._decoders.set_nvdec_cache_capacity(_KEPT_DECODERS)

    def make(self, run: EncodedPictures) -> list[np.ndarray]:
        """Return the pictures. SampleError nvdec_unsupported: this GPU cannot, and the CPU must."""
        decoder = self._decoder(run)
        found = [np.empty(shape_of(run, form), np.uint8) for form in run.forms]
        height, width = int(decoder.metadata.height), int(decoder.metadata.width)
        at_once = max(1, _FRAME_BYTES // (height * width * 3 * _BYTES_PER_VALUE))
        done = 0
        while done < len(run.numbers):
            numbers = run.numbers[done : done + at_once]
            try:
                few = self._fetch(decoder, run, list(numbers))
            except Exception as error:
                if not _is_memory(error):
                    raise
                if at_once == 1:
                    raise MemoryError(f"one picture of {width} x {height} does not fit: {error}") from error
                few = None
            if few is None:  # outside of the handler: the exception held tensors
                at_once = max(1, at_once // 2)
                _give_memory_back()
                continue
            for target, part in zip(found, few, strict=True):
                target[done : done + len(numbers)] = part
            done += len(numbers)
        return found

    def _decoder(self, run: EncodedPictures) -> Any:
        """Open a run; `exact` has it look at every packet, so that a picture's number is its place in time."""
        try:
            decoder = self._decoders.VideoDecoder(
                run.data.tobytes(),  # a copy: the worker shares this memory, and could change it meanwhile
                dimension_order="NCHW",
                num_ffmpeg_threads=1,
                device=self._device,
                seek_mode="exact",
            )
        except Exception as error:
            if _is_memory(error):
                raise MemoryError(str(error)) from error
            raise
        if decoder.cpu_fallback:  # torchcodec would go on with the CPU in silence
            said = str(decoder.cpu_fallback)
            if "NVcuvid unavailable" in said:
                raise ConfigError(
                    f"the driver's decoder library is not there ({said}). In a container, give it the capability "
                    "`video`: NVIDIA_DRIVER_CAPABILITIES=compute,utility,video."
                )
            raise SampleError(UNSUPPORTED, said)
        if len(decoder) != run.num_pictures:
            raise SampleError(UNSUPPORTED, f"it sees {len(decoder)} pictures in {run.num_pictures} packets")
        return decoder

    def _fetch(self, decoder: Any, run: EncodedPictures, numbers: list[int]) -> list[np.ndarray]:
        batch = decoder.get_frames_at(indices=numbers)
        shown_ms = [second * 1000 for second in batch.pts_seconds.tolist()]
        meant_ms = [run.num_pictures + number * STEP_MS for number in numbers]
        if any(abs(one - other) > 0.5 for one, other in zip(shown_ms, meant_ms, strict=True)):
            raise SampleError(UNSUPPORTED, "it made other pictures than those that were asked for")
        return [scale(batch.data, form) for form in run.forms]


def _load_torchcodec() -> Any:
    try:
        return import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError) as error:
        raise ConfigError(
            f"torchcodec cannot be loaded ({type(error).__name__}: {error}). It needs a CUDA build, and the shared "
            'libraries of FFmpeg. Or take decoder = "cpu" for the feature.'
        ) from error


def scale(x_NCHW: Any, form: VideoNeeds) -> np.ndarray:
    """Return pictures, a uint8 tensor on any device, in a form: uint8 NHWC, or NHW where it is gray.

    Bilinear, widened with the scale so that it does not alias, as the CPU's; only what is kept leaves the device.
    """
    import torch

    out = (form.width_px, form.height_px)
    width, height = scaled_size((x_NCHW.shape[3], x_NCHW.shape[2]), out, form.fit)
    scaled = torch.nn.functional.interpolate(
        x_NCHW.float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    left, top = cut_start(width, out[0]), cut_start(height, out[1])
    scaled = torch.nn.functional.pad(scaled, (-left, left + out[0] - width, -top, top + out[1] - height))
    if form.gray:  # luma of BT.601
        scaled = (scaled * scaled.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    pixels = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels[..., 0] if form.gray else pixels


def _is_memory(error: Exception) -> bool:
    """Say whether memory ran out, also where NVDEC says so by CUDA's number 2 alone."""
    said = str(error)
    return isinstance(error, MemoryError) or bool(re.search(r"(?i)out of memory|NVDEC decoder: 2\b", said))


def _give_memory_back() -> None:
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
