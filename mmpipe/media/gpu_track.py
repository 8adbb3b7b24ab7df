"""Decode the pictures of a track by what stands behind a `PictureMaker`; which ones is decided here, from the packets.

The packets are demuxed, held and chosen as for the CPU (`PacketSchedule`, `FramePicker`), so a clip keeps the same
pictures with the same true time stamps whoever makes them; only pixels differ. A run of packets that has a wanted
picture is written into a container of our own and sent; a run without one costs its demuxing.

What the CPU must do for a whole track is found before or while it is decoded, and raises CannotUseGpu: another codec,
a picture that is turned or anamorphic, packets whose times do not tell their pictures, a file that lacks a part. It
depends on the file alone, never on the moment: two runs over the same files on the same kind of GPU decode them the
same way.

NVDEC conceals damage inside a picture and does not tell: a picture of a broken packet can come out wrong where the CPU
would have counted it as lost. What the container or the demuxer tells of damage does send a track to the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import av.error
import numpy as np

from mmpipe.config import LimitsConfig
from mmpipe.media.decoders import Found, VideoDecoder, Wanted
from mmpipe.media.picture_maker import CannotUseGpu, form_of
from mmpipe.media.remux import remux
from mmpipe.media.shown import SQUARE, pixel_aspect, quarter_turns
from mmpipe.media.sparse import CannotSkip, PacketSchedule, Run
from mmpipe.media.video import FramePicker, fitted_size
from mmpipe.types import EncodedPictures, VideoNeeds

# What every NVDEC since 2018 has, of that whose packets are one picture each. AV1 came with 2020's GPUs: which one is
# there is asked of it, file by file.
CODECS = frozenset({"h264", "hevc", "vp9", "av1"})
_MOST_BYTES = 64 << 20  # of pictures in one request

_Forms = dict[VideoNeeds, np.ndarray]


class GpuVideoDecoder(VideoDecoder):
    """Pictures that are made elsewhere. Raise CannotUseGpu from every call."""

    def __init__(self, av_stream: Any, want: Wanted, limits: LimitsConfig) -> None:
        """Set the clips up. Raise also CannotUseGpu."""
        assert want.maker is not None
        if want.stream.codec not in CODECS:
            raise CannotUseGpu(f"codec_{want.stream.codec}")
        if pixel_aspect(av_stream) != SQUARE:
            raise CannotUseGpu("anamorphic")
        needs = [need for need in want.needs if isinstance(need, VideoNeeds)]
        super().__init__(av_stream, replace(want, picker=FramePicker(want.clips, needs, _Made())), limits)
        self._maker = want.maker
        self._schedule = PacketSchedule(want.clips, needs, self._time_of)
        self._forms = tuple(dict.fromkeys(map(form_of, needs)))
        self._before: tuple[Any, ...] = ()  # packets of the last run: the next may refer to it
        self._has_looked = False

    def push(self, packet: Any) -> Iterator[Found]:
        """Decode what a packet makes due and yield the clips that it completes."""
        if packet.is_corrupt:
            raise CannotUseGpu("damaged", "a packet is marked as broken")
        try:
            yield from super().push(packet)
        except CannotSkip as error:
            raise CannotUseGpu("packets", str(error)) from error

    def end(self) -> Iterator[Found]:
        """Decode what is left and yield its clips."""
        try:
            yield from super().end()
        except CannotSkip as error:
            raise CannotUseGpu("packets", str(error)) from error

    def _decode_run(self, run: Run) -> Iterator[Found]:
        trailing, leading = self._split(run)
        if run.wanted_ns:
            self._look(trailing[0])
            self._wanted_ns.update(run.wanted_ns)
            wants_leading = any(self._time_of(packet) in run.wanted_ns for packet in leading)
            if wants_leading and run.anew:
                raise CannotUseGpu("packets", "a picture refers to what was not decoded")
            chosen, before = list(trailing), ()
            if wants_leading:
                self._look(self._before[0])
                chosen, before = [packet for packet, _ in run.packets], self._before
            made = self._make([*before, *chosen], run.wanted_ns)
            for packet in sorted(chosen, key=lambda packet: packet.pts):
                time_ns = self._time_of(packet)
                picture = _Picture(packet.is_keyframe, packet.duration, made.get(time_ns, {}))
                self._num_frames += 1
                yield from self._close(self._take(picture, time_ns))
        self._before = trailing
        self.reached_ns = max(self.reached_ns, run.newest_ns + self._frame_ns())

    def _split(self, run: Run) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the packets that are shown from the key frame on, and those before it, which refer to another run."""
        packets = [packet for packet, _ in run.packets]
        if any(packet.pts is None or packet.is_discard for packet in packets):
            raise CannotUseGpu("packets", "one has no time, or is not shown")
        if len({packet.pts for packet in packets}) < len(packets):
            raise CannotUseGpu("packets", "two have one time")
        key_pts = packets[0].pts if packets else 0
        leading = tuple(packet for packet in packets if packet.pts < key_pts)
        return tuple(packet for packet in packets if packet.pts >= key_pts), leading

    def _look(self, packet: Any) -> None:
        """Decode the key frame of a run here, where it has to be seen.

        The first of a track alone tells how it is turned, and how large it is. A later one of h264 that is no IDR may
        be the start of a gradual refresh: called a key frame by the container, and no picture by itself.
        """
        if self._has_looked and (self._stream.codec != "h264" or _holds_idr(packet, self._codec.extradata)):
            return
        try:
            frames = [*self._codec.decode(packet), *self._codec.decode(None)]
            self._codec.flush_buffers()
        except av.error.FFmpegError as error:
            raise CannotUseGpu("damaged", f"a key frame: {error.strerror}") from error
        if not frames or frames[0].is_corrupt or not frames[0].key_frame:
            raise CannotUseGpu("no_key_frame", "what the container calls one is no picture by itself")
        if quarter_turns(frames[0]):
            raise CannotUseGpu("turned")
        for form in self._forms:
            fitted_size(frames[0], 0, form)
        self._has_looked = True

    def _make(self, packets: Sequence[Any], wanted_ns: frozenset[int]) -> dict[int | None, _Forms]:
        """Return the wanted pictures of some packets by time and form."""
        ordered = sorted(packets, key=lambda packet: packet.pts)
        times_ns = [self._time_of(packet) for packet in ordered]
        numbers = [number for number, time_ns in enumerate(times_ns) if time_ns in wanted_ns]
        data = remux(packets, self.av_stream)
        nbytes = sum(form.width_px * form.height_px * (1 if form.gray else 3) for form in self._forms)
        at_once = max(1, _MOST_BYTES // nbytes)
        made: dict[int | None, _Forms] = {}
        for start in range(0, len(numbers), at_once):
            few = tuple(numbers[start : start + at_once])
            run = EncodedPictures(data=data, num_pictures=len(packets), numbers=few, forms=self._forms)
            by_form = self._maker.make(run)
            for place, number in enumerate(few):
                made[times_ns[number]] = {form: found[place] for form, found in zip(self._forms, by_form, strict=True)}
        return made


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture as the picker sees it: its forms are made already, where somebody wants it."""

    key_frame: bool
    duration: int | None
    forms: _Forms = field(default_factory=dict)


class _Made:
    """Stands in for the scaler: hands out what was made."""

    def scale(self, frame: Any, needs: VideoNeeds) -> np.ndarray:
        """Return the picture in the form that is needed."""
        try:
            pixels: np.ndarray = frame.forms[form_of(needs)]
        except KeyError:
            raise CannotUseGpu("packets", "a picture is wanted that its packet did not announce") from None
        return pixels


def _holds_idr(packet: Any, extradata: bytes | None) -> bool:
    """Say whether a packet of h264 holds a slice of an IDR picture: NAL unit type 5 (ITU-T H.264, table 7-1)."""
    data = bytes(packet)
    if not extradata or extradata[0] != 1 or len(extradata) < 5:  # Annex B: start codes
        starts = data.split(b"\x00\x00\x01")[1:]
        return any(unit and unit[0] & 31 == 5 for unit in starts)
    prefix, place = (extradata[4] & 3) + 1, 0  # ISO/IEC 14496-15: lengths
    while place + prefix < len(data):
        if data[place + prefix] & 31 == 5:
            return True
        place += prefix + int.from_bytes(data[place : place + prefix], "big")
    return False
