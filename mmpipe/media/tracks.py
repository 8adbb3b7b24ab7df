"""Read the video and audio tracks of a container once, undecoded but for one picture, and digest what they hold."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass, field
from typing import Any

import av.error
from av.stream import Disposition

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.clock import samples_to_ns, seconds, to_ns
from mmpipe.media.guard import open_container, open_decoder
from mmpipe.types import NANOSECONDS_PER_SECOND, Modality, Stream

# Not a film: the picture on the cover, the thumbnails of a seek bar.
PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
# Formats whose header or index knows how long each track is; others guess it from the bit rate.
_EXACT_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "wav", "flac", "aiff", "w64", "caf")
MAX_MISSING = 0.02  # share of the declared duration
MISSING_SLACK_NS = 50_000_000  # a frame of any sound codec: padding at its end is no loss
_UNKNOWN_RIFF_BYTES = 0x7FFF_F000
_MAX_TRIES = 600  # packets without a picture


@dataclass(slots=True, kw_only=True)
class _Track:
    """What is known of one track while its packets pass by."""

    av_stream: Any
    modality: Modality
    hasher: Any
    shape: tuple[int, int]  # width and height, or rate and channels
    num_packets: int = 0
    first_pts: int | None = None
    end_pts: int | None = None
    tries: int = 0
    picture: Any = field(default=None)
    lost_share: float = 0.0


def read_tracks(
    descriptor: int, name: str, sha256: str, nbytes: int, limits: LimitsConfig, max_missing: float = MAX_MISSING
) -> tuple[Stream, ...]:
    """Return the tracks that hold packets, by number; times count from the earliest of them.

    A file that was cut off may lack a share of `max_missing`; its tracks say what they lack.

    Raise SampleError where the file, or any of its tracks, is broken or beyond a limit.
    """
    lost_share = _cut_share(*_riff_bytes(descriptor, nbytes), "bytes", max_missing)
    with open_container(descriptor, limits) as container:
        tracks = {stream.index: _track(stream, limits) for stream in container.streams if is_track(stream)}
        _read_packets(container, tracks, limits)
        found = [track for track in tracks.values() if track.num_packets]
        if not found:
            raise SampleError("no_streams", "no video or audio track that holds anything")
        for track in found:
            track.lost_share = max(_track_share(container, track, max_missing), lost_share)
        zero_ns = min(start_ns(track.av_stream) for track in found)
        roles = _roles(found)
        common = {"file": name, "file_sha256": sha256, "file_nbytes": nbytes}
        return tuple(_stream(track, roles[track.av_stream.index], zero_ns, common) for track in found)


def is_track(stream: Any) -> bool:
    """Say whether a container's stream is video or sound; cover art is not."""
    return stream.type in ("video", "audio") and not stream.disposition & PICTURES


def start_ns(stream: Any) -> int:
    """Return the time of a track's first sample on the container's raw clock, less what the codec warms up on."""
    return to_ns(stream.start_time, stream.time_base) if stream.start_time is not None else 0


# --------------------------------------------------------------------------- packets


def _track(stream: Any, limits: LimitsConfig) -> _Track:
    context = open_decoder(stream, limits)
    modality = Modality(stream.type)
    shape = (context.width, context.height) if modality is Modality.VIDEO else (context.sample_rate, context.channels)
    hasher = hashlib.sha256(f"mmpipe-stream-1 {modality} {context.codec.canonical_name} {shape}".encode())
    extradata = bytes(context.extradata or b"")
    hasher.update(len(extradata).to_bytes(8, "little") + extradata)
    return _Track(av_stream=stream, modality=modality, hasher=hasher, shape=shape)


def _require_limits(track: _Track, limits: LimitsConfig) -> None:
    """Refuse by the header, before anything is decoded."""
    if track.modality is Modality.AUDIO:
        require_sound_limits(*track.shape, limits)
        return
    width, height = track.shape
    if width * height > limits.pixels:
        raise SampleError("limit_pixels", f"pictures of {width} x {height} pixels, allowed are {limits.pixels} in all")


def require_sound_limits(rate_hz: int, channels: int, limits: LimitsConfig) -> None:
    """Refuse sound at a rate or with channels beyond the limits."""
    if not limits.min_sample_rate_hz <= rate_hz <= limits.sample_rate_hz:
        allowed = f"{limits.min_sample_rate_hz} to {limits.sample_rate_hz}"
        raise SampleError("limit_rate", f"sound at {rate_hz} Hz, allowed is {allowed} Hz")
    if not 1 <= channels <= limits.channels:
        raise SampleError("limit_channels", f"{channels} channels of sound, allowed are {limits.channels}")


def _read_packets(container: Any, tracks: dict[int, _Track], limits: LimitsConfig) -> None:
    streams = [track.av_stream for track in tracks.values()]
    if not streams:
        return
    try:
        for packet in container.demux(streams):
            track = tracks[packet.stream.index]
            if packet.size:
                _count_packet(track, packet, limits)
            if track.modality is Modality.VIDEO and track.picture is None and track.tries < _MAX_TRIES:
                _try_picture(track, packet)
    except av.error.FFmpegError as error:
        raise SampleError("decode_error", f"the container breaks off: {error.strerror}") from error


