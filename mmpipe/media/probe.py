"""Look into one raw file: what streams it holds, their digests and times, or the one reason why it cannot be used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mmpipe.config import ArraysConfig, LimitsConfig, TextConfig
from mmpipe.errors import SampleError
from mmpipe.media.captions import PARSERS, Captions, reading_of
from mmpipe.media.cue_lines import tell_lost
from mmpipe.media.facts import seen_facts, told
from mmpipe.media.gifs import GifBlocks, read_gif_blocks
from mmpipe.media.guard import open_regular
from mmpipe.media.lifted import LIMIT_FILE, lift_limits, lift_missing
from mmpipe.media.refused import too_many_pixels
from mmpipe.media.sniff import HEAD_BYTES, Content, sniff
from mmpipe.types import Cue, Drop, Modality, RawFile, Stream, digest_of

PROBE_VERSION = "probe-3"  # another one opens every file anew
_CHUNK_BYTES = 1 << 20
_EXCERPT_CHARACTERS = 2_000
LINES_LOST = "lines_not_understood"
FIRST_PICTURE = "first_picture_only"
_NO_CAPTIONS = Captions(text="", cues=())
_NO_ARRAYS = ArraysConfig()
_PLAIN_TEXT = TextConfig()
_NOTHING_RELEASED: Mapping[str, Collection[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedFile:
    """What one file holds: streams, maybe with a note on what is left out, or one drop that says why there are none."""

    name: str  # escaped
    sha256: str  # of the bytes that were read; "" where they were not
    streams: tuple[Stream, ...] = ()
    cues: tuple[Cue, ...] = ()
    text: str = ""  # how a text without cues begins, for people to see; what is measured is the whole of it
    drops: tuple[Drop, ...] = ()


def probe_file(
    root: Path,
    file: RawFile,
    limits: LimitsConfig,
    arrays: ArraysConfig = _NO_ARRAYS,
    text: TextConfig = _PLAIN_TEXT,
    released: Mapping[str, Collection[str]] = _NOTHING_RELEASED,
    max_missing: float = 0.02,
) -> ProbedFile:
    """Probe a file by its content. Broken, foreign and oversized files end in a drop with a code, never in an error.

    A film or sound that was cut off may lack a share of `max_missing`. `released` names, by their sha256, files that a
    person let in, with the codes that do not bind them; with limit_file among these, larger files are digested, which
    tells whether they are meant.
    Codes: unreadable, outside_root, not_regular, changed_while_reading, empty_file, not_media, format_not_allowed,
    no_streams, decode_error, encoding, limit_file, limit_text, limit_pixels, limit_duration, limit_frames,
    limit_channels, limit_rate, limit_streams, limit_array, array_dtype, empty_array, missing_column, bad_times,
    nonfinite.
    """
    sha256, facts = "", told({"bytes": file.nbytes})
    try:
        with _opened_unchanged(root, file) as descriptor:
            too_large = file.nbytes > limits.file_bytes
            if not too_large or any(LIMIT_FILE in codes for codes in released.values()):
                sha256 = digest_file(descriptor)
            codes = released.get(sha256, ())
            if too_large and LIMIT_FILE not in codes:
                raise SampleError(LIMIT_FILE, f"{file.nbytes} bytes, allowed are {limits.file_bytes}")
            limits, max_missing = lift_limits(limits, codes), lift_missing(max_missing, codes)
            try:
                found = _probe_content(descriptor, file, sha256, limits, arrays, text, max_missing)
            except SampleError:
                facts = seen_facts(descriptor, Path(file.name).suffix.lower(), limits)
                raise
    except SampleError as error:
        drop = Drop(
            stage="probe", code=error.code, detail=error.detail, file=file.name, file_sha256=sha256, facts=facts
        )
        return ProbedFile(name=file.name, sha256=sha256, drops=(drop,))
    captions = found.captions
    excerpt = "" if captions.cues else captions.text[:_EXCERPT_CHARACTERS]
    return ProbedFile(
        name=file.name,
        sha256=sha256,
        streams=found.streams,
        cues=captions.cues,
        text=excerpt,
        drops=tuple(_notes(file, sha256, found)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a file of one kind holds."""

    streams: tuple[Stream, ...]
    captions: Captions = _NO_CAPTIONS
    num_pictures: int = 1  # of which a still is the first


def _notes(file: RawFile, sha256: str, found: _Found) -> Iterator[Drop]:
    """Yield notes on what is left out: lines of captions, the pictures of a still that moves."""
    lost, number = found.captions.lost, found.num_pictures
    notes: list[tuple[str, str, dict[str, int | str]]] = []
    if lost:
        notes.append((LINES_LOST, f"{tell_lost(lost)}; the rest is used", {"lines_lost": len(lost)}))
    if number > 1:
        codec = found.streams[0].codec
        detail = f"the first of {number} pictures is used: a {codec} that moves is not read here as a film"
        notes.append((FIRST_PICTURE, detail, {"codec": codec, "pictures": number}))
    for code, detail, seen in notes:
        facts = told({"bytes": file.nbytes, **seen})
        yield Drop(stage="probe", code=code, detail=detail, file=file.name, file_sha256=sha256, facts=facts, kept=True)


