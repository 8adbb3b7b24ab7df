"""Decode one track: packets in, finished clips out, and the account of what was lost on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av.error

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.audio import GAP_NS, WaveCutter
from mmpipe.media.clock import seconds, to_ns
from mmpipe.media.gifs import GIF
from mmpipe.media.guard import open_decoder
from mmpipe.media.lead_in import LeadIn
from mmpipe.media.picture_maker import PictureMaker
from mmpipe.media.refused import require_sound_limits
from mmpipe.media.shown import pixel_aspect
from mmpipe.media.sparse import DROPPABLE_CODECS, CannotSkip, PacketSchedule, Run, is_sparse
from mmpipe.media.tracks import MAX_MISSING, MISSING_SLACK_NS, start_ns
from mmpipe.media.video import FramePicker, FrameScaler
from mmpipe.types import NANOSECONDS_PER_SECOND, AudioNeeds, Clip, ClipMedia, Stream, VideoNeeds

Found = tuple[int, Mapping[Any, ClipMedia]]  # index of a clip, and its media by need
_FALLBACK_FRAME_RATE = 25.0


class Picker(Protocol):
    """What the frames of a track go to: times are on the asset's clock."""

    def push(self, frame: Any, time_ns: int) -> Sequence[Found]:
        """Take the next picture; return the clips that are complete now."""

    def end(self) -> Sequence[Found]:
        """Take the end of the track; return the clips that were still open."""


class Cutter(Protocol):
    """What the sound of a track goes to."""

    def push(self, frame: Any, time_ns: int | None) -> Sequence[Found]:
        """Take the next block; return the clips that are complete now."""

    def begin_part(self) -> None:
        """Take that the next block does not go on from the last: it is placed by its own time."""

    def due_ns(self) -> int:
        """Return how far the sound has come."""

    def end(self) -> Sequence[Found]:
        """Take the end of the track; return the clips that were still open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A track of a container, the clips (with their index) that lie in it, and what they need."""

    stream: Stream
    clips: tuple[tuple[int, Clip], ...]
    needs: tuple[VideoNeeds | AudioNeeds, ...]
    max_missing: float = MAX_MISSING  # share of the track that may be lost
    strict: bool = False  # anything lost at all ends the pass
    may_skip: bool = False  # pictures that nobody wants need not be decoded
    picker: Picker | None = None  # in place of the one that serves the needs
    cutter: Cutter | None = None
    maker: PictureMaker | None = None  # what decodes pictures in place of this process


class TrackDecoder(ABC):
    """A decoder, its place on the asset's clock, and what of the track was lost."""

    def __init__(self, av_stream: Any, want: Wanted, limits: LimitsConfig) -> None:
        """Open the decoder. Raise SampleError format_not_allowed."""
        self.av_stream = av_stream
        self.open_clips = {index for index, _ in want.clips}
        self.reached_ns = 0
        self.lost_ns = 0
        self._stream = want.stream
        self._want = want
        self._limits = limits
        self._codec = open_decoder(av_stream, limits)
        if want.strict:
            self._codec.options = self._codec.options | {"err_detect": "explode"}
        self._zero_ns = start_ns(av_stream) - want.stream.start_ns  # the asset's zero on the container's clock
        self._end_ns = want.stream.start_ns + want.stream.duration_ns
        self._num_frames = 0
        # Asked for once: PyAV makes a new fraction each time, and they do not change inside a track.
        self._base: Fraction = av_stream.time_base
        self._frame_base: Fraction | None = None

    def push(self, packet: Any) -> Iterator[Found]:
        """Decode a packet and yield the clips that it completes. Raise SampleError once too much is lost."""
        for due in self._due(packet) if packet.size else ():  # an empty one is the end of the track: `end` flushes
            yield from self._decode(due)

    def end(self) -> Iterator[Found]:
        """Flush the decoder and yield the clips that are left. Raise SampleError where the track fell short."""
        if not self.open_clips:
            return
        for due in self._left():
            yield from self._decode(due)
        yield from self._decode(None)
        if not self._num_frames or self.reached_ns <= self._stream.start_ns:
            raise SampleError("decode_error", f"{self._what()}: nothing could be decoded")
        self._lose(self._missing_ns(), "in all")
        yield from self._close(self._finish())

    def _decode(self, packet: Any) -> Iterator[Found]:
        """Decode a packet, or flush; what cannot be decoded is lost."""
        try:
            frames = self._codec.decode(packet)
        except av.error.FFmpegError as error:
            if self._want.strict:
                raise SampleError("decode_error", f"{self._what()}: {error.strerror}") from error
            if packet is not None:
                self._lose_part(self._lost_ns_of(packet))
            return
        for frame in frames:
            if frame.is_corrupt:
                self._lose_part(self._frame_ns())
                continue
            self._num_frames += 1
            if self._frame_base is None:
                self._frame_base = frame.time_base or self._base
            ticks = frame.pts if frame.pts is not None else frame.dts
            time_ns = None if ticks is None else to_ns(ticks, self._frame_base) - self._zero_ns
            yield from self._close(self._take(frame, time_ns))

    def _close(self, found: list[Found]) -> Iterator[Found]:
        for index, media in found:
            self.open_clips.discard(index)
            yield index, media

    def _lose_part(self, lost_ns: int) -> None:
        """Count what cannot be decoded."""
        self._lose(lost_ns)

    def _lose(self, lost_ns: int, told: str = "at least") -> None:
        self.lost_ns += lost_ns
        allowed_ns = round(self._stream.duration_ns * self._want.max_missing)
        if self.lost_ns > allowed_ns:
            came = f"after {seconds(self.reached_ns)} of {seconds(self._end_ns)}"
            lost = f"{told} {seconds(self.lost_ns)} cannot be decoded, {came}"
            allowed = f"damage.min_share allows {seconds(allowed_ns)}" if allowed_ns else "damage allows none"
            raise SampleError("decode_error", f"{self._what()}: {lost}; {allowed}")

    def _what(self) -> str:
        return f"{self._stream.codec} track {self._stream.track} of {self._stream.file!r}"

    def _due(self, packet: Any) -> list[Any]:
        """Return the packets to decode now."""
        return [packet]

    def _left(self) -> list[Any]:
        """Return the packets that were held back until the end."""
        return []

    def _missing_ns(self) -> int:
        """Return by how much the track ended early."""
        return max(self._end_ns - self.reached_ns, 0)

    def _lost_ns_of(self, packet: Any) -> int:
        """Return what is lost with a packet that cannot be decoded."""
        return to_ns(packet.duration or 0, self._base) or self._frame_ns()

    @abstractmethod
    def begin_part(self, packet: Any) -> Iterator[Found]:
        """Take that another recording begins with this packet, which is pushed next; yield what that completes."""

    @abstractmethod
    def _frame_ns(self) -> int:
        """Return how long a frame lasts that does not say so."""

    @abstractmethod
    def _take(self, frame: Any, time_ns: int | None) -> list[Found]:
        """Hand a frame on and return the clips that are complete."""

    @abstractmethod
    def _finish(self) -> list[Found]:
        """Return the clips that are left at the end."""


