"""Make an asset of the probed files of one stem, or say why there is none: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mmpipe.media.gifs import GIF
from mmpipe.media.probe import ProbedFile
from mmpipe.sources.stems import AssetFiles
from mmpipe.sources.suffixes import modality_hint, split_suffix
from mmpipe.steps.ground.text_origin import UNREAD
from mmpipe.store.tombstones import ASSET, FILE, STREAM, Tombstones
from mmpipe.types import Asset, Clip, Cue, Drop, Modality, Stream, asset_id_of

_TEXT_ORDER = (".vtt", ".srt", ".txt", ".json", ".jsonl", ".csv")
_GROUP_ORDER = (Modality.VIDEO, Modality.AUDIO, Modality.IMAGE, Modality.ARRAY, Modality.TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What became of one stem: every file of it is used or has a drop."""

    source_id: str
    files: tuple[str, ...]
    asset: Asset | None
    drops: tuple[Drop, ...]  # of whole files
    text: str = ""  # how the asset's text begins, where it has no cues
    forgotten_in: str = ""  # the partition whose tombstones name it: nothing of it is taken in
    refused: tuple[str, ...] = ()  # assets that it was with files that a survey refused

    @property
    def dropped_files(self) -> frozenset[str]:
        """Return the names of the files that cannot be used."""
        return frozenset(drop.file for drop in self.drops if not drop.kept)


def accept_asset(files: AssetFiles, probed: Mapping[str, ProbedFile]) -> Acceptance:
    """Join the usable streams of a stem to an asset; a caption whose media is unusable is dropped with it."""
    names = tuple(file.name for file in files.files)
    drops = [replace(drop, source_id=files.source_id) for name in names for drop in probed[name].drops]
    dropped = {drop.file for drop in drops if not drop.kept}
    usable = [probed[name] for name in names if name not in dropped]
    lost_media = [name for name in sorted(dropped) if modality_hint(name) is not Modality.TEXT]
    streams = assign_roles(stream for file in usable for stream in file.streams)
    if lost_media and all(stream.modality is Modality.TEXT for stream in streams):
        drops += [_sibling_drop(files.source_id, file.name, lost_media[0]) for file in usable]
        streams = ()
    asset = None
    if streams:
        asset = Asset(
            asset_id=asset_id_of((stream.role, stream.digest) for stream in streams),
            source_id=files.source_id,
            streams=streams,
            cues=_captions_of(streams, usable)[0],
        )
    text = _captions_of(streams, usable)[1]
    return Acceptance(source_id=files.source_id, files=names, asset=asset, drops=tuple(drops), text=text)


def without_files(entry: Acceptance, lost: Sequence[Drop]) -> Acceptance:
    """Return a stem without files that turned out to be unusable: what is left of it is another asset."""
    assert entry.asset is not None, f"{entry.source_id} has no asset to take files from"
    gone = {drop.file for drop in lost}
    left = [stream for stream in entry.asset.streams if stream.file not in gone]
    if not any(stream.modality is Modality.AUDIO for stream in left):  # what was heard goes with the sound
        left = [stream for stream in left if not stream.origin.startswith("asr:")]
    streams = assign_roles(left)
    drops = [*entry.drops, *lost]
    if not any(stream.modality is not Modality.TEXT and stream.file for stream in streams):
        files = sorted({stream.file for stream in streams if stream.file})
        drops += [_sibling_drop(entry.source_id, file, min(gone)) for file in files]
        streams = ()
    has_text = any(stream.role == Modality.TEXT for stream in streams)
    asset = None
    if streams:
        asset = Asset(
            asset_id=asset_id_of((stream.role, stream.digest) for stream in streams),
            source_id=entry.source_id,
            streams=streams,
            cues=entry.asset.cues if has_text else (),
        )
    text = entry.text if has_text else ""
    refused = (*entry.refused, entry.asset.asset_id)
    return replace(entry, asset=asset, drops=tuple(drops), text=text, refused=refused)


