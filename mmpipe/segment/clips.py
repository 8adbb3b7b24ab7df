"""Cut an asset into clips: the whole, windows, one per cue, shot or utterance, and these again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from mmpipe.config import ClipRule, ClipsConfig
from mmpipe.errors import ConfigError
from mmpipe.types import NANOSECONDS_PER_SECOND, Asset, Clip, Drop, Modality, Stream, clip_key_of

NOMINAL_CLIP_NS = NANOSECONDS_PER_SECOND  # a still, or a text without cues, lasts one second by convention
MAX_CLIPS_PER_ASSET = 1_000_000
_TIMED_MEDIA = (Modality.VIDEO, Modality.AUDIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Where an asset's content says that it may be cut, on the asset's clock."""

    cuts_ns: tuple[int, ...] = ()  # the first frame of every shot but the first
    speech_ns: tuple[tuple[int, int], ...] = ()  # where somebody speaks, in order and apart


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A range that is to be a clip, or to be cut again."""

    start_ns: int
    end_ns: int
    text: str = ""


_Rule = Callable[[Asset, ClipsConfig, Marks, _Span], Iterator["_Span | Drop"]]
_NO_MARKS = Marks()


def cut(asset: Asset, clips: ClipsConfig, marks: Marks = _NO_MARKS) -> tuple[tuple[Clip, ...], tuple[Drop, ...]]:
    """Return the clips of an asset, sorted by time, and what could be none, each with its reason.

    With rule=cues every cue becomes a clip or a drop; with shots and speech every shot and utterance. With rule=window
    the grid simply ends before a rest that is shorter than half a window: a drop only where no window fits at all.
    """
    whole = _Span(start_ns=0, end_ns=length_ns(asset))
    spans, drops = _apply(_rule(clips.rule), asset, clips, marks, (whole,))
    if clips.then:
        spans, later = _apply(_again(clips.then), asset, clips, marks, spans)
        drops += later
    if clips.max_length_s is not None:
        spans, later = _apply(_parts, asset, clips, marks, spans)
        drops += later
    made: dict[tuple[int, int], Clip] = {}
    for span in spans:
        if (span.start_ns, span.end_ns) in made:
            what = f"[{span.start_ns}, {span.end_ns}) ns"
            drops.append(_drop(asset, "duplicate_clip", f"{what} covers the same time as a clip before it"))
        else:
            made[span.start_ns, span.end_ns] = _clip(asset, span)
    return tuple(sorted(made.values(), key=lambda clip: (clip.start_ns, clip.end_ns))), tuple(drops)


def length_ns(asset: Asset) -> int:
    """Return the end of the asset's clock: of media, else of its numbers, of its cues, or a nominal second."""
    ends = [_end_ns(asset, stream) for stream in asset.streams if stream.modality in _TIMED_MEDIA]
    timed = [stream for stream in asset.streams if stream.modality is Modality.ARRAY and stream.duration_ns]
    numbers = max((stream.start_ns + stream.duration_ns for stream in timed), default=0)
    return max(ends, default=0) or numbers or max((cue.end_ns for cue in asset.cues), default=0) or NOMINAL_CLIP_NS


def _end_ns(asset: Asset, stream: Stream) -> int:
    """Return where a stream ends, counted from the first sample of its container: tracks need not start together."""
    tracks = [other for other in asset.streams if other.file == stream.file and other.modality in _TIMED_MEDIA]
    return stream.start_ns + stream.duration_ns - min(track.start_ns for track in tracks)


def _rule(name: ClipRule) -> _Rule:
    return {
        ClipRule.WHOLE: _whole,
        ClipRule.WINDOW: _windows,
        ClipRule.CUES: _cues,
        ClipRule.SHOTS: _shots,
        ClipRule.SPEECH: _speech,
    }[name]


def _again(name: ClipRule) -> _Rule:
    if name not in (ClipRule.WINDOW, ClipRule.SHOTS, ClipRule.SPEECH):
        raise ConfigError(f"clips.then = {str(name)!r} cuts nothing again; it may be window, shots or speech")
    return _rule(name)


def _apply(
    rule: _Rule, asset: Asset, clips: ClipsConfig, marks: Marks, spans: Iterable[_Span]
) -> tuple[list[_Span], list[Drop]]:
    """Cut each of the spans by a rule."""
    made: list[_Span] = []
    drops: list[Drop] = []
    for span in spans:
        for product in rule(asset, clips, marks, span):
            if isinstance(product, _Span):
                made.append(product)
            else:
                drops.append(product)
        if len(made) > MAX_CLIPS_PER_ASSET:
            raise ConfigError(
                f"the settings under clips cut {asset.source_id!r} into more than {MAX_CLIPS_PER_ASSET} clips. "
                "Use longer ones."
            )
    return made, drops


def _whole(asset: Asset, clips: ClipsConfig, marks: Marks, span: _Span) -> Iterator[_Span | Drop]:
    if span.end_ns < _nanoseconds(clips.min_length_s):
        detail = f"the asset lasts {span.end_ns} ns, min_length_s is {clips.min_length_s}"
        yield _drop(asset, "clip_too_short", detail)
    else:
        yield span


