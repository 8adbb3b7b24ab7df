"""Cut the sound of clips from a running track: mono float32, each rate resampled once, placed by time stamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from av.audio.resampler import AudioResampler

from mmpipe.media.clock import ns_to_sample, samples_to_ns
from mmpipe.types import AudioClip, AudioNeeds, Clip

# Time stamps may wander by rounding (milliseconds in Matroska) without sound being lost; beyond this there is a gap.
GAP_NS = 40_000_000

Cuts = list[tuple[int, dict[AudioNeeds, AudioClip]]]  # index of a clip, and its sound by rate


class WaveCutter:
    """Give every clip its sound, in one pass: sample n of a clip is at its start + n / rate.

    A clip's wave ends with the clip or with the track, whichever comes first; what the track leaves silent before its
    start or in a gap is zeros. A clip in which nothing was heard at all gets no wave.
    """

    def __init__(self, clips: Sequence[tuple[int, Clip]], needs: Sequence[AudioNeeds], track_end_ns: int) -> None:
        """Take (index, clip) pairs, the rates, and where the track ends on the asset's clock."""
        self._lines = {need: _Line(clips, need.sample_rate_hz, track_end_ns) for need in needs}
        self._pending = {index: len(self._lines) for index, _ in clips}
        self._ready: dict[int, dict[AudioNeeds, AudioClip]] = {index: {} for index, _ in clips}
        self._run = _Run()

    def push(self, frame: Any, time_ns: int | None) -> Cuts:
        """Take the next frame; return the clips that are complete now."""
        done = []
        if self._run.breaks_off(frame, time_ns):
            done = self._collect(flush=True)
            for line in self._lines.values():
                line.restart(self._run.start_ns)
        self._run.add(frame)
        for line in self._lines.values():
            line.push(frame)
        return done + self._collect(flush=False)

    def begin_part(self) -> None:
        """Take that the next frame does not go on from the last: it is placed by its own time."""
        self._run.end()

    def due_ns(self) -> int:
        """Return when the next frame is due: how far the sound has come."""
        return self._run.due_ns()

    def end(self) -> Cuts:
        """Take the end of the track; return the clips that were still open."""
        done = self._collect(flush=True)
        for need, line in self._lines.items():
            self._hand_over(need, line.end(), done)
        return done

    def _collect(self, flush: bool) -> Cuts:
        done: Cuts = []
        for need, line in self._lines.items():
            if flush:
                line.flush()
            self._hand_over(need, line.take_done(), done)
        return done

    def _hand_over(self, need: AudioNeeds, cuts: list[_Cut], done: Cuts) -> None:
        for cut in cuts:
            if cut.heard:
                self._ready[cut.index][need] = cut.audio()
            self._pending[cut.index] -= 1
            if self._pending[cut.index] == 0:
                done.append((cut.index, self._ready.pop(cut.index)))


class WaveFeed:
    """Hand the sound on as it comes: blocks at one rate, each with the number of its first sample; gaps are left out.

    `take` gets (number of the first sample, float32 wave); sample n is at n / rate on the asset's clock.
    """

    def __init__(self, rate_hz: int, take: Callable[[int, np.ndarray], None]) -> None:
        """Take the rate and what the blocks go to."""
        self._resampled = _Resampled(rate_hz, take)
        self._run = _Run()

    def push(self, frame: Any, time_ns: int | None) -> Sequence[Any]:
        """Take the next frame; nothing is cut."""
        if self._run.breaks_off(frame, time_ns):
            self._resampled.flush()
            self._resampled.restart(self._run.start_ns)
        self._run.add(frame)
        self._resampled.push(frame)
        return []

    def begin_part(self) -> None:
        """Take that the next frame does not go on from the last: it is placed by its own time."""
        self._run.end()

    def due_ns(self) -> int:
        """Return when the next frame is due: how far the sound has come."""
        return self._run.due_ns()

    def end(self) -> Sequence[Any]:
        """Take the end of the track."""
        self._resampled.flush()
        return []


class _Run:
    """The sound without a gap that is running now."""

    def __init__(self) -> None:
        self.start_ns = 0
        self._samples = 0
        self._rate_hz = 1  # of the track; no frame has this one
        self._is_over = False

    def due_ns(self) -> int:
        return self.start_ns + samples_to_ns(self._samples, self._rate_hz)

    def breaks_off(self, frame: Any, time_ns: int | None) -> bool:
        """Say whether a frame begins a new run, and begin it."""
        due_ns = self.due_ns()
        time_ns = due_ns if time_ns is None else time_ns
        breaks = self._is_over or frame.sample_rate != self._rate_hz or abs(time_ns - due_ns) > GAP_NS
        self._is_over = False
        if breaks:
            self.start_ns, self._samples, self._rate_hz = time_ns, 0, frame.sample_rate
        return bool(breaks)

    def end(self) -> None:
        """Let the next frame begin a new run."""
        self._is_over = True

    def add(self, frame: Any) -> None:
        self._samples += frame.samples
        frame.pts = None  # the run keeps the time: the resampler must not stretch


