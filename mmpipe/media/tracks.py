"""Read the video and audio tracks of a container once, undecoded but for one picture, and digest what they hold."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av.error
from av.stream import Disposition

from mmpipe.config import LimitsConfig
from mmpipe.errors import SampleError
from mmpipe.media.clock import samples_to_ns, seconds, to_ns
from mmpipe.media.guard import open_container, open_decoder
from mmpipe.media.joins import EXACT_FORMATS, JoinedPackets
from mmpipe.media.refused import require_sound_limits, too_long, too_many_pictures, too_many_pixels
from mmpipe.media.riff import riff_bytes, wave_claims
from mmpipe.media.shown import SQUARE, pixel_aspect, quarter_turns
from mmpipe.media.tails import unread_share
from mmpipe.types import NANOSECONDS_PER_SECOND, Modality, Stream

# Not a film: the picture on the cover, the thumbnails of a seek bar.
PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
MAX_MISSING = 0.02  # share of the declared duration
MISSING_SLACK_NS = 50_000_000  # a frame of any sound codec: so much padding at the end of a sound is no loss
_MOST_STEPS = 2  # a last packet without a duration is taken to last as long as this many of the widest before it
_RATE_TOLERANCE = 0.05  # of the pictures: that many may lack, or come twice, in what a header tells truly
_MAX_TRIES = 600  # packets without a picture


@dataclass(slots=True, kw_only=True)
class _Track:
    """What is known of one track while its packets pass by."""

    av_stream: Any
    modality: Modality
    hasher: Any
    shape: tuple[int, int]  # width and height, or rate and channels
    aspect: Fraction = SQUARE  # of its pixels
    num_packets: int = 0
    first_pts: int | None = None
    end_pts: int | None = None
    latest: tuple[int, int] | None = None  # time and duration of the packet that is shown last
    widest_step: int = 0  # between packets in the order of their times
    num_hidden: int = 0  # packets that are no picture of their own
    end_byte: int = 0  # of its last packet, in the file
    moved: int = 0  # ticks that were added to the times of the last packet, where recordings are joined
    tries: int = 0
    picture: Any = field(default=None)
    lost_share: float = 0.0


def read_tracks(
    descriptor: int,
    name: str,
    sha256: str,
    nbytes: int,
    limits: LimitsConfig,
    max_missing: float = MAX_MISSING,
    lost_share: float = 0.0,
) -> tuple[Stream, ...]:
    """Return the tracks that hold packets, by number; times count from the earliest of them.

    A file that was cut off may lack a share of `max_missing`; its tracks say what they lack, at least `lost_share`.

    Raise SampleError where the file, or any of its tracks, is broken or beyond a limit.
    """
    if claims := wave_claims(descriptor):
        require_sound_limits(*claims, limits)  # beyond some numbers FFmpeg would only say that it is no media
    lost_share = max(lost_share, _cut_bytes(*riff_bytes(descriptor, nbytes), max_missing))
    with open_container(descriptor, limits) as container:
        tracks = {stream.index: _track(stream, limits) for stream in container.streams if is_track(stream)}
        packets = JoinedPackets(container, [track.av_stream for track in tracks.values()], descriptor, limits)
        if tracks:
            _read_packets(packets, tracks, limits)
        found = [track for track in tracks.values() if track.num_packets]
        if not found:
            raise SampleError("no_streams", "no video or audio track that holds anything")
        end_byte = max(track.end_byte for track in found)
        lost_share = max(lost_share, unread_share(descriptor, container.format.name, end_byte, nbytes, max_missing))
        for track in found:
            shares = _track_share(container, track, max_missing), _displaced_share(packets, track, max_missing)
            track.lost_share = max(*shares, lost_share)
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
    aspect = pixel_aspect(stream) if modality is Modality.VIDEO else SQUARE
    return _Track(av_stream=stream, modality=modality, hasher=hasher, shape=shape, aspect=aspect)


def _require_limits(track: _Track, limits: LimitsConfig) -> None:
    """Refuse by the header, before anything is decoded."""
    if track.modality is Modality.AUDIO:
        require_sound_limits(*track.shape, limits)
        return
    width, height = track.shape
    if width * height > limits.pixels:
        raise too_many_pixels(f"{width} x {height}", limits)


def _read_packets(packets: JoinedPackets, tracks: dict[int, _Track], limits: LimitsConfig) -> None:
    try:
        for joined in packets:
            packet = joined.packet
            track = tracks[packet.stream.index]
            if packet.size:
                _count_packet(track, packet, limits)
                track.moved = joined.moved
                track.end_byte = max(track.end_byte, packet.pos + packet.size if packet.pos else 0)
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
    track.num_hidden += _is_hidden(packet, track)
    if track.latest is None or pts > track.latest[0]:
        track.widest_step = max(track.widest_step, pts - track.latest[0]) if track.latest else 0
        track.latest = (pts, duration)
    end = pts + duration - _end_padding(packet, track)
    track.end_pts = end if track.end_pts is None else max(track.end_pts, end)
    if relative_ns > limits.duration_s * NANOSECONDS_PER_SECOND:
        raise too_long(limits)
    if track.modality is Modality.VIDEO and track.num_packets > limits.frames:
        raise too_many_pictures(limits)


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


def _cut_bytes(declared: int, held: int, max_missing: float) -> float:
    """Return the share of its bytes that a file lacks; its header may be so far out without any damage."""
    missing = declared - held
    if missing <= declared * MAX_MISSING:
        return 0.0
    if missing > round(declared * max_missing):
        raise SampleError("decode_error", f"cut off: declares {declared} bytes, the file holds {held}")
    return missing / declared


def _track_share(container: Any, track: _Track, max_missing: float) -> float:
    """Return the share that a track lacks of what its header declares; refuse too much, and one without a picture."""
    stream = track.av_stream
    if track.modality is Modality.VIDEO and track.picture is None:
        raise SampleError("decode_error", f"video track {stream.index}: no picture can be decoded")
    if container.format.name not in EXACT_FORMATS or not stream.duration:
        return 0.0
    declared_ns, held_ns = to_ns(stream.duration, stream.time_base), _duration_ns(track)
    missing_ns = declared_ns - held_ns
    if missing_ns <= _padding_ns(track, held_ns):
        return 0.0
    if missing_ns > round(declared_ns * max_missing):
        length = f"declares {seconds(declared_ns)}, the file holds {seconds(held_ns)}"
        raise SampleError("decode_error", f"cut off: track {stream.index} {length}")
    return missing_ns / declared_ns


def _displaced_share(packets: JoinedPackets, track: _Track, max_missing: float) -> float:
    """Return the share of a track that comes at times that have passed already; refuse too much."""
    index, share = track.av_stream.index, packets.displaced_share(track.av_stream.index)
    if share > max_missing:
        told = f"the times of track {index} fall back, and the other tracks' do not with them"
        raise SampleError(
            "decode_error", f"{told}: {share:.1%} of its packets have no place, allowed are {max_missing:.1%}"
        )
    return share


def _padding_ns(track: _Track, held_ns: int) -> int:
    """Return how much may lack at the end without any loss: what a sound is padded by, a picture's rounding."""
    return MISSING_SLACK_NS if track.modality is Modality.AUDIO else held_ns // track.num_packets // 2


