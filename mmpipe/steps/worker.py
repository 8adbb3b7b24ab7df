"""What runs inside a worker process: the only code that touches raw bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import LimitsConfig
from mmpipe.media.confine import limit_process
from mmpipe.media.guard import self_test
from mmpipe.media.probe import ProbedFile, probe_file
from mmpipe.steps.wire import encode
from mmpipe.types import Drop, RawFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeWork:
    """Files to look into."""

    root: Path
    files: tuple[RawFile, ...]
    limits: LimitsConfig


def set_up() -> None:
    """Limit a new worker, and prove that its media protection is on."""
    limit_process()
    self_test()


def probe_files(work: ProbeWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Probe each file; one that killed a worker twice is a drop with that reason."""
    probed = []
    for file in work.files:
        if file.name in poisoned:
            probed.append(_poisoned(file, poisoned[file.name]))
            continue
        report(file.name)
        probed.append(probe_file(work.root, file, work.limits))
    return encode(tuple[ProbedFile, ...], tuple(probed))


def _poisoned(file: RawFile, code: str) -> ProbedFile:
    drop = Drop(
        stage="probe", code=code, detail="probing it killed its worker process, alone and twice", file=file.name
    )
    return ProbedFile(name=file.name, sha256="", streams=(), cues=(), drops=(drop,))
