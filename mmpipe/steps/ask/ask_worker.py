"""From raw files to features in one call of a warm worker: probe, join, hear, cut, decode, compute.

Every step is the one that a night takes, so what is asked now has the features that it would have in the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mmpipe.media.probe import ProbedFile
from mmpipe.segment.clips import cut
from mmpipe.steps.ask.ask_work import AskedClip, AskWork, pack_reply
from mmpipe.steps.ask.held_feature import hold_feature, values_of
from mmpipe.steps.extract.extract_shard import Checked, extract_asset
from mmpipe.steps.extract.shard_meter import ShardMeter
from mmpipe.steps.extract.shard_parts import Parts
from mmpipe.steps.ground.text_origin import kept_words
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest.acceptance import Acceptance, accept_asset, clip_text
from mmpipe.steps.ingest.arrays import add_label_numbers
from mmpipe.steps.ingest.survey import Surveyed, allowed_loss, survey_unknown
from mmpipe.steps.ingest.survey_work import AssetSurvey, AssetToSurvey, SurveyWork
from mmpipe.steps.ingest.texts import Hearing, give_text, sounds_to_hear
from mmpipe.steps.ingest.transcribe_worker import Recording, SpeechWork, Transcript, transcribe_recordings
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork, ShardWork
from mmpipe.steps.workers.worker import ProbeWork, probe_files
from mmpipe.types import Drop, Modality

Report = Callable[[str], None]
Poisoned = Mapping[str, str]


def ask_media(work: AskWork, report: Report, poisoned: Poisoned) -> bytes:
    """Return an AskReply: the features of every clip of the recordings, and what falls out and why."""
    parts, meter = Parts(report, poisoned), ShardMeter()
    features = {one.feature: hold_feature(work, one, parts, meter) for one in work.features}
    accepted = _with_texts(work, _accept(work, report, poisoned), report, poisoned)
    accepted, notes = add_label_numbers(accepted, work.source, {})
    surveyed = survey_unknown(work.source, accepted, partial(_look_through, work, report, poisoned))
    drops = [*notes, *(drop for entry in surveyed.accepted for drop in entry.drops)]
    assets = list(_cut(work, surveyed, drops))
    reading, checked = _reading_of(work), Checked()
    for asset in assets:
        extract_asset(reading, asset, tuple(features.values()), parts, meter, checked)
    for held in features.values():
        held.compute_rest()
        drops += held.drops
    report("")
    clips = [
        AskedClip(
            source=asset.source_id,
            key=clip.clip.key,
            start_ns=clip.clip.start_ns,
            end_ns=clip.clip.end_ns,
            values={name: value.array for name, value in values_of(features, clip.ordinal).items()},
        )
        for asset in assets
        for clip in asset.clips
    ]
    return pack_reply(clips, drops)


def warm_up(work: AskWork, report: Report, poisoned: Poisoned) -> bytes:
    """Load what the features need, which the worker keeps; say which worker it was."""
    parts, meter = Parts(report, poisoned), ShardMeter()
    for feature in work.features:
        hold_feature(work, feature, parts, meter)
    return str(os.getpid()).encode()


def _accept(work: AskWork, report: Report, poisoned: Poisoned) -> list[Acceptance]:
    probing = ProbeWork(
        root=work.root,
        files=tuple(file for stem in work.stems for file in stem.files),
        limits=work.source.limits,
        arrays=work.source.arrays,
        text=work.source.text,
        max_missing=work.source.damage.max_missing,
    )
    probed = decode(tuple[ProbedFile, ...], probe_files(probing, report, poisoned))
    by_name = {found.name: found for found in probed}
    return [accept_asset(stem, by_name) for stem in work.stems]


def _with_texts(work: AskWork, entries: Sequence[Acceptance], report: Report, poisoned: Poisoned) -> list[Acceptance]:
    """Give every asset its text, heard where the model's corpus was."""
    hearing = Hearing()
    sounds = list(sounds_to_hear(work.source, entries, {})) if work.speech else []
    if work.speech and sounds:
        due = {work.speech.transcript_digest(sound): sound for sound in sounds}
        recordings = tuple(Recording(digest=digest, stream=sound) for digest, sound in due.items())
        listening = SpeechWork(root=work.root, limits=work.source.limits, model=work.speech, recordings=recordings)
        heard = decode(tuple[Transcript, ...], transcribe_recordings(listening, report, poisoned))
        hearing = Hearing(model=work.speech, transcripts={told.digest: told for told in heard})
    return [give_text(work.source, entry, {}, hearing) for entry in entries]


def _look_through(
    work: AskWork, report: Report, poisoned: Poisoned, due: Sequence[AssetToSurvey]
) -> Sequence[AssetSurvey]:
    from mmpipe.steps.ingest.survey_worker import survey_assets  # it loads what measures pictures and sound

    surveying = SurveyWork(
        root=work.root,
        assets=tuple(due),
        limits=work.source.limits,
        clips=work.source.clips,
        max_missing=allowed_loss(work.source),
        prints=False,
        text=work.source.text,
    )
    return decode(tuple[AssetSurvey, ...], survey_assets(surveying, report, poisoned))


def _cut(work: AskWork, surveyed: Surveyed, drops: list[Drop]) -> Iterator[AssetWork]:
    """Yield the assets with their clips; what can be none is added to the drops."""
    ordinal = 0
    for entry in surveyed.accepted:
        asset = entry.asset
        if asset is None:
            continue
        clips, dropped = cut(asset, work.source.clips, surveyed.marks(asset.asset_id))
        drops += dropped
        words = asset.stream(Modality.TEXT)
        told = [replace(clip, text=kept_words(clip_text(asset, clip, entry.text), words)) for clip in clips]
        if told:
            yield AssetWork(
                asset_id=asset.asset_id,
                source_id=entry.source_id,
                streams=asset.streams,
                cues=asset.cues,
                clips=tuple(ClipWork(ordinal=ordinal + number, clip=clip) for number, clip in enumerate(told)),
            )
        ordinal += len(told)


def _reading_of(work: AskWork) -> ShardWork:
    """Return how media are read, as a shard says it."""
    return ShardWork(
        store=work.staging,
        corpus="",
        partition="",
        shard=0,
        root=work.root,
        limits=work.source.limits,
        features=work.features,
        assets=(),
        reused=(),
        num_clips=0,
        arrays=work.source.arrays,
        text=work.source.text,
        max_missing=work.source.damage.max_missing,
        device=work.device,
        encoders=work.encoders,
        pictures=work.pictures,
    )
