"""Pick the frames of clips from a running video: each is scaled once per size, and only if some clip keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from mmpipe.errors import SampleError
from mmpipe.media.fitting import cut_middle, scaled_size, shown_shape
from mmpipe.media.shown import SQUARE, quarter_turns
from mmpipe.types import NANOSECONDS_PER_SECOND, Clip, Fit, VideoClip, VideoNeeds

# Bilinear in libswscale widens with the scale, so it does not alias; the flags make it the same on every CPU.
_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_MOST_TO_CUT = 64  # times what is kept of a frame: one a pixel high would be scaled to gigabytes, most of it cut off

_Form = tuple[int, int, Fit, bool]


class FramePicker:
    """Give every clip its frames, in one pass.

    A clip keeps all frames inside `[start, end)`, or of these the nearest to each point of an exact grid: at a rate
    from its start, or in the middles of equal parts. One without a frame inside keeps the one nearest to it. Where only
    key frames are wanted, a clip without one inside keeps the last before it.
    """

    def __init__(
        self, clips: Sequence[tuple[int, Clip]], needs: Sequence[VideoNeeds], scaler: Scaler | None = None
    ) -> None:
        """Take (index, clip) pairs, what is needed of each, and what scales the frames that are kept."""
        self._waiting = sorted(clips, key=lambda pair: (pair[1].start_ns, pair[1].end_ns, pair[0]), reverse=True)
        self._needs = tuple(needs)
        self._running: list[_Reel] = []
        self._scaler = scaler or FrameScaler()
        self._shot: _Shot | None = None
        self._key: _Shot | None = None

    def push(self, frame: Any, time_ns: int) -> list[tuple[int, dict[VideoNeeds, VideoClip]]]:
        """Take the next frame; return the clips that are complete now."""
        before, self._shot = self._shot, _Shot(frame, time_ns, self._scaler)
        key, self._key = self._key, self._shot if self._shot.is_key else self._key
        # A clip opens with the first frame at or after its start: only then it may need the frame before.
        while self._waiting and self._waiting[-1][1].start_ns <= time_ns:
            self._running.append(_Reel(*self._waiting.pop(), self._needs, key))
        for reel in self._running:
            reel.push(before, self._shot)
        done = [reel for reel in self._running if reel.clip.end_ns <= time_ns]
        self._running = [reel for reel in self._running if reel.clip.end_ns > time_ns]
        return [(reel.index, reel.finish()) for reel in done]

    def end(self) -> list[tuple[int, dict[VideoNeeds, VideoClip]]]:
        """Take the end of the video; return the clips that were still open."""
        self._running += [_Reel(*pair, self._needs, self._key) for pair in reversed(self._waiting)]
        self._waiting = []
        for reel in self._running:
            reel.push(self._shot, None)
        done, self._running = self._running, []
        return [(reel.index, reel.finish()) for reel in done]


class Scaler(Protocol):
    """What gives a frame the form that is needed."""

    def scale(self, frame: Any, needs: VideoNeeds) -> np.ndarray:
        """Return the frame as pixels; asked once for every form of a frame that some clip keeps."""


class FrameScaler:
    """One libswscale context per form, kept for the whole pass."""

    def __init__(self, aspect: Fraction = SQUARE) -> None:
        """Take the width of a pixel by its height."""
        self._aspect = aspect
        self._reformatters: dict[_Form, VideoReformatter] = {}

    def scale(self, frame: Any, needs: VideoNeeds) -> np.ndarray:
        """Return a frame upright, uint8 HW or HWC; what keeps its shape has the true one. SampleError limit_pixels."""
        turns = quarter_turns(frame)
        width, height = fitted_size(frame, turns, needs, self._aspect)
        if turns % 2:
            width, height = height, width
        reformatter = self._reformatters.setdefault(_form(needs), VideoReformatter())
        form = "gray" if needs.gray else "rgb24"
        scaled = reformatter.reformat(frame, width, height, form, interpolation=_SCALING, threads=1)
        pixels = cut_middle(np.rot90(scaled.to_ndarray(), turns), (needs.width_px, needs.height_px))
        return np.ascontiguousarray(pixels)


def fitted_size(frame: Any, turns: int, needs: VideoNeeds, aspect: Fraction = SQUARE) -> tuple[int, int]:
    """Return width and height that an upright frame is scaled to. Raise SampleError limit_pixels."""
    shape = shown_shape((frame.width, frame.height), turns, aspect)
    width, height = scaled_size(shape, (needs.width_px, needs.height_px), needs.fit)
    box_width, box_height = needs.fit.box_px or (needs.width_px, needs.height_px)
    if width * height > _MOST_TO_CUT * box_width * box_height:
        upright = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        raise SampleError(
            "limit_pixels", f"frames of {upright[0]} x {upright[1]} pixels are too long to cut their middle out"
        )
    return width, height


def _form(needs: VideoNeeds) -> _Form:
    return needs.width_px, needs.height_px, needs.fit, needs.gray


class _Shot:
    """A decoded frame with its time, and its scaled forms as far as they were asked for."""

    def __init__(self, frame: Any, time_ns: int, scaler: Scaler) -> None:
        self.time_ns = time_ns
        self.is_key = bool(frame.key_frame)
        self._frame = frame
        self._scaler = scaler
        self._scaled: dict[_Form, np.ndarray] = {}

    def scaled(self, needs: VideoNeeds) -> np.ndarray:
        """Return the frame at the size and in the colours needed."""
        form = _form(needs)
        if form not in self._scaled:
            self._scaled[form] = self._scaler.scale(self._frame, needs)
        return self._scaled[form]


class _Reel:
    """The frames of one clip, for each of the needs."""

    def __init__(self, index: int, clip: Clip, needs: Sequence[VideoNeeds], key: _Shot | None) -> None:
        self.index = index
        self.clip = clip
        self._picks = {need: _pick_for(need)(clip=clip, needs=need, key=key) for need in needs}

    def push(self, before: _Shot | None, now: _Shot | None) -> None:
        for pick in self._picks.values():
            pick.push(before, now)

    def finish(self) -> dict[VideoNeeds, VideoClip]:
        return {need: pick.video() for need, pick in self._picks.items() if pick.times_ns}


@dataclass(slots=True, kw_only=True)
class _Pick:
    """The kept frames of one clip for one need: here, all that are inside."""

    clip: Clip
    needs: VideoNeeds
    key: _Shot | None  # the last key frame before the clip
    times_ns: list[int] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)

    def push(self, before: _Shot | None, now: _Shot | None) -> None:
        """Take two neighbours in time; `now` is None at the end of the video."""
        self._choose(before, now)
        if not self.times_ns and (now is None or now.time_ns >= self.clip.end_ns):
            around = self._around(before, now)
            if around:
                self._keep(min(around, key=self._distance_ns))

    def video(self) -> VideoClip:
        return VideoClip(frames=np.stack(self.frames), times_ns=np.array(self.times_ns, dtype=np.int64))

    def _choose(self, before: _Shot | None, now: _Shot | None) -> None:
        if now and self._inside(now):
            self._keep(now)

    def _around(self, before: _Shot | None, now: _Shot | None) -> list[_Shot]:
        """Return what a clip may keep that has no frame of its own."""
        return [shot for shot in (before, now) if shot]

    def _keep(self, shot: _Shot) -> None:
        if not self.times_ns or shot.time_ns > self.times_ns[-1]:
            self.times_ns.append(shot.time_ns)
            self.frames.append(shot.scaled(self.needs))

    def _inside(self, shot: _Shot) -> bool:
        return self.clip.start_ns <= shot.time_ns < self.clip.end_ns

    def _distance_ns(self, shot: _Shot) -> int:
        return max(self.clip.start_ns - shot.time_ns, shot.time_ns - self.clip.end_ns + 1)


@dataclass(slots=True, kw_only=True)
class _GridPick(_Pick):
    """The frame nearest to each point of an exact grid."""

    next_point: int = 0

    def _choose(self, before: _Shot | None, now: _Shot | None) -> None:
        """Keep the nearest frame for every point that the two neighbours enclose."""
        inside = [shot for shot in (before, now) if shot and self._inside(shot)]
        reached_ns = now.time_ns if now else self.clip.end_ns
        while (point_ns := self._point_ns()) is not None and point_ns <= reached_ns:
            self.next_point += 1
            if inside:
                self._keep(min(inside, key=lambda shot: abs(shot.time_ns - point_ns)))

    def _point_ns(self) -> int | None:
        """Return the next point of the grid, None where there is none left."""
        number, start_ns, end_ns = self.next_point, self.clip.start_ns, self.clip.end_ns
        if self.needs.num_frames is not None:  # the middles of equal parts
            middle_ns = start_ns + (2 * number + 1) * (end_ns - start_ns) // (2 * self.needs.num_frames)
            return middle_ns if number < self.needs.num_frames else None
        assert self.needs.frame_rate is not None
        point_ns = start_ns + round(number * NANOSECONDS_PER_SECOND / self.needs.frame_rate)
        return point_ns if point_ns < end_ns else None


@dataclass(slots=True, kw_only=True)
class _KeyPick(_Pick):
    """The key frames: the same whether the frames between them were decoded or not."""

    def _choose(self, before: _Shot | None, now: _Shot | None) -> None:
        if now and now.is_key and self._inside(now):
            self._keep(now)

    def _around(self, before: _Shot | None, now: _Shot | None) -> list[_Shot]:
        # The next one may lie far behind the clip: only where nothing at all came before is it taken.
        return [self.key] if self.key else [shot for shot in (before, now) if shot and shot.is_key]


def _pick_for(needs: VideoNeeds) -> type[_Pick]:
    if needs.only_keyframes:
        return _KeyPick
    return _Pick if needs.frame_rate is None and needs.num_frames is None else _GridPick