class VideoDecoder(TrackDecoder):
    """Pictures; where few are wanted, only these and what they refer to are decoded.

    Else all are, from the last key frame before the first clip on.
    """

    def __init__(self, av_stream: Any, want: Wanted, limits: LimitsConfig) -> None:
        """Open the decoder and set the clips up."""
        super().__init__(av_stream, want, limits)
        needs = [need for need in want.needs if isinstance(need, VideoNeeds)]
        self._picker = want.picker or FramePicker(want.clips, needs, FrameScaler(pixel_aspect(av_stream)))
        first_ns = min(clip.start_ns for _, clip in want.clips)
        self._lead_in = LeadIn(first_ns + self._zero_ns, av_stream.time_base)
        is_gif = want.stream.codec == GIF  # each picture rests on all before it, whatever its packet says
        if is_gif:
            self._lead_in.release()
        self._last_ns: int | None = None
        self._part_key_ns: int | None = None  # of the key frame that the recording begins with, after a join
        self._only_keys = not want.picker and all(need.only_keyframes for need in needs)
        if self._only_keys and not is_gif:
            self._codec.skip_frame = "NONKEY"  # the decoder drops the rest unread: an order of magnitude cheaper
        may_skip = want.may_skip and not (want.picker or want.strict or self._only_keys or is_gif)
        sparse = may_skip and is_sparse(want.clips, needs, want.stream.frame_rate)
        self._schedule = PacketSchedule(want.clips, needs, self._time_of) if sparse else None
        self._may_drop = self._codec.codec.name in DROPPABLE_CODECS
        self._wanted_ns: set[int] = set()  # of the packets that were decoded, and did not come out yet

    def push(self, packet: Any) -> Iterator[Found]:
        """Decode what a packet makes due and yield the clips that it completes. Raise also CannotSkip."""
        if self._schedule is None:
            yield from super().push(packet)
        elif packet.size:
            for run in self._schedule.admit(packet):
                yield from self._decode_run(run)

    def begin_part(self, packet: Any) -> Iterator[Found]:
        """Take that another recording begins; where packets are held, what was before is decoded in its turn."""
        if self._schedule is not None:
            self._schedule.begin_part()
        elif packet.is_keyframe:  # else it begins in the middle of a run, and goes on from what is there
            for due in self._left():
                yield from self._decode(due)
            yield from self._decode(None)
            self._codec.flush_buffers()
            self._part_key_ns = self._time_of(packet)

    def end(self) -> Iterator[Found]:
        """Flush the decoder and yield the clips that are left. Raise also CannotSkip."""
        if self._schedule is not None and self.open_clips:
            for run in self._schedule.release():
                yield from self._decode_run(run)
        yield from super().end()

    def _decode_run(self, run: Run) -> Iterator[Found]:
        if run.anew and self._num_frames:
            yield from self._decode(None)
            self._require_wanted()
            self._codec.flush_buffers()
        self._wanted_ns.update(run.wanted_ns)
        for packet, is_wanted in run.packets:
            if self._may_drop:
                self._codec.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            yield from self._decode(packet)
        self.reached_ns = max(self.reached_ns, run.newest_ns + self._frame_ns())

    def _require_wanted(self) -> None:
        """Raise CannotSkip where a picture did not come out at the time that its packet tells."""
        if self._wanted_ns:
            raise CannotSkip(f"{self._what()}: no picture at {seconds(min(self._wanted_ns))}")

    def _time_of(self, packet: Any) -> int | None:
        return None if packet.pts is None else to_ns(packet.pts, self._base) - self._zero_ns

    def _lose_part(self, lost_ns: int) -> None:
        if self._schedule is not None:
            raise CannotSkip(f"{self._what()}: damaged")
        super()._lose_part(lost_ns)

    def _due(self, packet: Any) -> list[Any]:
        return self._lead_in.admit(packet)

    def _left(self) -> list[Any]:
        return self._lead_in.release()

    def _missing_ns(self) -> int:
        missing_ns = 0 if self._only_keys else super()._missing_ns()  # what was skipped on purpose is not lost
        return missing_ns if missing_ns * 2 > self._frame_ns() else 0  # less than that is rounding

    def _frame_ns(self) -> int:
        return round(NANOSECONDS_PER_SECOND / (self._stream.frame_rate or _FALLBACK_FRAME_RATE))

    def _take(self, frame: Any, time_ns: int | None) -> list[Found]:
        if self._num_frames > self._limits.frames:
            raise SampleError("limit_frames", f"{self._what()}: more than {self._limits.frames} pictures")
        if self._last_ns is not None and (time_ns is None or time_ns <= self._last_ns):
            time_ns = self._last_ns + self._frame_ns()  # stamps that stand still or run back: pictures come in order
        time_ns = self._stream.start_ns if time_ns is None else time_ns
        if self._lead_in.key_ns is not None and time_ns < self._lead_in.key_ns - self._zero_ns:
            return []  # refers to pictures before the key frame
        if self._part_key_ns is not None and time_ns < self._part_key_ns:
            return []  # likewise, where another recording begins
        self._last_ns = time_ns
        self._wanted_ns.discard(time_ns)
        duration_ns = to_ns(frame.duration or 0, self._frame_base or self._base)
        self.reached_ns = max(self.reached_ns, time_ns + (duration_ns or self._frame_ns()))
        return list(self._picker.push(frame, time_ns))

    def _finish(self) -> list[Found]:
        self._require_wanted()
        return list(self._picker.end())