def _duration_ns(track: _Track) -> int:
    stream = track.av_stream
    end_ns = max(to_ns(track.end_pts or 0, stream.time_base), _untold_end_ns(track))
    least_ns = 1
    if track.modality is Modality.AUDIO:
        least_ns = samples_to_ns(1, track.shape[0])
    return max(end_ns - start_ns(stream), least_ns)


def _untold_end_ns(track: _Track) -> int:
    """Return where a track ends whose last packet does not say how long it lasts: where the header says, if near."""
    stream, (last_pts, duration) = track.av_stream, track.latest or (0, 0)
    if duration or not stream.duration or stream.container.format.name in EXACT_FORMATS:
        return 0
    declared_end = (stream.start_time or 0) + stream.duration + track.moved
    step = track.widest_step
    if track.moved:  # the header may speak of any part, and the widest step lead from one into the next
        step = (last_pts - (track.first_pts or 0)) // max(track.num_packets - 1, 1)
    is_near = track.num_packets == 1 or 0 <= declared_end - last_pts <= _MOST_STEPS * step
    return to_ns(declared_end if is_near else last_pts + step, stream.time_base)


def _is_hidden(packet: Any, track: _Track) -> bool:
    """Say whether a packet only helps others to be decoded: VP8 tells in its first byte whether it is shown."""
    return track.av_stream.codec_context.name == "vp8" and not memoryview(packet)[0] & 0x10


def _frame_rate(track: _Track) -> float:
    """Return the pictures in a second: as the header says where that fits what was counted, else as was counted."""
    stream, duration_s = track.av_stream, _duration_ns(track) / NANOSECONDS_PER_SECOND
    said, number = float(stream.average_rate or stream.guessed_rate or 0), track.num_packets - track.num_hidden
    counted = number / duration_s
    fits = abs(said * duration_s - number) <= max(1.5, number * _RATE_TOLERANCE)
    are_fields = said and abs(counted / said - 2) < 0.1  # the two of a picture may come in packets of their own
    return round(said if fits or are_fields else counted, 6)


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
        if track.aspect != SQUARE:  # the digests of all others stay what they were
            track.hasher.update(f"pixels {track.aspect}".encode())
        details = {"width_px": height if turned else width, "height_px": width if turned else height}
        details["frame_rate"] = _frame_rate(track)
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