@contextmanager
def _opened_unchanged(root: Path, file: RawFile) -> Iterator[int]:
    """Open a file, and require that it is the one that was listed, before and after."""
    descriptor = open_regular(root, file.name)
    try:
        _require_unchanged(file, descriptor)
        yield descriptor
        _require_unchanged(file, descriptor)
    finally:
        os.close(descriptor)


def _require_unchanged(file: RawFile, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if (status.st_size, status.st_mtime_ns, status.st_ino) != (file.nbytes, file.mtime_ns, file.inode):
        raise SampleError("changed_while_reading", "the file is not as it was listed: somebody is writing to it")


# FFmpeg reads the bytes once more, from the page cache: that is 6 % of the probe of a sound of 100 MB, 1 % of small
# files. Handing it a buffer instead would give up that it sees the very descriptor that was checked.
def digest_file(descriptor: int) -> str:
    """Return the sha256 of an open file."""
    hasher, offset = hashlib.sha256(), 0
    while chunk := os.pread(descriptor, _CHUNK_BYTES, offset):
        hasher.update(chunk)
        offset += len(chunk)
    return hasher.hexdigest()


def _probe_content(
    descriptor: int,
    file: RawFile,
    sha256: str,
    limits: LimitsConfig,
    arrays: ArraysConfig,
    text: TextConfig,
    max_missing: float,
) -> _Found:
    suffix = Path(file.name).suffix.lower()
    if file.nbytes and suffix[1:] in arrays.suffixes:
        from mmpipe.media.arrays import probe_array

        return _Found(streams=(probe_array(descriptor, file, sha256, suffix, arrays, limits),))
    content = sniff(os.pread(descriptor, HEAD_BYTES, 0), suffix)
    if content is Content.TEXT:
        return _probe_text(descriptor, file, sha256, suffix, limits, text)
    lost_share = 0.0
    if content is Content.IMAGE:
        blocks = read_gif_blocks(descriptor)
        if blocks is None or not blocks.is_moving:
            return _probe_image(descriptor, file, sha256, limits)
        lost_share = _require_gif(blocks, limits, max_missing)
    from mmpipe.media.tracks import read_tracks

    streams = read_tracks(descriptor, file.name, sha256, file.nbytes, limits, max_missing, lost_share)
    return _Found(streams=streams)


def _require_gif(blocks: GifBlocks, limits: LimitsConfig, max_missing: float) -> float:
    """Return the share that a GIF lacks; refuse too much, and too large a screen before FFmpeg makes room for it."""
    if blocks.width_px * blocks.height_px > limits.pixels:
        raise too_many_pixels(f"{blocks.width_px} x {blocks.height_px}", limits)
    if blocks.lost_share > max_missing:
        raise SampleError(
            "decode_error",
            f"the GIF breaks off in picture {blocks.num_pictures}: {blocks.lost_share:.1%} of the file, "
            f"allowed are {max_missing:.1%}",
        )
    return blocks.lost_share


def _probe_text(
    descriptor: int, file: RawFile, sha256: str, suffix: str, limits: LimitsConfig, text: TextConfig
) -> _Found:
    captions = PARSERS[suffix](read_text(descriptor, limits), text)
    if not captions.text:
        raise SampleError("no_streams", "; ".join(filter(None, ("no text in it", tell_lost(captions.lost)))))
    reader = ("captions-2",) if captions.is_newly_read else ()  # what every reader reads alike stays what it was
    stream = Stream(
        role=str(Modality.TEXT),
        modality=Modality.TEXT,
        digest=digest_of("mmpipe-stream-1", Modality.TEXT, suffix, sha256, *reading_of(suffix, text), *reader),
        file=file.name,
        file_sha256=sha256,
        file_nbytes=file.nbytes,
        track=0,
        start_ns=0,
        duration_ns=max((cue.end_ns for cue in captions.cues), default=0),
        codec=suffix.removeprefix("."),
    )
    return _Found(streams=(stream,), captions=captions)


def read_text(descriptor: int, limits: LimitsConfig) -> bytes:
    """Return the bytes of a text file. Raise SampleError limit_text where they are too many."""
    nbytes = os.fstat(descriptor).st_size
    if nbytes > limits.text_bytes:
        raise SampleError("limit_text", f"{nbytes} bytes of text, allowed are {limits.text_bytes}")
    return os.pread(descriptor, limits.text_bytes, 0)


def _probe_image(descriptor: int, file: RawFile, sha256: str, limits: LimitsConfig) -> _Found:
    from mmpipe.media.images import look_at_image

    still = look_at_image(descriptor, limits)
    stream = Stream(
        role=str(Modality.IMAGE),
        modality=Modality.IMAGE,
        digest=digest_of("mmpipe-stream-1", Modality.IMAGE, sha256),
        file=file.name,
        file_sha256=sha256,
        file_nbytes=file.nbytes,
        track=0,
        start_ns=0,
        duration_ns=0,
        codec=still.codec,
        width_px=still.width_px,
        height_px=still.height_px,
    )
    return _Found(streams=(stream,), num_pictures=still.num_pictures)
