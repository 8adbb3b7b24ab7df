"""Have a GPU's own decoder make the pictures, through torchcodec: an extra, and nothing takes it by itself.

Which pictures a clip keeps is decided here, from the time stamps of the packets, as for the CPU; torchcodec only makes
those. Their pixels are close to the CPU's and not equal: another scaler, another conversion of colours. So values made
of them are another feature, and whoever turns this on must put `DECODER` into the fingerprint. torchcodec brings an
FFmpeg that cannot be told which formats to read: it is for trusted files only, inside a confined process, after the
file was probed here. Whatever goes wrong raises CannotUseGpu, and the CPU decodes. Not tried on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO, Protocol

import numpy as np

from mmpipe.config import LimitsConfig
from mmpipe.media.clock import to_ns
from mmpipe.media.fitting import cut_start, scaled_size
from mmpipe.media.guard import open_container
from mmpipe.media.tracks import start_ns
from mmpipe.media.video import FramePicker
from mmpipe.types import NANOSECONDS_PER_SECOND, Clip, Stream, VideoClip, VideoNeeds

DECODER = "nvdec-1"
CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg2video"})  # what NVDEC has in silicon, with 8 bits
_AT_ONCE = 64  # pictures in flight: 400 MB of 1080p as RGB
_TIME_SLACK_NS = 1_000_000  # torchcodec tells times as float seconds


class CannotUseGpu(Exception):
    """Why the CPU must decode this track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures of a track in the order of time, undecoded."""

    times_ns: tuple[int, ...]  # on the asset's clock
    are_keys: tuple[bool, ...]


class PictureSource(Protocol):
    """What makes pictures by their number in the order of time."""

    def fetch(self, numbers: Sequence[int], needs: VideoNeeds) -> tuple[np.ndarray, Sequence[int]]:
        """Return the pictures at the size that is needed, uint8 NHW or NHWC, and their times on the file's clock."""


def why_not_on_gpu(stream: Stream, *, is_trusted: bool, device: str) -> str:
    """Say why the CPU must decode a track, "" where the GPU may try; nothing heavy is imported to know."""
    if not device.startswith("cuda"):
        return f"the device is {device}"
    if not is_trusted:
        return "the corpus does not say that its files are trusted"
    if stream.codec not in CODECS:
        return f"no GPU decodes {stream.codec}"
    return "" if find_spec("torchcodec") else "torchcodec is not installed: pip install mmpipe[nvdec]"


def read_pictures(descriptor: int, stream: Stream, limits: LimitsConfig) -> Pictures:
    """Return the pictures of a track from its packets alone. Raise CannotUseGpu where those do not tell all of them."""
    found: list[tuple[int, bool]] = []
    with open_container(descriptor, limits) as container:
        track = container.streams[stream.track]
        zero_ns = start_ns(track) - stream.start_ns
        for packet in container.demux(track):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_discard or packet.is_corrupt:
                raise CannotUseGpu("a packet that is broken, or without a time")
            found.append((to_ns(packet.pts, track.time_base) - zero_ns, bool(packet.is_keyframe)))
    found.sort()
    times_ns = tuple(time_ns for time_ns, _ in found)
    if not found or len(set(times_ns)) < len(times_ns):
        raise CannotUseGpu("no pictures, or two at one time")
    return Pictures(times_ns=times_ns, are_keys=tuple(is_key for _, is_key in found))


def pick_on_gpu(
    pictures: Pictures, clips: Sequence[tuple[int, Clip]], needs: Sequence[VideoNeeds], source: PictureSource
) -> Iterator[tuple[int, dict[VideoNeeds, VideoClip]]]:
    """Yield every clip with the pictures that the CPU would have picked for it. Raise CannotUseGpu."""
    picker = FramePicker(clips, needs, _Numbers())
    for number, (time_ns, is_key) in enumerate(zip(pictures.times_ns, pictures.are_keys, strict=True)):
        yield from _made(picker.push(_Undecoded(number=number, key_frame=is_key), time_ns), pictures, source)
    yield from _made(picker.end(), pictures, source)


