"""Lay out media and values in shared memory: a JSON header, then the arrays. Nothing is unpickled, all is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmpipe.types import (
    ArrayClip,
    AudioClip,
    DeviceMedia,
    EncodedPictures,
    FeatureValue,
    Fit,
    ImageClip,
    TextClip,
    VideoClip,
    VideoNeeds,
)

_ALIGN_BYTES = 64  # of a cache line: copies and vector loads like it
_LENGTH_BYTES = 8
_DTYPE_KINDS = "biuf"  # never objects, strings or records
_MAX_HEADER_BYTES = 64 << 20


class Malformed(Exception):
    """What lies in shared memory is not what the other side should have put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A header and the arrays that it describes, with their places."""

    header: bytes
    arrays: tuple[tuple[int, np.ndarray], ...]  # offset from the parcel's start
    nbytes: int

    def write(self, target: memoryview) -> None:
        """Write all of it to the start of a buffer of at least `nbytes`."""
        target[:_LENGTH_BYTES] = len(self.header).to_bytes(_LENGTH_BYTES, "little")
        target[_LENGTH_BYTES : _LENGTH_BYTES + len(self.header)] = self.header
        for offset, array in self.arrays:
            place = np.frombuffer(target, array.dtype, array.size, offset)
            np.copyto(place.reshape(array.shape), array)


def pack_media(batch: Sequence[DeviceMedia]) -> Parcel:
    """Lay out the media of a micro-batch."""
    return _pack([_describe_media(media) for media in batch])


def pack_values(values: Sequence[FeatureValue]) -> Parcel:
    """Lay out the values of a micro-batch."""
    return _pack(
        [("value", {}, [value.array] if value.times_ns is None else [value.array, value.times_ns]) for value in values]
    )


def unpack_media(source: memoryview) -> list[DeviceMedia]:
    """Return the media that a buffer holds, as views of it; raise Malformed."""
    return [_make_media(kind, fields, arrays) for kind, fields, arrays in _unpack(source)]


def unpack_values(source: memoryview) -> list[FeatureValue]:
    """Return copies of the values that a buffer holds; raise Malformed."""
    values = []
    for kind, _, arrays in _unpack(source):
        if kind != "value" or not 1 <= len(arrays) <= 2:
            raise Malformed(f"{kind!r} with {len(arrays)} arrays is no value")
        times_ns = arrays[1].copy() if len(arrays) == 2 else None
        values.append(FeatureValue(array=arrays[0].copy(), times_ns=times_ns))
    return values


_Item = tuple[str, dict[str, Any], list[np.ndarray]]


def _describe_media(media: DeviceMedia) -> _Item:
    if isinstance(media, VideoClip):
        return "video", {}, [media.frames, media.times_ns]
    if isinstance(media, AudioClip):
        return "audio", {"sample_rate_hz": media.sample_rate_hz, "start_ns": media.start_ns}, [media.wave_N]
    if isinstance(media, ImageClip):
        return "image", {}, [media.image]
    if isinstance(media, TextClip):
        return "text", {"text": media.text}, []
    if isinstance(media, EncodedPictures):
        forms = [asdict(form) for form in media.forms]
        return "encoded", {"of": media.num_pictures, "numbers": list(media.numbers), "forms": forms}, [media.data]
    return "array", {"columns": list(media.columns)}, [media.values_TD, media.times_ns]


def _make_media(kind: str, fields: dict[str, Any], arrays: list[np.ndarray]) -> DeviceMedia:
    try:
        if kind == "video":
            frames, times_ns = arrays
            return VideoClip(frames=frames, times_ns=times_ns)
        if kind == "audio":
            (wave_N,) = arrays
            rate_hz, start_ns = int(fields["sample_rate_hz"]), int(fields["start_ns"])
            return AudioClip(wave_N=wave_N, sample_rate_hz=rate_hz, start_ns=start_ns)
        if kind == "image":
            (image,) = arrays
            return ImageClip(image=image)
        if kind == "text":
            return TextClip(text=str(fields["text"]))
        if kind == "encoded":
            (data,) = arrays
            forms = tuple(_make_form(**form) for form in fields["forms"])
            numbers = tuple(map(int, fields["numbers"]))
            return EncodedPictures(data=data, num_pictures=int(fields["of"]), numbers=numbers, forms=forms)
        if kind == "array":
            values_TD, times_ns = arrays
            return ArrayClip(values_TD=values_TD, times_ns=times_ns, columns=tuple(map(str, fields["columns"])))
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"{kind!r} is described wrongly: {error}") from error
    raise Malformed(f"{kind!r} is no kind of media")


def _make_form(*, fit: Mapping[str, Any], **said: Any) -> VideoNeeds:
    """Return what JSON made of a form: it knows lists alone."""
    box_px = fit["box_px"] and (int(fit["box_px"][0]), int(fit["box_px"][1]))
    return VideoNeeds(**said, fit=Fit(keeps_shape=bool(fit["keeps_shape"]), box_px=box_px))


def _pack(items: Sequence[_Item]) -> Parcel:
    """Place the arrays one after another, counted from the end of the header: its length is not known before."""
    offset = 0
    described: list[tuple[str, dict[str, Any], list[tuple[str, list[int], int]]]] = []
    for kind, fields, arrays in items:
        places = []
        for array in arrays:
            if array.dtype.kind not in _DTYPE_KINDS:
                raise TypeError(f"an array of {array.dtype} cannot cross to the device's process: numbers only")
            places.append((array.dtype.str, list(array.shape), offset))
            offset = _aligned(offset + array.nbytes)
        described.append((kind, fields, places))
    header = json.dumps(described).encode()
    start = _aligned(_LENGTH_BYTES + len(header))
    flat = [array for _, _, arrays in items for array in arrays]
    offsets = [start + place[2] for _, _, places in described for place in places]
    return Parcel(header=header, arrays=tuple(zip(offsets, flat, strict=True)), nbytes=start + offset)


def _unpack(source: memoryview) -> list[_Item]:
    """Return what a buffer holds. The header is copied first: whoever shares the memory could change it meanwhile."""
    length = int.from_bytes(source[:_LENGTH_BYTES], "little")
    if len(source) < _LENGTH_BYTES or length > min(_MAX_HEADER_BYTES, len(source) - _LENGTH_BYTES):
        raise Malformed(f"a header of {length} bytes in a buffer of {len(source)}")
    start = _aligned(_LENGTH_BYTES + length)
    try:
        items = json.loads(bytes(source[_LENGTH_BYTES : _LENGTH_BYTES + length]))
        return [
            (str(kind), dict(fields), [_view(source, start, *place) for place in places])
            for kind, fields, places in items
        ]
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"a header that cannot be read: {error}") from error


def _view(source: memoryview, start: int, dtype_name: str, shape: list[int], offset: int) -> np.ndarray:
    dtype = np.dtype(dtype_name)
    if dtype.kind not in _DTYPE_KINDS or not all(type(length) is int and length >= 0 for length in [*shape, offset]):
        raise Malformed(f"an array of {dtype_name!r}, {shape}, at {offset}")
    count = 1
    for length in shape:
        count *= length
    if start + offset + count * dtype.itemsize > len(source):
        raise Malformed(f"an array of {count} {dtype_name} at {start + offset} ends after {len(source)} bytes")
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(source, dtype, count, start + offset).reshape(shape)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN_BYTES) * _ALIGN_BYTES
