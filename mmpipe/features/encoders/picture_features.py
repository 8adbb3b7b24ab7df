"""What all encoders of pictures share: frames of many clips in one batch, and values made of what comes back.

Axes: N pictures of all clips, T frames of a clip, L tokens of a picture, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.backbone import Backbone, PictureRun, network_behind
from mmpipe.features.encoders.batching import BatchRunner, Budget, Units, is_out_of_memory
from mmpipe.features.encoders.device import StagedTensor, TorchDevice
from mmpipe.features.encoders.half_check import Tried, require_right_half
from mmpipe.features.encoders.params import ComputeParams, resolved
from mmpipe.features.extractor import MicroBatch, expect_media, expect_picture
from mmpipe.features.frame_choice import USUAL_FRAMES, FrameChoice
from mmpipe.types import (
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    ImageClip,
    ImageNeeds,
    Modality,
    VideoClip,
    VideoNeeds,
)

# Pictures at once. One core: 22 a second one by one, 28-33 from 8 to 16, 26 at 64 (the cache is full).
_BATCH_ON_CPU, _BATCH_ON_GPU = 16, 256
_MICRO_BATCH = MicroBatch(max_clips=64, max_bytes=128 << 20)


class FrameParams(FrameChoice):
    """Which frames of a clip are seen, and what is made of their values."""

    time: Literal["sequence", "mean"] = Field("sequence", description="a row per frame with its time, or their mean")


Piece = tuple[np.ndarray, np.ndarray]  # a picture [H, W, 3] or frames [T, H, W, 3], and the times of its frames


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPictures:
    """Pictures of clips on their way to the device, and their times by clip."""

    times_ns: Sequence[list[np.ndarray]]
    pictures: StagedTensor


class PictureEncoder:
    """A network, its parameters with the dtype decided, and its batches."""

    name: str
    version = 1
    micro_batch = _MICRO_BATCH
    uses_device = True

    def __init__(self, params: ComputeParams, backbone: Backbone) -> None:
        self.params: ComputeParams = resolved(params)
        self.weights_sha256 = backbone.sha256
        self.backbone = backbone
        self._runner = BatchRunner(Budget(items=params.batch_or(_BATCH_ON_CPU)))
        self._run: PictureRun | None = None

    @property
    def units(self) -> Units:
        """Return how many pictures the network was given so far; none is ever padded."""
        return self._runner.units

    def setup(self, device: str) -> None:
        """Load the network onto the device; a second call for the same device does nothing."""
        if self._run and self._run.device.name == device:
            return
        where = TorchDevice(name=device, dtype=self.params.dtype)
        where.check(f"features.{self.name}")
        with where.computing():
            forward = where.compiled(self.backbone.load(where), self.params.compile)
        self._run = PictureRun(device=where, forward=forward, picture=self.backbone.picture)
        items = self.params.batch_or(_BATCH_ON_GPU if where.is_gpu else _BATCH_ON_CPU)
        self._runner = BatchRunner(Budget(items=items))
        self._try_out(self._run)
        self._try_half(self._run)

    def _try_out(self, run: PictureRun) -> None:
        """Send one black picture through: a network that cannot is a fault of the config, not of every clip."""
        size, frames = self.backbone.picture, self.backbone.clip_frames
        black = np.zeros((1, *([frames] if frames else []), size.height_px, size.width_px, 3), np.uint8)
        try:
            self._checked(run.start(black)(), 1)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            raise ConfigError(
                f"features.{self.name}: {self.backbone.about} cannot read pictures of {size.width_px} x "
                f"{size.height_px} as its processor's settings say: {error}"
            ) from error

    def _try_half(self, run: PictureRun) -> None:
        """Refuse bf16 where this machine computes nonsense in it; noise is seen, a black picture would hide much."""
        size, frames = self.backbone.picture, self.backbone.clip_frames
        shape = (1, *([frames] if frames else []), size.height_px, size.width_px, 3)
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        tried = Tried(
            table=f"features.{self.name}",
            model=self.backbone.about,
            weights_sha256=self.weights_sha256,
            settings=self.params.model_dump_json(),
        )
        require_right_half(run.device, tried, network_behind(run.forward), lambda: run.start(noise)())

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return one value for each clip, in order: as the schema says."""
        gathered = [self._gather(media) for media in batch]
        pictures = [picture for clip in gathered for picture, _ in clip]

        def take(numbers: Sequence[int]) -> np.ndarray:
            return np.stack([pictures[number] for number in numbers])

        return self._values([[times_ns for _, times_ns in clip] for clip in gathered], take)

    def stage(self, batch: Sequence[ClipMedia]) -> StagedPictures:
        """Start to bring clips to the device, while others are computed there: `extract_staged` takes what is returned.

        On a stream of its own, from any thread. Both together equal `extract`.
        """
        assert self._run, f"{self.name} is not set up"
        gathered = [self._gather(media) for media in batch]
        pictures = np.stack([picture for clip in gathered for picture, _ in clip])
        times_ns = [[times_ns for _, times_ns in clip] for clip in gathered]
        return StagedPictures(times_ns=times_ns, pictures=self._run.device.stage(pictures))

    def extract_staged(self, staged: StagedPictures) -> list[FeatureValue]:
        """Return one value for each clip that was staged, in order."""
        pictures = staged.pictures.ready()
        return self._values(staged.times_ns, lambda numbers: pictures[list(numbers)])

    def _gather(self, media: ClipMedia) -> list[Piece]:
        """Return what the network reads at once of a clip, and the times of its frames."""
        raise NotImplementedError

    def _value(self, arrays: list[np.ndarray], times_ns: list[np.ndarray]) -> FeatureValue:
        """Return a clip's value of what the network made of its pieces."""
        raise NotImplementedError

    def _values(self, times_ns: Sequence[list[np.ndarray]], take: Callable[[Sequence[int]], Any]) -> list[FeatureValue]:
        """Run all pieces of all clips in batches, and return a value for each clip."""
        assert self._run, f"{self.name} is not set up"
        run = self._run

        def launch(numbers: Sequence[int]) -> Callable[[], list[np.ndarray]]:
            wait = run.start(take(numbers))
            return lambda: self._checked(wait(), len(numbers))

        found = iter(self._runner.run([1] * sum(map(len, times_ns)), launch))
        return [self._value([next(found) for _ in times], times) for times in times_ns]

    def _checked(self, found: np.ndarray, num: int) -> list[np.ndarray]:
        """Return one array for each picture; a network that does not do as its config says is a fault of the config."""
        expected = (num, *(found.shape[1:2] if self.backbone.tokens else ()), self.backbone.dim)
        if found.shape != expected:
            raise ConfigError(
                f"features.{self.name}: {self.backbone.about} gives {list(found.shape[1:])}, and its config.json says "
                f"{self.backbone.dim} numbers. Set pool to another value."
            )
        return list(found.astype(self.params.values, copy=False))

    def _schema(self, modality: Modality, kind: FeatureKind, what: str) -> FeatureSchema:
        return FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=modality,
            kind=kind,
            dim=self.backbone.dim,
            dtype=self.params.values,
            description=f"{what} {self.backbone.about}; computed in {self.params.dtype}",
        )