def _made(
    picked: Sequence[tuple[int, dict[VideoNeeds, VideoClip]]], pictures: Pictures, source: PictureSource
) -> Iterator[tuple[int, dict[VideoNeeds, VideoClip]]]:
    for index, by_need in picked:
        yield index, {need: _make(need, clip, pictures, source) for need, clip in by_need.items()}


def _make(need: VideoNeeds, clip: VideoClip, pictures: Pictures, source: PictureSource) -> VideoClip:
    """Put the pictures in the place of their numbers, and hold that they are those that were meant."""
    shape = (len(clip.frames), need.height_px, need.width_px, *(() if need.gray else (3,)))
    frames = np.empty(shape, np.uint8)
    for start in range(0, len(frames), _AT_ONCE):
        numbers = [int(number) for number in clip.frames[start : start + _AT_ONCE, 0, 0]]
        try:
            made, times_ns = source.fetch(numbers, need)
        except Exception as error:  # of torchcodec, FFmpeg or the driver: the CPU knows better what is wrong
            raise CannotUseGpu(f"{type(error).__name__}: {error}") from error
        meant_ns = [pictures.times_ns[number] - pictures.times_ns[0] for number in numbers]
        is_off = any(abs(one - other) > _TIME_SLACK_NS for one, other in zip(times_ns, meant_ns, strict=True))
        if is_off or made.shape != (len(numbers), *shape[1:]) or made.dtype != np.uint8:
            raise CannotUseGpu("it made other pictures than those that were asked for")
        frames[start : start + len(numbers)] = made
    return VideoClip(frames=frames, times_ns=clip.times_ns)


class TorchcodecSource:
    """Pictures of one track by torchcodec, scaled where they are made; only what is kept leaves the device."""

    def __init__(self, file: BinaryIO, stream: Stream, device: str, open_decoder: Any = None) -> None:
        """Open a file that is read by descriptor, never by name. Raise CannotUseGpu."""
        try:
            make = open_decoder or import_module("torchcodec.decoders").VideoDecoder
            self._decoder = make(
                file, stream_index=stream.track, dimension_order="NCHW", device=device, seek_mode="exact"
            )
            self._first_s = float(self._decoder.metadata.begin_stream_seconds)
        except Exception as error:  # of torchcodec, FFmpeg or the driver
            raise CannotUseGpu(f"{type(error).__name__}: {error}") from error

    def fetch(self, numbers: Sequence[int], needs: VideoNeeds) -> tuple[np.ndarray, Sequence[int]]:
        """Return pictures by number, and their times after the first one."""
        import torch

        batch = self._decoder.get_frames_at(indices=list(numbers))
        out = (needs.width_px, needs.height_px)
        width, height = scaled_size((batch.data.shape[3], batch.data.shape[2]), out, needs.fit)
        x_NCHW = torch.nn.functional.interpolate(
            batch.data.float(), (height, width), mode="bilinear", antialias=True, align_corners=False
        )
        left, top = cut_start(width, out[0]), cut_start(height, out[1])
        x_NCHW = torch.nn.functional.pad(x_NCHW, (-left, left + out[0] - width, -top, top + out[1] - height))
        if needs.gray:  # luma of BT.601, as the CPU's conversion
            x_NCHW = (x_NCHW * x_NCHW.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        pixels_NHWC = x_NCHW.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        times_ns = [round((second - self._first_s) * NANOSECONDS_PER_SECOND) for second in batch.pts_seconds.tolist()]
        return (pixels_NHWC[..., 0] if needs.gray else pixels_NHWC), times_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undecoded:
    """A picture as the picker sees it."""

    number: int
    key_frame: bool


class _Numbers:
    """Stands in for the scaler: a picture's number in place of its pixels."""

    def scale(self, frame: Any, needs: VideoNeeds) -> np.ndarray:
        """Return one pixel: the number."""
        return np.array([[frame.number]], np.int64)
