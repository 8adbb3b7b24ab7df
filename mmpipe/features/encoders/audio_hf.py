"""`audio-hf`: Whisper, wav2vec2 and its kin, AST and CLAP from transformers, pooled or frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.encoders import audio_ast, audio_clap, audio_wave, audio_whisper
from mmpipe.features.encoders.audio_ast import AstFamily
from mmpipe.features.encoders.audio_clap import ClapFamily
from mmpipe.features.encoders.audio_family import AudioFamily, Frames
from mmpipe.features.encoders.audio_wave import WaveFamily
from mmpipe.features.encoders.audio_whisper import WhisperFamily
from mmpipe.features.encoders.batching import BatchRunner, Budget, Units
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.half_check import Tried, require_right_half
from mmpipe.features.encoders.params import WeightsParams, resolved
from mmpipe.features.extractor import MicroBatch, expect_audio
from mmpipe.types import (
    NANOSECONDS_PER_SECOND,
    AudioClip,
    AudioNeeds,
    ClipMedia,
    FeatureKind,
    FeatureSchema,
    FeatureValue,
    Modality,
)
from mmpipe.weights.folder import ModelFolder

_FAMILIES: tuple[tuple[tuple[str, ...], Callable[[ModelFolder, float | None, str], AudioFamily]], ...] = (
    (audio_whisper.TYPES, WhisperFamily),
    (audio_wave.TYPES, WaveFamily),
    (audio_ast.TYPES, AstFamily),
    (audio_clap.TYPES, ClapFamily),
)
# At once, in seconds: on a CPU more gains nothing, and a window of 30 s takes 0.4 GiB.
_ON_CPU = Budget(items=8, units=60, enough=5)
_ON_GPU = Budget(items=64, units=1_920, enough=60)
_MICRO_BATCH = MicroBatch(max_clips=64, max_bytes=128 << 20)


class AudioHfParams(WeightsParams):
    """Which audio encoder, and what is kept of it."""

    # What "auto" means is decided before the fingerprint: "mean", as it was where it could be.
    pool: Literal["auto", "model", "mean", "none"] = Field(
        "auto",
        description="mean over the frames of sound, the model's own pooling (AST, CLAP), or none: every frame; auto: "
        "model for CLAP (the space that its texts share), mean for all others",
    )
    layer: int | None = Field(None, description="of hidden_states: 0 the embeddings, -1 the last; none: the output")
    window_s: float | None = Field(
        None, gt=0, le=600, description="longest piece heard at once; none: Whisper 30, wav2vec2 30, others their own"
    )


class AudioHf:
    """Embeddings of sound: [W], or [T, W] with pool = "none", where the time of a frame is the middle of what it hears.

    A clip that is longer than a window is heard in pieces, and pooled over all of them. A value differs by less than
    1e-5 (float32) or 2e-2 (bf16) of its norm with the clips that run beside it.
    """

    name = "audio-hf"
    version = 1
    modality = Modality.AUDIO
    micro_batch = _MICRO_BATCH
    uses_device = True
    Params = AudioHfParams

    def __init__(self, params: AudioHfParams) -> None:
        self._folder = folder = params.find(self.name)
        self.weights_sha256 = folder.sha256
        self._family = _family_of(folder, params.window_s, f"features.{self.name}")
        hearing = self._family.hearing
        self._hearing = hearing
        if params.pool == "auto":
            params = params.model_copy(update={"pool": "mean" if "mean" in hearing.pools else "model"})
        self.params = resolved(params)
        if params.pool not in hearing.pools or (params.pool == "model" and params.layer is not None):
            raise ConfigError(
                f"features.{self.name}.pool = {params.pool!r}: {folder.name!r} has {list(hearing.pools)}"
                + ("" if params.layer is None else "; its own pooling is of its last layer alone")
            )
        self.needs = AudioNeeds(sample_rate_hz=hearing.sample_rate_hz)
        kept = "every frame" if params.pool == "none" else f"pooled by {params.pool!r}"
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE if params.pool == "none" else FeatureKind.VECTOR,
            dim=hearing.dim,
            dtype=params.values,
            description=f"audio embeddings of {folder.name}, {kept}",
        )
        self._on: TorchDevice | None = None
        self._runner = BatchRunner(_ON_CPU)

    @property
    def units(self) -> Units:
        """Return the samples that the network was given so far."""
        return self._runner.units

    def setup(self, device: str) -> None:
        """Load the network, once."""
        self._on = TorchDevice(name=device, dtype=self.params.dtype)
        budget, rate_hz = _ON_GPU if self._on.is_gpu else _ON_CPU, self._hearing.sample_rate_hz
        items = self.params.batch_or(budget.items)
        self._runner = BatchRunner(Budget(items=items, units=budget.units * rate_hz, enough=budget.enough * rate_hz))
        self._family.load(self._on)
        self._try_half(self._on)

    def _try_half(self, on: TorchDevice) -> None:
        """Refuse bf16 where this machine computes nonsense in it; a second of noise is heard."""
        family, hearing = self._family, self._hearing
        num = max(hearing.least, min(hearing.sample_rate_hz, hearing.window))
        noise_N = 0.1 * np.random.default_rng(0).standard_normal(num).astype(np.float32)

        def run() -> None:
            with on.computing():
                family.run([family.prepare(noise_N)], self.params.layer, pooled=self.params.pool == "model")

        tried = Tried(
            table=f"features.{self.name}",
            model=self._folder.name,
            weights_sha256=self.weights_sha256,
            settings=self.params.model_dump_json(),
        )
        require_right_half(on, tried, family.network, run)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a value per clip; raise SampleError for a wave that is not finite."""
        clips = [expect_audio(media, self.needs, self.name) for media in batch]
        if not all(np.isfinite(clip.wave_N).all() for clip in clips):
            raise SampleError("nonfinite", "the waveform holds NaN or infinity")
        pieces = [piece for number, clip in enumerate(clips) for piece in self._cut(number, clip)]
        arrays: dict[int, np.ndarray] = {}
        for numbers in self._groups(pieces):
            arrays.update(zip(numbers, self._embed([pieces[number] for number in numbers]), strict=True))
        heard: list[list[tuple[_Piece, np.ndarray]]] = [[] for _ in clips]
        for number, piece in enumerate(pieces):
            heard[piece.clip].append((piece, arrays[number]))
        return [self._value(clip, found) for clip, found in zip(clips, heard, strict=True)]

    def _cut(self, number: int, clip: AudioClip) -> Iterator[_Piece]:
        """Yield a clip's windows; what is left at its end and too short for a frame is part of none."""
        hearing = self._hearing
        for start in range(0, len(clip.wave_N), hearing.window):
            wave_N = clip.wave_N[start : start + hearing.window]
            if start and len(wave_N) < hearing.least:
                return
            wave_N = np.pad(wave_N, (0, max(0, hearing.least - len(wave_N))))
            yield _Piece(clip=number, start=start, wave_N=wave_N, frames=self._family.frames(len(wave_N)))

    def _groups(self, pieces: Sequence[_Piece]) -> list[list[int]]:
        """Return the numbers of pieces that may run in one batch."""
        if not self._hearing.alike_only:
            return [list(range(len(pieces)))]
        groups: dict[int, list[int]] = {}
        for number, piece in enumerate(pieces):
            groups.setdefault(len(piece.wave_N), []).append(number)
        return list(groups.values())

    def _embed(self, pieces: Sequence[_Piece]) -> list[np.ndarray]:
        """Return [W] per piece, or [T, W] where frames are kept."""
        assert self._on, "setup comes first"
        on, params = self._on, self.params
        samples = [len(piece.wave_N) for piece in pieces]

        def launch(numbers: Sequence[int]) -> Callable[[], list[np.ndarray]]:
            with on.computing():
                inputs = [self._family.prepare(pieces[number].wave_N) for number in numbers]
                found = self._family.run(inputs, params.layer, pooled=params.pool == "model")
                counts = [pieces[number].frames.count for number in numbers]
                if params.pool == "mean":
                    found = _mean(found, on.upload(np.array(counts)))
                wait = on.download(found)
            if params.pool == "none":
                return lambda: [row[:count] for row, count in zip(wait(), counts, strict=True)]
            return lambda: list(wait())

        window = self._hearing.window
        arrays = self._runner.run([window] * len(pieces) if self._hearing.fixed else samples, launch)
        if self._hearing.fixed:
            silence = window * len(pieces) - sum(samples)
            self._runner.units += Units(used=-silence, padded=silence)
        return arrays

    def _value(self, clip: AudioClip, heard: Sequence[tuple[_Piece, np.ndarray]]) -> FeatureValue:
        if self.params.pool == "none":
            array_TW = np.concatenate([array for _, array in heard])
            rate_hz = self._hearing.sample_rate_hz
            times_ns = np.concatenate([piece.times_ns(rate_hz) for piece, _ in heard]) + clip.start_ns
            return FeatureValue(array=array_TW.astype(self.params.values, copy=False), times_ns=times_ns)
        weights = [piece.frames.count if self.params.pool == "mean" else len(piece.wave_N) for piece, _ in heard]
        array_W = heard[0][1]
        if len(heard) > 1:
            array_W = np.average([array for _, array in heard], axis=0, weights=weights)
        return FeatureValue(array=array_W.astype(self.params.values, copy=False))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """A window of a clip, and the frames that it gives."""

    clip: int
    start: int  # in samples
    wave_N: np.ndarray
    frames: Frames

    def times_ns(self, rate_hz: int) -> np.ndarray:
        """Return the middle of what each frame hears, int64 [T], from the start of the clip."""
        halves = 2 * self.start + self.frames.first_halves
        halves_T = halves + 2 * self.frames.step * np.arange(self.frames.count, dtype=np.int64)
        return halves_T * NANOSECONDS_PER_SECOND // (2 * rate_hz)


def _family_of(model: ModelFolder, window_s: float | None, table: str) -> AudioFamily:
    kind = str(model.read_json("config.json").get("model_type"))
    for types, family in _FAMILIES:
        if kind in types:
            try:
                return family(model, window_s, table)
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(f"{table}.model = {model.name!r}: its config.json lacks {error}") from error
    known = ", ".join(sorted(name for types, _ in _FAMILIES for name in types))
    raise ConfigError(f"{table}.model = {model.name!r} is of type {kind!r}; those that are heard are: {known}")


def _mean(frames_BTW: Any, counts_B: Any) -> Any:
    """Return the mean over the first `counts_B` frames of each row, float32 [B, W]."""
    import torch

    mask_BT = torch.arange(frames_BTW.shape[1], device=frames_BTW.device) < counts_B[:, None]
    total_BW = (frames_BTW.float() * mask_BT[..., None]).sum(1)
    return total_BW / counts_B[:, None]