def _windows(asset: Asset, clips: ClipsConfig, marks: Marks, span: _Span) -> Iterator[_Span | Drop]:
    window_ns, hop_ns = max(1, _nanoseconds(clips.length_s)), max(1, _nanoseconds(clips.hop_s))
    least_ns, lasts_ns = max(-(-window_ns // 2), _nanoseconds(clips.min_length_s)), span.end_ns - span.start_ns
    if least_ns > window_ns:
        raise ConfigError(f"clips.length_s = {clips.length_s} must be at least min_length_s = {clips.min_length_s}")
    if lasts_ns < least_ns:
        what = "the asset" if not span.start_ns else f"what begins at {span.start_ns} ns"
        yield _drop(asset, "clip_too_short", f"{what} lasts {lasts_ns} ns: less than half a window, or min_length_s")
        return
    if lasts_ns // hop_ns > MAX_CLIPS_PER_ASSET:
        raise ConfigError(
            f"clips.hop_s = {clips.hop_s} cuts {asset.source_id!r} into {lasts_ns // hop_ns} clips; "
            f"allowed are {MAX_CLIPS_PER_ASSET}. Use a longer hop_s."
        )
    start_ns, covered_ns = span.start_ns, span.start_ns
    while start_ns + least_ns <= span.end_ns and covered_ns < span.end_ns:
        covered_ns = min(start_ns + window_ns, span.end_ns)
        yield _Span(start_ns=start_ns, end_ns=covered_ns, text=span.text)
        start_ns += hop_ns


def _cues(asset: Asset, clips: ClipsConfig, marks: Marks, span: _Span) -> Iterator[_Span | Drop]:
    if not asset.cues:
        yield _drop(asset, "no_cues", "rule=cues, but the asset has no timed text")
    seen: set[tuple[int, int]] = set()
    end_ns = span.end_ns
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
            yield _Span(start_ns=cue.start_ns, end_ns=cue_end_ns, text=cue.text)


def _shots(asset: Asset, clips: ClipsConfig, marks: Marks, span: _Span) -> Iterator[_Span | Drop]:
    """Yield the shots in a span: each ends where the next begins."""
    if asset.stream(Modality.VIDEO) is None:
        yield _drop(asset, "no_video", "it is to be cut by shots, but the asset has no video")
        return
    inside = [time_ns for time_ns in marks.cuts_ns if span.start_ns < time_ns < span.end_ns]
    for start_ns, end_ns in pairwise((span.start_ns, *inside, span.end_ns)):
        yield _long_enough(asset, clips, "shot", _Span(start_ns=start_ns, end_ns=end_ns, text=span.text))


def _speech(asset: Asset, clips: ClipsConfig, marks: Marks, span: _Span) -> Iterator[_Span | Drop]:
    """Yield the parts of a span in which somebody speaks."""
    if asset.stream(Modality.AUDIO) is None:
        yield _drop(asset, "no_audio", "it is to be cut by speech, but the asset has no sound")
        return
    heard = [
        (max(start_ns, span.start_ns), min(end_ns, span.end_ns))
        for start_ns, end_ns in marks.speech_ns
        if start_ns < span.end_ns and span.start_ns < end_ns
    ]
    if not heard:
        yield _drop(asset, "no_speech", f"nobody speaks in [{span.start_ns}, {span.end_ns}) ns")
    for start_ns, end_ns in heard:
        yield _long_enough(asset, clips, "speech", _Span(start_ns=start_ns, end_ns=end_ns, text=span.text))


def _parts(asset: Asset, clips: ClipsConfig, marks: Marks, span: _Span) -> Iterator[_Span | Drop]:
    """Yield a span in equal parts none of which is longer than `max_length_s`."""
    assert clips.max_length_s is not None
    lasts_ns = span.end_ns - span.start_ns
    count = -(-lasts_ns // max(1, _nanoseconds(clips.max_length_s)))
    if count > MAX_CLIPS_PER_ASSET:
        raise ConfigError(
            f"clips.max_length_s = {clips.max_length_s} cuts {asset.source_id!r} into {count} clips; allowed are "
            f"{MAX_CLIPS_PER_ASSET}. Use a longer max_length_s."
        )
    edges = (span.start_ns + lasts_ns * number // count for number in range(count + 1))
    for start_ns, end_ns in pairwise(edges):
        part = _Span(start_ns=start_ns, end_ns=end_ns, text=span.text)
        yield _long_enough(asset, clips, "part", part) if count > 1 else part


def _long_enough(asset: Asset, clips: ClipsConfig, what: str, span: _Span) -> _Span | Drop:
    if span.end_ns - span.start_ns >= _nanoseconds(clips.min_length_s):
        return span
    where = f"the {what} at [{span.start_ns}, {span.end_ns}) ns"
    return _drop(asset, "clip_too_short", f"{where} is under min_length_s = {clips.min_length_s}")


def _clip(asset: Asset, span: _Span) -> Clip:
    key = clip_key_of(asset.asset_id, span.start_ns, span.end_ns)
    return Clip(key=key, asset_id=asset.asset_id, start_ns=span.start_ns, end_ns=span.end_ns, text=span.text)


def _drop(asset: Asset, code: str, detail: str) -> Drop:
    return Drop(stage="segment", code=code, detail=detail, source_id=asset.source_id, asset_id=asset.asset_id)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS_PER_SECOND)
