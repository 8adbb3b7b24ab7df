"""Cut an asset into clips: the whole, windows, or one per cue."""

from __future__ import annotations

from collections.abc import Iterator

from mmpipe.config import ClipRule, ClipsConfig
from mmpipe.errors import ConfigError
from mmpipe.types import NANOSECONDS_PER_SECOND, Asset, Clip, Drop, Modality, Stream, clip_key_of

NOMINAL_CLIP_NS = NANOSECONDS_PER_SECOND  # a still, or a text without cues, lasts one second by convention
MAX_CLIPS_PER_ASSET = 1_000_000
_TIMED_MEDIA = (Modality.VIDEO, Modality.AUDIO)


def cut(asset: Asset, clips: ClipsConfig) -> tuple[tuple[Clip, ...], tuple[Drop, ...]]:
    """Return the clips of an asset, sorted by time, and what could be none, each with its reason.

    With rule=cues every cue becomes a clip or a drop. With rule=window the grid simply ends before a rest that is
    shorter than half a window: a drop only where no window fits at all.
    """
    rules = {ClipRule.WHOLE: _whole, ClipRule.WINDOW: _windows, ClipRule.CUES: _cues}
    made: list[Clip] = []
    drops: list[Drop] = []
    for product in rules[clips.rule](asset, clips, length_ns(asset)):
        if isinstance(product, Clip):
            made.append(product)
        else:
            drops.append(product)
    return tuple(sorted(made, key=lambda clip: (clip.start_ns, clip.end_ns))), tuple(drops)


def length_ns(asset: Asset) -> int:
    """Return the end of the asset's clock: of its sound and pictures, else of its cues, else a nominal second."""
    ends = [_end_ns(asset, stream) for stream in asset.streams if stream.modality in _TIMED_MEDIA]
    return max(ends, default=0) or max((cue.end_ns for cue in asset.cues), default=0) or NOMINAL_CLIP_NS


def _end_ns(asset: Asset, stream: Stream) -> int:
    """Return where a stream ends, counted from the first sample of its container: tracks need not start together."""
    tracks = [other for other in asset.streams if other.file == stream.file and other.modality in _TIMED_MEDIA]
    return stream.start_ns + stream.duration_ns - min(track.start_ns for track in tracks)


def _whole(asset: Asset, clips: ClipsConfig, end_ns: int) -> Iterator[Clip | Drop]:
    if end_ns < _nanoseconds(clips.min_length_s):
        yield _drop(asset, "clip_too_short", f"the asset lasts {end_ns} ns, min_length_s is {clips.min_length_s}")
    else:
        yield _clip(asset, 0, end_ns)


def _windows(asset: Asset, clips: ClipsConfig, end_ns: int) -> Iterator[Clip | Drop]:
    window_ns, hop_ns = max(1, _nanoseconds(clips.length_s)), max(1, _nanoseconds(clips.hop_s))
    least_ns = max(-(-window_ns // 2), _nanoseconds(clips.min_length_s))
    if least_ns > window_ns:
        raise ConfigError(f"clips.length_s = {clips.length_s} must be at least min_length_s = {clips.min_length_s}")
    if end_ns < least_ns:
        yield _drop(asset, "clip_too_short", f"the asset lasts {end_ns} ns: less than half a window, or min_length_s")
        return
    if end_ns // hop_ns > MAX_CLIPS_PER_ASSET:
        raise ConfigError(
            f"clips.hop_s = {clips.hop_s} cuts {asset.source_id!r} into {end_ns // hop_ns} clips; "
            f"allowed are {MAX_CLIPS_PER_ASSET}. Use a longer hop_s."
        )
    start_ns, covered_ns = 0, 0
    while start_ns + least_ns <= end_ns and covered_ns < end_ns:
        covered_ns = min(start_ns + window_ns, end_ns)
        yield _clip(asset, start_ns, covered_ns)
        start_ns += hop_ns


def _cues(asset: Asset, clips: ClipsConfig, end_ns: int) -> Iterator[Clip | Drop]:
    if not asset.cues:
        yield _drop(asset, "no_cues", "rule=cues, but the asset has no timed text")
    seen: set[tuple[int, int]] = set()
    for number, cue in enumerate(asset.cues, start=1):
        where = f"cue {number} at [{cue.start_ns}, {cue.end_ns}) ns"
        cue_end_ns = min(cue.end_ns, end_ns)
        if cue.start_ns < 0 or cue.end_ns <= cue.start_ns:
            yield _drop(asset, "bad_cue", f"{where} does not end after its start, or starts before 0")
        elif cue.start_ns >= end_ns:
            yield _drop(asset, "cue_past_end", f"{where} starts after the end of the media at {end_ns} ns")
        elif cue_end_ns - cue.start_ns < _nanoseconds(clips.min_length_s):
            yield _drop(asset, "clip_too_short", f"{where}, media to {end_ns} ns, min_length_s is {clips.min_length_s}")
        elif (cue.start_ns, cue_end_ns) in seen:
            yield _drop(asset, "duplicate_clip", f"{where} covers the same time as a cue before it")
        else:
            seen.add((cue.start_ns, cue_end_ns))
            yield _clip(asset, cue.start_ns, cue_end_ns, cue.text)


def _clip(asset: Asset, start_ns: int, end_ns: int, text: str = "") -> Clip:
    key = clip_key_of(asset.asset_id, start_ns, end_ns)
    return Clip(key=key, asset_id=asset.asset_id, start_ns=start_ns, end_ns=end_ns, text=text)


def _drop(asset: Asset, code: str, detail: str) -> Drop:
    return Drop(stage="segment", code=code, detail=detail, source_id=asset.source_id, asset_id=asset.asset_id)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS_PER_SECOND)