def refuse_forgotten(entry: Acceptance, tombstones: Tombstones) -> Acceptance:
    """Return a stem as it is, or emptied and marked where it holds what was forgotten, under whatever name."""
    asset = entry.asset
    digests = [stream.digest for stream in asset.streams] if asset else []
    media = [stream.digest for stream in asset.streams if stream.modality is not Modality.TEXT] if asset else []
    # A text alone is forgotten with its media; the same words under other media are no trace of it.
    dt = tombstones.find(ASSET, [asset.asset_id] if asset else []) or tombstones.find(STREAM, media)
    if dt is None and tombstones.has_all(STREAM, digests):
        dt = tombstones.find(STREAM, digests)
    if dt is None and asset is None:
        dt = tombstones.find(FILE, [drop.file_sha256 for drop in entry.drops])
    return replace(entry, asset=None, drops=(), text="", forgotten_in=dt) if dt else entry


def clip_text(asset: Asset, clip: Clip, text: str) -> str:
    """Return what is said in a clip: its own cue, else the cues that overlap it, else the asset's text."""
    if clip.text or not asset.cues:
        return clip.text or text
    overlapping = [cue for cue in asset.cues if cue.start_ns < clip.end_ns and clip.start_ns < cue.end_ns]
    return " ".join(cue.text for cue in sorted(overlapping, key=lambda cue: (cue.start_ns, cue.end_ns)))


def assign_roles(streams: Iterable[Stream]) -> tuple[Stream, ...]:
    """Name the streams by modality: a file of its own before a track inside a film, then by track.

    A text that is in no file goes before one that is; one that nobody reads is never the asset's text.
    """
    found = list(streams)
    in_film = Counter(stream.file for stream in found if stream.modality is Modality.VIDEO)
    counts: Counter[Modality] = Counter()
    named = []
    for stream in sorted(found, key=lambda stream: _role_order(stream, bool(in_film[stream.file]))):
        number = max(counts[stream.modality], int(stream.origin == UNREAD))
        counts[stream.modality] = number + 1
        role = str(stream.modality) if number == 0 else f"{stream.modality}.{number}"
        named.append(replace(stream, role=role))
    return tuple(sorted(named, key=lambda stream: stream.role))


def default_group(asset: Asset) -> str:
    """Return the digest of the asset's main stream: the same film under two captions never straddles a split."""
    order = {modality: place for place, modality in enumerate(_GROUP_ORDER)}
    # What is in no file, as numbers of the labels table, tells less of a recording than what is.
    stream = min(asset.streams, key=lambda stream: (not stream.file, order[stream.modality]))
    return stream.digest[:24]


def _role_order(stream: Stream, in_film: bool) -> tuple[bool, bool, int, int, str]:
    # The digest settles the rest, not the name: a renamed asset must keep its identity.
    suffix = split_suffix(stream.file)[1]
    text_order = _TEXT_ORDER.index(suffix) if suffix in _TEXT_ORDER else 0
    if stream.modality is Modality.TEXT:
        text_order = -1 if not stream.file else text_order + len(_TEXT_ORDER) * (stream.origin == UNREAD)
    in_film = in_film and stream.modality is not Modality.VIDEO
    is_preview = stream.modality is Modality.VIDEO and stream.codec == GIF  # beside a film; alone it is the film
    return in_film, is_preview, text_order, stream.track, stream.digest


def _captions_of(streams: Iterable[Stream], usable: Iterable[ProbedFile]) -> tuple[tuple[Cue, ...], str]:
    """Return the cues and the text of the first text stream."""
    first = next((stream for stream in streams if stream.role == Modality.TEXT), None)
    return next(((file.cues, file.text) for file in usable if first and file.name == first.file), ((), ""))


def _sibling_drop(source_id: str, name: str, lost: str) -> Drop:
    return Drop(
        stage="probe",
        code="sibling_unusable",
        detail=f"{lost!r}, whose caption or label this is, cannot be used",
        file=name,
        source_id=source_id,
    )