class AudioDecoder(TrackDecoder):
    """Sound; always decoded from the start, so that a wave never depends on where its shard began."""

    def __init__(self, av_stream: Any, want: Wanted, limits: LimitsConfig) -> None:
        """Open the decoder and set the clips up."""
        super().__init__(av_stream, want, limits)
        rates = [need for need in want.needs if isinstance(need, AudioNeeds)]
        self._cutter = want.cutter or WaveCutter(want.clips, rates, self._end_ns)
        self.reached_ns = want.stream.start_ns
        self._num_failed = 0
        self._is_joined = False  # the next block is the first after a join
        self._told_end_ns = 0  # of the block before: a container may let one last longer than its sound

    def begin_part(self, packet: Any) -> Iterator[Found]:
        """Take that another recording begins; the tracks of the one before may have ended at different times.

        The decoder goes on: the packet before this one may be the first of the new recording (Ogg gives it no time).
        """
        self._cutter.begin_part()
        self._is_joined = True
        yield from ()

    def _missing_ns(self) -> int:
        missing_ns = super()._missing_ns()
        return missing_ns if missing_ns > MISSING_SLACK_NS else 0  # less than that is the codec's padding

    def _frame_ns(self) -> int:
        return MISSING_SLACK_NS // 2  # 20 to 26 ms in most codecs

    def _lost_ns_of(self, packet: Any) -> int:
        self._num_failed += 1
        return 0  # the gap that it leaves is counted, as are gaps that a container heals in silence

    def _take(self, frame: Any, time_ns: int | None) -> list[Found]:
        require_sound_limits(frame.sample_rate, frame.layout.nb_channels, self._limits)
        gap_ns = 0 if time_ns is None else time_ns - max(self.reached_ns, self._told_end_ns)
        # Before the first sound a gap is a loss only if packets failed: a codec may take long to warm up.
        if gap_ns > GAP_NS and (self._num_frames > 1 or self._num_failed) and not self._is_joined:
            self._lose(gap_ns)
        self._is_joined = False
        if time_ns is not None and frame.duration:
            self._told_end_ns = time_ns + to_ns(frame.duration, frame.time_base or self.av_stream.time_base)
        found = self._cutter.push(frame, time_ns)
        self.reached_ns = self._cutter.due_ns()
        return list(found)

    def _finish(self) -> list[Found]:
        return list(self._cutter.end())
