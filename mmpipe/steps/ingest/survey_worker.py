"""Look through whole assets, inside a worker: what is broken, where to cut, how every clip looks and sounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from mmpipe.errors import SampleError
from mmpipe.media.captions import PARSERS
from mmpipe.media.guard import open_regular
from mmpipe.media.images import read_image
from mmpipe.media.lifted import DAMAGED, lift_limits, lift_missing
from mmpipe.media.probe import read_text
from mmpipe.media.survey import SURVEY_PICTURE, survey_file
from mmpipe.media.unchanged import require_same_bytes
from mmpipe.segment.clips import Marks, cut
from mmpipe.signals.clip_signals import AssetSignals, clip_signals
from mmpipe.signals.picture import PictureMeter, PictureSeries
from mmpipe.signals.picture_prints import cosine_hash
from mmpipe.signals.text_prints import print_text
from mmpipe.steps.ground.wire import encode
from mmpipe.steps.ingest.acceptance import clip_text
from mmpipe.steps.ingest.survey_meter import AssetMeter, PicturesMeasured, SoundMeasured
from mmpipe.steps.ingest.survey_work import (
    AssetPrints,
    AssetSurvey,
    AssetToSurvey,
    FileFault,
    LostShare,
    SurveyedClip,
    SurveyWork,
)
from mmpipe.types import Asset, ImageNeeds, Modality, Stream

_STILL = ImageNeeds(width_px=SURVEY_PICTURE.width_px, height_px=SURVEY_PICTURE.height_px)


def survey_assets(work: SurveyWork, report: Callable[[str], None], poisoned: Mapping[str, str]) -> bytes:
    """Survey each asset; a file that killed a worker twice is a fault with that reason."""
    surveys = tuple(_survey(work, entry, report, poisoned) for entry in work.assets)
    return encode(tuple[AssetSurvey, ...], surveys)


@dataclass(slots=True, kw_only=True)
class _Found:
    """What the files of an asset gave, one after the other."""

    pictures: PicturesMeasured | None = None
    sound: SoundMeasured | None = None
    still: PictureSeries | None = None
    still_hash: int | None = None
    text: str = ""  # the whole of it, where it has no cues
    lost: list[LostShare] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)


def _survey(
    work: SurveyWork, entry: AssetToSurvey, report: Callable[[str], None], poisoned: Mapping[str, str]
) -> AssetSurvey:
    asset, found = entry.asset, _Found()
    work = replace(work, limits=lift_limits(work.limits, entry.released))
    if DAMAGED in entry.released:
        work = replace(work, max_missing=lift_missing(work.max_missing or 0.0, entry.released))
    for file, streams in _files_of(asset).items():
        part = f"{asset.asset_id} {file}"
        try:
            if part in poisoned:
                raise SampleError(poisoned[part], "surveying it ended its worker process, alone and twice")
            report(part)
            _survey_file(work, streams, found)
        except SampleError as error:
            detail = error.detail.replace(repr(file), "the file")
            found.faults.append(FileFault(file_sha256=streams[0].file_sha256, code=error.code, detail=detail))
    if found.faults:
        return AssetSurvey(asset_id=asset.asset_id, faults=tuple(found.faults))
    return _conclude(work, entry, found)


def _files_of(asset: Asset) -> dict[str, list[Stream]]:
    """Return the streams to decode by the file that holds them: the first of every kind, and a text without cues."""
    files: dict[str, list[Stream]] = {}
    words = () if asset.cues else (Modality.TEXT,)
    for modality in (Modality.VIDEO, Modality.AUDIO, Modality.IMAGE, *words):
        stream = asset.stream(modality)
        if stream and stream.file:
            files.setdefault(stream.file, []).append(stream)
    return files


def _survey_file(work: SurveyWork, streams: list[Stream], found: _Found) -> None:
    with _opened(work, streams[0]) as descriptor:
        if streams[0].modality is Modality.IMAGE:
            found.still, found.still_hash = _measure_still(descriptor, work)
            return
        if streams[0].modality is Modality.TEXT:
            parse = PARSERS[Path(streams[0].file).suffix.lower()]
            found.text = parse(read_text(descriptor, work.limits), work.text).text
            return
        make_meter = partial(AssetMeter, work.clips, work.prints)
        meter, loss = survey_file(descriptor, streams, work.limits, make_meter, work.max_missing)
    film_end_ns = max((one.start_ns + one.duration_ns for one in streams if one.modality is Modality.VIDEO), default=0)
    found.pictures = meter.pictures_measured(film_end_ns) or found.pictures
    found.sound = meter.sound_measured() or found.sound
    shares = sorted(loss.shares.items())
    found.lost += [LostShare(role=role, share=share) for role, share in shares if share or loss.is_refused]


@contextmanager
def _opened(work: SurveyWork, stream: Stream) -> Iterator[int]:
    descriptor = open_regular(work.root, stream.file)
    try:
        require_same_bytes(descriptor, stream)
        yield descriptor
    finally:
        os.close(descriptor)


def _measure_still(descriptor: int, work: SurveyWork) -> tuple[PictureSeries, int]:
    picture_HWC = read_image(descriptor, _STILL, work.limits).image
    meter = PictureMeter()
    meter.push(picture_HWC, 0)
    return meter.finish(), cosine_hash(picture_HWC)


def _conclude(work: SurveyWork, entry: AssetToSurvey, found: _Found) -> AssetSurvey:
    """Cut the asset, and measure every clip."""
    asset = entry.asset
    cuts_ns = found.pictures.cuts_ns if found.pictures else ()
    speech_ns = found.sound.speech_ns if found.sound else ()
    measured = AssetSignals(
        pictures=found.pictures.series if found.pictures else None,
        cuts_ns=cuts_ns,
        image=found.still,
        loudness=found.sound.series if found.sound else None,
        speech_ns=speech_ns,
        damaged_share=_damaged_share(asset, found),
    )
    clips, _ = cut(asset, work.clips, Marks(cuts_ns=cuts_ns, speech_ns=speech_ns))
    return AssetSurvey(
        asset_id=asset.asset_id,
        cuts_ns=cuts_ns,
        speech_ns=speech_ns,
        lost=tuple(found.lost),
        clips=tuple(
            SurveyedClip(
                key=clip.key,
                start_ns=clip.start_ns,
                end_ns=clip.end_ns,
                signals=clip_signals(measured, clip.start_ns, clip.end_ns, clip_text(asset, clip, found.text)),
            )
            for clip in clips
        ),
        prints=_prints(asset, found) if work.prints else None,
    )


def _damaged_share(asset: Asset, found: _Found) -> float | None:
    """Return the largest share of a track that is lost: cut off, or not to be decoded; None where nothing runs."""
    timed = [stream for stream in asset.streams if stream.modality in (Modality.VIDEO, Modality.AUDIO)]
    cut_off = (stream.lost_share for stream in timed)
    return max((*cut_off, *(lost.share for lost in found.lost)), default=None) if timed else None


def _prints(asset: Asset, found: _Found) -> AssetPrints:
    words = " ".join(cue.text for cue in asset.cues).strip() or found.text
    text = print_text(words) if words else np.zeros(0, np.uint32)
    seen = found.pictures and found.pictures.print
    heard = found.sound and found.sound.print
    return AssetPrints(
        image="" if found.still_hash is None else _hex(np.array([found.still_hash], np.uint64)),
        video_times_ns=_hex(seen.times_ns) if seen else "",
        video_hashes=_hex(seen.hashes_T) if seen else "",
        sound_start_ns=heard.start_ns if heard else 0,
        sound_words=_hex(heard.words_T) if heard else "",
        sound_heard=_hex(heard.marks_T) if heard else "",
        text=_hex(text),
    )


def _hex(values: np.ndarray) -> str:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes().hex()
