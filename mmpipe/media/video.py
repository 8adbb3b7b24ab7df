"""Pick the frames of clips from a running video: each is scaled once per size, and only if some clip keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from mmpipe.media.tracks import quarter_turns
from mmpipe.types import NANOSECONDS_PER_SECOND, Clip, VideoClip, VideoNeeds

# Bilinear in libswscale widens with the scale, so it does not alias; the flags make it the same on every CPU.
_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class FramePicker:
    """Give every clip its frames, in one pass.

    Without a frame rate a clip keeps all frames inside `[start, end)`; with one, the frame nearest to each point of an
    exact grid from its start. A clip without a frame inside keeps the one nearest to it.
    """

    def __init__(self, clips: Sequence[tuple[int, Clip]], needs: Sequence[VideoNeeds]) -> None:
        """Take (index, clip) pairs and what is needed of each."""
        self._waiting = sorted(clips, key=lambda pair: (pair[1].start_ns, pair[1].end_ns, pair[0]), reverse=True)
        self._needs = tuple(needs)
        self._running: list[_Reel] = []
        self._scaler = _Scaler()
        self._shot: _Shot | None = None

    def push(self, frame: Any, time_ns: int) -> list[tuple[int, dict[VideoNeeds, VideoClip]]]:
        """Take the next frame; return the clips that are complete now."""
        before, self._shot = self._shot, _Shot(frame, time_ns, self._scaler)
        # A clip opens with the first frame at or after its start: only then it may need the frame before.
        while self._waiting and self._waiting[-1][1].start_ns <= time_ns:
            self._running.append(_Reel(*self._waiting.pop(), self._needs))
        for reel in self._running:
            reel.push(before, self._shot)
        done = [reel for reel in self._running if reel.clip.end_ns <= time_ns]
        self._running = [reel for reel in self._running if reel.clip.end_ns > time_ns]
        return [(reel.index, reel.finish()) for reel in done]

    def end(self) -> list[tuple[int, dict[VideoNeeds, VideoClip]]]:
        """Take the end of the video; return the clips that were still open."""
        self._running += [_Reel(*pair, self._needs) for pair in reversed(self._waiting)]
        self._waiting = []
        for reel in self._running:
            reel.push(self._shot, None)
        done, self._running = self._running, []
        return [(reel.index, reel.finish()) for reel in done]


class _Scaler:
    """One libswscale context per size, kept for the whole pass."""

    def __init__(self) -> None:
        self._reformatters: dict[tuple[int, int, bool], VideoReformatter] = {}

    def scale(self, frame: Any, needs: VideoNeeds) -> np.ndarray:
        """Return an upright frame, uint8 HW or HWC."""
        turns = quarter_turns(frame)
        width, height = needs.width_px, needs.height_px
        if turns % 2:
            width, height = height, width
        reformatter = self._reformatters.setdefault((width, height, needs.gray), VideoReformatter())
        form = "gray" if needs.gray else "rgb24"
        scaled = reformatter.reformat(frame, width, height, form, interpolation=_SCALING, threads=1)
        pixels = scaled.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


class _Shot:
    """A decoded frame with its time, and its scaled forms as far as they were asked for."""

    def __init__(self, frame: Any, time_ns: int, scaler: _Scaler) -> None:
        self.time_ns = time_ns
        self._frame = frame
        self._scaler = scaler
        self._scaled: dict[tuple[int, int, bool], np.ndarray] = {}

    def scaled(self, needs: VideoNeeds) -> np.ndarray:
        """Return the frame at the size and in the colours needed."""
        form = (needs.width_px, needs.height_px, needs.gray)
        if form not in self._scaled:
            self._scaled[form] = self._scaler.scale(self._frame, needs)
        return self._scaled[form]


class _Reel:
    """The frames of one clip, for each of the needs."""

    def __init__(self, index: int, clip: Clip, needs: Sequence[VideoNeeds]) -> None:
        self.index = index
        self.clip = clip
        self._picks = {need: _Pick(clip=clip, needs=need) for need in needs}

    def push(self, before: _Shot | None, now: _Shot | None) -> None:
        for pick in self._picks.values():
            pick.push(before, now)

    def finish(self) -> dict[VideoNeeds, VideoClip]:
        return {need: pick.video() for need, pick in self._picks.items() if pick.times_ns}


@dataclass(slots=True, kw_only=True)
class _Pick:
    """The kept frames of one clip for one need."""

    clip: Clip
    needs: VideoNeeds
    times_ns: list[int] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)
    next_point: int = 0  # of the grid

    def push(self, before: _Shot | None, now: _Shot | None) -> None:
        """Take two neighbours in time; `now` is None at the end of the video."""
        if self.needs.frame_rate is None:
            if now and self._inside(now):
                self._keep(now)
        else:
            self._follow_grid(before, now, self.needs.frame_rate)
        if not self.times_ns and (now is None or now.time_ns >= self.clip.end_ns):
            around = [shot for shot in (before, now) if shot]
            if around:
                self._keep(min(around, key=self._distance_ns))

    def video(self) -> VideoClip:
        return VideoClip(frames=np.stack(self.frames), times_ns=np.array(self.times_ns, dtype=np.int64))

    def _follow_grid(self, before: _Shot | None, now: _Shot | None, frame_rate: float) -> None:
        """Keep the nearest frame for every point of the grid that the two neighbours enclose."""
        inside = [shot for shot in (before, now) if shot and self._inside(shot)]
        reached_ns = now.time_ns if now else self.clip.end_ns
        while True:
            point_ns = self.clip.start_ns + round(self.next_point * NANOSECONDS_PER_SECOND / frame_rate)
            if point_ns > reached_ns or point_ns >= self.clip.end_ns:
                return
            self.next_point += 1
            if inside:
                self._keep(min(inside, key=lambda shot: abs(shot.time_ns - point_ns)))

    def _keep(self, shot: _Shot) -> None:
        if not self.times_ns or shot.time_ns > self.times_ns[-1]:
            self.times_ns.append(shot.time_ns)
            self.frames.append(shot.scaled(self.needs))

    def _inside(self, shot: _Shot) -> bool:
        return self.clip.start_ns <= shot.time_ns < self.clip.end_ns

    def _distance_ns(self, shot: _Shot) -> int:
        return max(self.clip.start_ns - shot.time_ns, shot.time_ns - self.clip.end_ns + 1)
