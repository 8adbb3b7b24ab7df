"""Make raw media visible, inside a worker: small pictures and playable cuts of clips, and what refused files hold."""

from __future__ import annotations

import base64
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mmpipe.config import ArraysConfig, LimitsConfig, TextConfig
from mmpipe.errors import SampleError
from mmpipe.media.guard import open_regular
from mmpipe.media.images import read_image
from mmpipe.media.preview import STILL_PX, PreviewKind, render_preview
from mmpipe.media.probe import probe_file
from mmpipe.steps.ground.wire import encode
from mmpipe.types import Clip, ImageNeeds, Modality, RawFile, Stream

_HEAD_BYTES = 64
_TEXT_BYTES = 240
_READABLE = 0.85  # share of printable characters in what is shown as text
_EXCERPT_NS = 10_000_000_000
_JPEG_QUALITY = 70
_STILLS = {Modality.VIDEO: PreviewKind.STILL, Modality.AUDIO: PreviewKind.SPECTRUM}
_CUTS = {Modality.VIDEO: PreviewKind.MP4, Modality.AUDIO: PreviewKind.SOUND}


class Showing(StrEnum):
    """How a clip is shown."""

    STILL = "still"  # one small picture; of sound its spectrum
    CUT = "cut"  # what can be played; of a picture the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowWork:
    """Clips to show, each by one of its streams."""

    root: Path
    clips: tuple[tuple[Clip, Stream], ...]
    showing: Showing
    limits: LimitsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A clip that can be seen or heard; `kind` is what the bytes are: picture, video or audio."""

    clip_key: str
    kind: str
    data_base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceWork:
    """Refused files to look into."""

    root: Path
    files: tuple[str, ...]
    limits: LimitsConfig
    arrays: ArraysConfig
    text: TextConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What can be seen of a file: a picture, or text, or its first bytes; `note` says which it is."""

    file: str
    picture_base64: str = ""
    text: str = ""
    note: str = ""


def show_clips(work: ShowWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Show each clip; one that cannot be is left out: a picture beside a page is no data."""
    shown = []
    for clip, stream in work.clips:
        if clip.key in poisoned:
            continue
        report(clip.key)
        try:
            with _opened(work.root, stream.file) as descriptor:
                kind, data = _show(descriptor, stream, clip, work.showing, work.limits)
        except SampleError:
            continue
        shown.append(Shown(clip_key=clip.key, kind=kind, data_base64=base64.b64encode(data).decode()))
    return encode(tuple[Shown, ...], tuple(shown))


def show_files(work: EvidenceWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Show what is in each file, by the same ways in as ever: what these refuse is shown as its first bytes."""
    found = []
    for file in work.files:
        if file in poisoned:
            found.append(Evidence(file=file, note="not opened: looking into it killed a worker process"))
            continue
        report(file)
        try:
            found.append(_look(work, file))
        except SampleError as error:
            found.append(Evidence(file=file, note=error.detail))
    return encode(tuple[Evidence, ...], tuple(found))


def _look(work: EvidenceWork, file: str) -> Evidence:
    with _opened(work.root, file) as descriptor:
        status = os.fstat(descriptor)
        raw = RawFile(
            name=file,
            nbytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=status.st_ino,
            ctime_ns=status.st_ctime_ns,
        )
        probed = probe_file(work.root, raw, work.limits, work.arrays, work.text)
        stream = next((s for kind in (*_STILLS, Modality.IMAGE) for s in probed.streams if s.modality is kind), None)
        if stream is not None:
            end_ns = min(stream.duration_ns, _EXCERPT_NS)
            clip = Clip(key="file", asset_id="", start_ns=0, end_ns=max(end_ns, 40_000_000))
            try:
                _, data = _show(descriptor, stream, clip, Showing.STILL, work.limits)
            except SampleError as error:
                return _first_bytes(descriptor, file, error.detail)
            note = "the spectrum of its sound" if stream.modality is Modality.AUDIO else "what it shows"
            return Evidence(file=file, picture_base64=base64.b64encode(data).decode(), note=note)
        said = probed.text or " ".join(cue.text for cue in probed.cues[:5])
        if said:
            return Evidence(file=file, text=said[:_TEXT_BYTES], note="how its text begins")
        return _first_bytes(descriptor, file, "")


def _first_bytes(descriptor: int, file: str, note: str) -> Evidence:
    head = os.pread(descriptor, _TEXT_BYTES, 0)
    if not head:
        return Evidence(file=file, note="it is empty")
    said = head.decode("utf-8", "replace").replace("\r", "")
    readable = sum(c.isprintable() or c in "\n\t" for c in said) / len(said)
    if readable >= _READABLE and "\ufffd" not in said[:-3]:
        return Evidence(file=file, text=said.replace("\n", " ⏎ ").replace("\t", " "), note=note or "how it begins")
    dump = head[:_HEAD_BYTES].hex(" ")
    return Evidence(file=file, text=dump, note=note or f"its first {min(len(head), _HEAD_BYTES)} bytes")


def _show(descriptor: int, stream: Stream, clip: Clip, showing: Showing, limits: LimitsConfig) -> tuple[str, bytes]:
    if stream.modality is Modality.IMAGE:
        return "picture", _picture(descriptor, stream, 3 if showing is Showing.CUT else 1, limits)
    kinds = _CUTS if showing is Showing.CUT else _STILLS
    if stream.modality not in kinds:
        raise SampleError("no_streams", f"{stream.modality} cannot be shown")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "shown"
        render_preview(descriptor, stream, clip, kinds[stream.modality], target, limits.seconds_per_asset)
        return str(stream.modality) if showing is Showing.CUT else "picture", target.read_bytes()


def _picture(descriptor: int, stream: Stream, times: int, limits: LimitsConfig) -> bytes:
    from PIL import Image

    wide, high = STILL_PX[0] * times, STILL_PX[1] * times
    scale = min(wide / max(stream.width_px, 1), high / max(stream.height_px, 1), 1.0)
    needs = ImageNeeds(
        width_px=max(round(stream.width_px * scale), 1), height_px=max(round(stream.height_px * scale), 1)
    )
    sink = io.BytesIO()
    Image.fromarray(read_image(descriptor, needs, limits).image).save(sink, "JPEG", quality=_JPEG_QUALITY)
    return sink.getvalue()


@contextmanager
def _opened(root: Path, file: str) -> Iterator[int]:
    descriptor = open_regular(root, file)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
