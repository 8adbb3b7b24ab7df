"""What runs inside a worker process: the only code that touches raw bytes."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmpipe.config import ArraysConfig, LimitsConfig, TextConfig
from mmpipe.errors import ConfigError, SampleError
from mmpipe.media.confine import InForce, limit_process, observe_process
from mmpipe.media.facts import told
from mmpipe.media.guard import open_regular, self_test
from mmpipe.media.preview import PreviewKind, render_preview
from mmpipe.media.probe import ProbedFile, probe_file
from mmpipe.media.voice import let_ffmpeg_speak
from mmpipe.steps.ground.wire import encode
from mmpipe.types import Clip, Drop, RawFile, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeWork:
    """Files to look into."""

    root: Path
    files: tuple[RawFile, ...]
    limits: LimitsConfig
    arrays: ArraysConfig
    text: TextConfig
    released: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # codes that do not bind, by sha256
    max_missing: float = 0.02  # share of a track that may be broken or cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class StripWork:
    """Clips to show, each with its video."""

    root: Path
    clips: tuple[tuple[Clip, Stream], ...]
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A clip as a row of stills."""

    clip_key: str
    png_base64: str


def set_up() -> None:
    """Limit a new worker, and prove that its media protection is on."""
    limit_process()
    if faults := observe_process().faults():
        raise ConfigError(f"a worker cannot be confined on this system: {', '.join(faults)}")
    self_test()
    let_ffmpeg_speak()


def tell_confinement(_work: None, _report: Callable[[str], None], _poisoned: Mapping[str, str]) -> bytes:
    """Return what is in force in this worker, as it sees it itself."""
    return encode(InForce, observe_process())


def probe_files(work: ProbeWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Probe each file; one that killed a worker twice is a drop with that reason."""
    probed = []
    for file in work.files:
        if file.name in poisoned:
            probed.append(_poisoned(file, poisoned[file.name]))
            continue
        report(file.name)
        found = probe_file(
            work.root, file, work.limits, work.arrays, work.text, work.released, max_missing=work.max_missing
        )
        probed.append(found)
    return encode(tuple[ProbedFile, ...], tuple(probed))


def render_strips(work: StripWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Render a strip of stills for each clip; one that cannot be shown is left out."""
    strips = []
    for clip, stream in work.clips:
        if clip.key in poisoned:
            continue
        report(clip.key)
        try:
            descriptor = open_regular(work.root, stream.file)
            try:
                with tempfile.TemporaryDirectory() as folder:
                    target = Path(folder) / "strip.png"
                    render_preview(descriptor, stream, clip, PreviewKind.STRIP, target, work.timeout_s)
                    strips.append(Strip(clip_key=clip.key, png_base64=base64.b64encode(target.read_bytes()).decode()))
            finally:
                os.close(descriptor)
        except SampleError:
            continue  # a picture beside a report, not data: its absence is no loss
    return encode(tuple[Strip, ...], tuple(strips))


def _poisoned(file: RawFile, code: str) -> ProbedFile:
    drop = Drop(
        stage="probe",
        code=code,
        detail="probing it killed its worker process, alone and twice",
        file=file.name,
        facts=told({"bytes": file.nbytes}),
    )
    return ProbedFile(name=file.name, sha256="", streams=(), cues=(), drops=(drop,))