def _count_packet(track: _Track, packet: Any, limits: LimitsConfig) -> None:
    """Add a packet to the digest: times count from the track's first, so that its place in a container does not."""
    pts = packet.pts if packet.pts is not None else packet.dts
    base = track.av_stream.time_base
    duration = packet.duration or 0
    if pts is None:
        pts = track.end_pts or 0
    if track.first_pts is None:
        track.first_pts = pts
        _require_limits(track, limits)
    relative_ns = to_ns(pts - track.first_pts, base)
    track.hasher.update(struct.pack("<qqQ", relative_ns, to_ns(duration, base), packet.size))
    track.hasher.update(packet)
    track.num_packets += 1
    end = pts + duration - _end_padding(packet, track)
    track.end_pts = end if track.end_pts is None else max(track.end_pts, end)
    if relative_ns > limits.duration_s * NANOSECONDS_PER_SECOND:
        raise SampleError("limit_duration", f"longer than {limits.duration_s:g} s")
    if track.modality is Modality.VIDEO and track.num_packets > limits.frames:
        raise SampleError("limit_frames", f"more than {limits.frames} pictures")


def _end_padding(packet: Any, track: _Track) -> int:
    """Return how much of a packet's end is padding that its decoder will cut, in the track's ticks."""
    if track.modality is not Modality.AUDIO or not packet.has_sidedata("skip_samples"):
        return 0
    samples = int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[4:8], "little")
    return round(samples / track.shape[0] / track.av_stream.time_base)


def _try_picture(track: _Track, packet: Any) -> None:
    """Decode until the first picture: it alone tells how the video is turned, and that it can be decoded at all."""
    track.tries += 1
    try:
        track.picture = next(iter(packet.decode()), None)
    except av.error.FFmpegError:
        return  # a broken picture at the start is the decode pass's to judge; none at all is judged below


# --------------------------------------------------------------------------- the outcome


def _riff_bytes(descriptor: int, nbytes: int) -> tuple[int, int]:
    """Return how long a wav or avi file says that it is, and how long it is: FFmpeg makes do with what there is."""
    head = os.pread(descriptor, 8, 0)
    said = int.from_bytes(head[4:8], "little") + 8
    # What writes to a pipe cannot know the size, and puts 0 or the largest number there.
    return (said, nbytes) if head[:4] == b"RIFF" and said < _UNKNOWN_RIFF_BYTES else (0, 0)


def _cut_share(declared: int, held: int, unit: str, max_missing: float) -> float:
    """Return the share that is missing of what is declared; a header may be so far out without any damage."""
    if held >= declared * (1 - MAX_MISSING):
        return 0.0
    if held < declared * (1 - max_missing):
        if unit == "bytes":
            raise SampleError("decode_error", f"cut off: declares {declared} bytes, the file holds {held}")
        length = f"declares {seconds(declared)}, the file holds {seconds(held)}"
        raise SampleError("decode_error", f"cut off: {unit} {length}")
    return 1 - held / declared


def _track_share(container: Any, track: _Track, max_missing: float) -> float:
    """Return the share that a track lacks of what its header declares; refuse too much, and one without a picture."""
    stream = track.av_stream
    if track.modality is Modality.VIDEO and track.picture is None:
        raise SampleError("decode_error", f"video track {stream.index}: no picture can be decoded")
    if container.format.name not in _EXACT_FORMATS or not stream.duration:
        return 0.0
    declared_ns, held_ns = to_ns(stream.duration, stream.time_base), _duration_ns(track)
    if declared_ns - held_ns <= MISSING_SLACK_NS:
        return 0.0
    return _cut_share(declared_ns, held_ns + MISSING_SLACK_NS, f"track {stream.index}", max_missing)


def _duration_ns(track: _Track) -> int:
    stream = track.av_stream
    end_ns = to_ns(track.end_pts or 0, stream.time_base)
    least_ns = 1
    if track.modality is Modality.AUDIO:
        least_ns = samples_to_ns(1, track.shape[0])
    return max(end_ns - start_ns(stream), least_ns)


def _roles(tracks: list[_Track]) -> dict[int, str]:
    """Name the tracks: the first of a kind `audio`, the next `audio.1`."""
    roles: dict[int, str] = {}
    for modality in (Modality.VIDEO, Modality.AUDIO):
        indexes = [track.av_stream.index for track in tracks if track.modality is modality]
        roles |= {index: f"{modality}.{number}" if number else str(modality) for number, index in enumerate(indexes)}
    return roles


def _stream(track: _Track, role: str, zero_ns: int, common: dict[str, Any]) -> Stream:
    stream, context = track.av_stream, track.av_stream.codec_context
    # The same packets with another offset to the picture are other content: a clip's range cuts elsewhere.
    track.hasher.update(f"starts {start_ns(stream) - zero_ns}".encode())
    details: dict[str, Any] = {}
    if track.modality is Modality.VIDEO:
        width, height = track.shape
        turned = quarter_turns(track.picture) % 2 == 1
        track.hasher.update(f"turned {quarter_turns(track.picture)}".encode())
        details = {"width_px": height if turned else width, "height_px": width if turned else height}
        details["frame_rate"] = round(float(stream.average_rate or stream.guessed_rate or 0), 6)
    else:
        details = {"sample_rate_hz": track.shape[0], "channels": track.shape[1]}
    return Stream(
        role=role,
        modality=track.modality,
        digest=track.hasher.hexdigest(),
        track=stream.index,
        start_ns=start_ns(stream) - zero_ns,
        duration_ns=_duration_ns(track),
        codec=context.codec.canonical_name,
        lost_share=track.lost_share,
        **details,
        **common,
    )


def quarter_turns(frame: Any) -> int:
    """Return how many quarter turns, counter-clockwise, set a picture upright."""
    return round(frame.rotation / 90) % 4
