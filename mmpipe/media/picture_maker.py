"""The door to what makes pictures outside of this process, and a small real double of it that decodes on the CPU."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from mmpipe.errors import SampleError
from mmpipe.types import EncodedPictures, VideoNeeds

UNSUPPORTED = "nvdec_unsupported"  # code of what a maker says of a run that the CPU must decode
STEP_MS = 40  # between two pictures of a run, by the stamps that `remux` gives them


class CannotUseGpu(Exception):
    """Why the CPU must decode a track: a short reason to count, and a sentence; always the same for the same file."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Take both."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class PictureMaker(Protocol):
    """What makes pictures of a run."""

    def make(self, run: EncodedPictures) -> list[np.ndarray]:
        """Return for every form of a run its wanted pictures, uint8 [T, H, W] or [T, H, W, 3], in the order of time.

        Raise CannotUseGpu where the CPU must do it, SampleError where the run ends whoever decodes it.
        """


def shape_of(run: EncodedPictures, form: VideoNeeds) -> tuple[int, ...]:
    """Return the shape of what is made of a run in one form."""
    return len(run.numbers), form.height_px, form.width_px, *(() if form.gray else (3,))


def form_of(needs: VideoNeeds) -> VideoNeeds:
    """Return size, fit and colours alone: equal for needs that differ in which frames they choose."""
    return VideoNeeds(width_px=needs.width_px, height_px=needs.height_px, fit=needs.fit, gray=needs.gray)


def flatten(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return the pictures of all forms one after another, uint8 [N]."""
    return np.concatenate([part.reshape(-1) for part in pictures])


def unflatten(run: EncodedPictures, flat: np.ndarray) -> list[np.ndarray]:
    """Return what was flattened, by form; raise ValueError where it has another size."""
    shapes = [shape_of(run, form) for form in run.forms]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    if flat.dtype != np.uint8 or flat.shape != (int(ends[-1]),):
        raise ValueError(f"pictures of {ends[-1]} bytes were asked for, and {flat.dtype} {flat.shape} came")
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]


class PyAvMaker:
    """Makes the pictures on the CPU, as the decoder of a worker does: equal to the byte. For tests of the whole way."""

    def make(self, run: EncodedPictures) -> list[np.ndarray]:
        """Return the pictures; raise SampleError nvdec_unsupported where one that is wanted does not come out."""
        from mmpipe.media.video import FrameScaler

        scaler, wanted = FrameScaler(), set(run.numbers)
        found: dict[int, list[np.ndarray]] = {}
        for number, frame in _decoded(run):
            if number in wanted:
                found[number] = [scaler.scale(frame, form) for form in run.forms]
        if missing := wanted - found.keys():
            raise SampleError(UNSUPPORTED, f"picture {min(missing)} of {run.num_pictures} did not come out")
        return [np.stack([found[number][at] for number in run.numbers]) for at in range(len(run.forms))]


def _decoded(run: EncodedPictures) -> Iterator[tuple[int, Any]]:
    """Yield what comes out of a run, with its number in the order of time."""
    import av

    with av.open(io.BytesIO(run.data.tobytes()), "r", format="matroska") as container:
        track = container.streams.video[0]
        track.codec_context.thread_type = "NONE"
        for frame in container.decode(track):
            if frame.pts is not None:
                yield (frame.pts - run.num_pictures) // STEP_MS, frame