class _Cut:
    """The wave of one clip at one rate, while it fills."""

    def __init__(self, index: int, clip: Clip, rate_hz: int, track_end_ns: int) -> None:
        self.index = index
        self.first = ns_to_sample(clip.start_ns, rate_hz)
        length = ns_to_sample(min(clip.end_ns, track_end_ns) - clip.start_ns, rate_hz)
        self.stop = self.first + max(length, 0)
        self.heard = 0
        self._clip = clip
        self._rate_hz = rate_hz
        self._wave_N: np.ndarray | None = None

    def fill(self, block_N: np.ndarray, first: int) -> None:
        """Copy the part of a block that lies in the clip."""
        start, stop = max(first, self.first), min(first + len(block_N), self.stop)
        if start >= stop:
            return
        if self._wave_N is None:
            self._wave_N = np.zeros(self.stop - self.first, dtype=np.float32)
        self._wave_N[start - self.first : stop - self.first] = block_N[start - first : stop - first]
        self.heard += stop - start

    def audio(self) -> AudioClip:
        """Return the wave, within [-1, 1]: sound stored as floats may be louder than full, or no number."""
        assert self._wave_N is not None
        wave_N = np.nan_to_num(self._wave_N, copy=False, posinf=1.0, neginf=-1.0)
        np.clip(wave_N, -1.0, 1.0, out=wave_N)
        return AudioClip(wave_N=wave_N, sample_rate_hz=self._rate_hz, start_ns=self._clip.start_ns)


class _Resampled:
    """The track at one rate."""

    def __init__(self, rate_hz: int, take: Callable[[int, np.ndarray], None]) -> None:
        self._rate_hz = rate_hz
        self._take = take
        self._resampler: AudioResampler | None = None
        self._position = 0  # number of the next sample
        self._sound: tuple[Any, ...] = ()

    def restart(self, time_ns: int) -> None:
        """Go on at another time, after a gap and a flush."""
        self._position = ns_to_sample(time_ns, self._rate_hz)

    def push(self, frame: Any) -> None:
        """Resample a frame, with a new resampler where the track changes its form."""
        sound = (frame.sample_rate, frame.layout.name, frame.format.name)
        if self._resampler is None or sound != self._sound:
            self.flush()
            # Without a limit the mix of two full channels would reach 1.41.
            options = {"rematrix_maxval": "1.0"}
            self._resampler = AudioResampler(format="flt", layout="mono", rate=self._rate_hz, options=options)
            self._sound = sound
        for block in self._resampler.resample(frame):
            self._place(block)

    def flush(self) -> None:
        """Hand on what the resampler holds back; it is of no use after that."""
        if self._resampler is not None:
            for block in self._resampler.resample(None):
                self._place(block)
            self._resampler = None

    def _place(self, block: Any) -> None:
        block_N = block.to_ndarray().reshape(-1)
        self._take(self._position, block_N)
        self._position += len(block_N)


class _Line(_Resampled):
    """The track at one rate, and the clips that it crosses."""

    def __init__(self, clips: Sequence[tuple[int, Clip]], rate_hz: int, track_end_ns: int) -> None:
        super().__init__(rate_hz, self._fill)
        cuts = [_Cut(index, clip, rate_hz, track_end_ns) for index, clip in clips]
        self._waiting = sorted(cuts, key=lambda cut: (cut.first, cut.stop, cut.index), reverse=True)
        self._running: list[_Cut] = []

    def take_done(self) -> list[_Cut]:
        """Return the clips that the track has passed."""
        done = [cut for cut in self._running if cut.stop <= self._position]
        if done:
            self._running = [cut for cut in self._running if cut.stop > self._position]
        return done

    def end(self) -> list[_Cut]:
        """Return all clips that are left."""
        left = self._running + self._waiting[::-1]
        self._running, self._waiting = [], []
        return left

    def _fill(self, first: int, block_N: np.ndarray) -> None:
        while self._waiting and self._waiting[-1].first < first + len(block_N):
            self._running.append(self._waiting.pop())
        for cut in self._running:
            cut.fill(block_N, first)