class ImageEncoder(PictureEncoder):
    """One vector per still, or its tokens as a sequence of which all have the time 0."""

    modality = Modality.IMAGE

    def __init__(self, params: ComputeParams, backbone: Backbone) -> None:
        super().__init__(params, backbone)
        if backbone.clip_frames:
            raise ConfigError(
                f"features.{self.name}: {backbone.about} reads clips of {backbone.clip_frames} frames, not stills: "
                f"use {self.name.replace('image', 'video')}"
            )
        size = backbone.picture
        self.needs: ImageNeeds = ImageNeeds(
            width_px=size.width_px, height_px=size.height_px, fit=size.fit, filter=size.filter
        )
        kind = FeatureKind.SEQUENCE if backbone.tokens else FeatureKind.VECTOR
        self.schema: FeatureSchema = self._schema(self.modality, kind, "still:")

    def _gather(self, media: ClipMedia) -> list[Piece]:
        still = expect_picture(expect_media(media, ImageClip, self.name).image, self.needs, self.name)
        return [(still, np.zeros(1, np.int64))]

    def _value(self, arrays: list[np.ndarray], times_ns: list[np.ndarray]) -> FeatureValue:
        (array,) = arrays
        return FeatureValue(array=array, times_ns=np.zeros(len(array), np.int64) if self.backbone.tokens else None)


class VideoEncoder(PictureEncoder):
    """A row per frame with the frame's time; of a network that reads clips of frames, a row per such clip."""

    modality = Modality.VIDEO
    frames: FrameParams

    def __init__(self, params: ComputeParams, backbone: Backbone) -> None:
        super().__init__(params, backbone)
        assert isinstance(params, FrameParams)
        self.frames = params
        if params.time == "mean" and backbone.tokens:
            raise ConfigError(f'features.{self.name}.time = "mean" is over vectors: with pool = "none" there are none')
        size = backbone.picture
        self.needs: VideoNeeds = params.needs(
            size.width_px, size.height_px, usual=backbone.clip_frames or USUAL_FRAMES, fit=size.fit
        )
        is_mean = params.time == "mean"
        each = f"each {backbone.clip_frames} frames:" if backbone.clip_frames else "each frame:"
        self.schema: FeatureSchema = self._schema(
            self.modality,
            FeatureKind.VECTOR if is_mean else FeatureKind.SEQUENCE,
            f"mean over {each}" if is_mean else each,
        )

    def _gather(self, media: ClipMedia) -> list[Piece]:
        video = expect_media(media, VideoClip, self.name)
        frames_THWC = expect_picture(video.frames, self.needs, self.name)
        if not self.backbone.clip_frames:
            return list(zip(frames_THWC, video.times_ns[:, None], strict=True))
        length = self.backbone.clip_frames
        if len(frames_THWC) < length:  # a short clip: some frames are seen twice, evenly spread
            spread = np.arange(length) * len(frames_THWC) // length
            return [(frames_THWC[spread], video.times_ns[spread])]
        # The last piece ends with the last frame: it may overlap the one before.
        starts = [*range(0, len(frames_THWC) - length, length), len(frames_THWC) - length]
        return [(frames_THWC[start : start + length], video.times_ns[start : start + length]) for start in starts]

    def _value(self, arrays: list[np.ndarray], times_ns: list[np.ndarray]) -> FeatureValue:
        if self.frames.time == "mean":
            mean = np.mean(np.stack(arrays), axis=0, dtype=np.float64)
            return FeatureValue(array=mean.astype(self.params.values))
        if not self.backbone.tokens:
            middles = np.array([times[(len(times) - 1) // 2] for times in times_ns], dtype=np.int64)
            return FeatureValue(array=np.stack(arrays), times_ns=middles)
        pairs = zip(arrays, times_ns, strict=True)
        spread = [times[np.arange(len(array)) * len(times) // len(array)] for array, times in pairs]
        return FeatureValue(array=np.concatenate(arrays), times_ns=np.concatenate(spread))
