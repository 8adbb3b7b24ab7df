"""Give every asset its text: of the first of `text.sources` that has one, be it a file, a label, or what is heard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mmpipe.config import Config, CorpusConfig, SourceKind
from mmpipe.errors import ConfigError
from mmpipe.segment.clips import length_ns
from mmpipe.signals.words import one_line
from mmpipe.sources.labels import LabelTable
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.text_origin import ASR, COLUMN, SIDECAR, UNREAD, TextOrigin, cleaned_digest, require_stop_words
from mmpipe.steps.ingest.acceptance import Acceptance, assign_roles
from mmpipe.steps.ingest.transcribe import transcribe, transcript_note
from mmpipe.steps.ingest.transcribe_worker import Transcript
from mmpipe.steps.plan.speech_model import SpeechModel, find_speech_model
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Asset, Cue, Modality, Stream, asset_id_of, digest_of

Labels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What the speech model heard, and which model it was; without one nothing was."""

    model: SpeechModel | None = None
    transcripts: Mapping[str, Transcript] | None = None

    def of(self, asset: Asset) -> Transcript | None:
        """Return what was heard in an asset; None where nobody listened."""
        sound = asset.stream(Modality.AUDIO)
        if sound is None or self.model is None or not self.transcripts:
            return None
        return self.transcripts.get(self.model.transcript_digest(sound))


def give_texts(
    config: Config,
    layout: StoreLayout,
    corpus: str,
    source: CorpusConfig,
    entries: Sequence[Acceptance],
    labels: Labels,
    progress: Progress = SILENT,
) -> list[Acceptance]:
    """Return the stems with their assets' texts; an asset whose text changes is another asset.

    Speech is heard only where no source before it has a text, and once: what the store knows is taken from it.
    """
    require_stop_words(source.text.stop_words)
    hearing = Hearing()
    sounds = list(sounds_to_hear(source, entries, labels))
    if sounds and source.text.asr:
        model = find_speech_model(source.text.asr)
        heard = transcribe(config, layout, corpus, source, model, sounds, progress)
        hearing = Hearing(model=model, transcripts=heard)
    return [give_text(source, entry, labels, hearing) for entry in entries]


def require_text_columns(table: LabelTable | None, source: CorpusConfig) -> None:
    """Refuse columns of texts that the labels table does not have."""
    for name in text_columns(source):
        if table is None:
            raise ConfigError(f"text.sources has {COLUMN + name!r}, but there is no labels table: say labels.file too")
        if table.rows and name not in table.columns:
            raise ConfigError(
                f"{source.labels and source.labels.file} has no column {name!r} (`text.sources`); its columns are: "
                f"{', '.join(table.columns)}"
            )


def text_columns(source: CorpusConfig) -> list[str]:
    """Return the columns of the labels table that texts are read from."""
    return [name.removeprefix(COLUMN) for name in source.text.sources if name.startswith(COLUMN)]


def sounds_to_hear(source: CorpusConfig, entries: Iterable[Acceptance], labels: Labels) -> Iterable[Stream]:
    """Yield the sounds of assets for which no source before the speech model has a text."""
    sources = source.text.sources
    before = sources[: sources.index(ASR)] if ASR in sources else ()
    for entry in entries if ASR in sources else ():
        sound = entry.asset.stream(Modality.AUDIO) if entry.asset else None
        if entry.asset and sound and not any(_has_text(name, entry, entry.asset, labels, source) for name in before):
            yield sound


def _has_text(name: str, entry: Acceptance, asset: Asset, labels: Labels, source: CorpusConfig) -> bool:
    if name == SIDECAR:
        return asset.stream(Modality.TEXT) is not None
    return bool(_column_text(name, entry, labels, source))


def give_text(source: CorpusConfig, entry: Acceptance, labels: Labels, hearing: Hearing) -> Acceptance:
    """Return a stem with its text, and with a note where somebody listened and heard nothing."""
    if entry.asset is None:
        return entry
    asset = _with_sidecars_named(entry.asset, source)
    own_text = entry.text if asset.stream(Modality.TEXT) else ""
    given, notes = replace(entry, asset=asset, text=own_text), list(entry.drops)
    for name in source.text.sources:
        if name == SIDECAR:
            if asset.stream(Modality.TEXT):
                break
        elif name == ASR:
            told = hearing.of(asset)
            if told and told.cues and hearing.model:
                given = _with_words(entry, asset, told.cues, told.digest, f"{ASR}:{hearing.model.name}")
                break
            if told:
                notes.append(transcript_note(source, entry.source_id, asset.asset_id, told))
        elif text := _column_text(name, entry, labels, source):
            # Without times it lasts as long as the asset, and the words alone are its content.
            whole = Cue(start_ns=0, end_ns=length_ns(asset), text=text)
            given = _with_words(entry, asset, (whole,), digest_of("mmpipe-text-1", text), name)
            break
    return replace(_cleaned(given, source.text.stop_words), drops=tuple(notes))


def _with_sidecars_named(asset: Asset, source: CorpusConfig) -> Asset:
    """Return an asset whose text files say that they are sidecars, or that nobody reads them."""
    if not any(stream.modality is Modality.TEXT for stream in asset.streams):
        return asset
    origin = SIDECAR if SIDECAR in source.text.sources else UNREAD
    table = source.source
    if origin == SIDECAR and table.kind is SourceKind.TABLE and Modality.TEXT in table.columns:
        origin = COLUMN + table.columns[Modality.TEXT]  # the mirror of a table wrote it from that column
    streams = [
        replace(stream, origin=origin) if stream.modality is Modality.TEXT else stream for stream in asset.streams
    ]
    if origin != UNREAD:
        return replace(asset, streams=tuple(streams))
    return _with_streams(asset, streams, ())


def _with_words(entry: Acceptance, asset: Asset, cues: tuple[Cue, ...], digest: str, origin: str) -> Acceptance:
    """Return a stem whose asset has words that lie in no file; sidecars follow them as a second text."""
    words = Stream(
        role=str(Modality.TEXT),
        modality=Modality.TEXT,
        digest=digest,
        file="",
        file_sha256="",
        file_nbytes=0,
        track=0,
        start_ns=0,
        duration_ns=0,
        codec="words",
        origin=origin,
    )
    return replace(entry, asset=_with_streams(asset, (*asset.streams, words), cues), text="")


def _with_streams(asset: Asset, streams: Iterable[Stream], cues: tuple[Cue, ...]) -> Asset:
    """Return an asset of other streams: its identity follows from them."""
    named = assign_roles(streams)
    return replace(
        asset, asset_id=asset_id_of((stream.role, stream.digest) for stream in named), streams=named, cues=cues
    )


def _cleaned(entry: Acceptance, language: str) -> Acceptance:
    """Return a stem whose text says that stop-words are left out of its clips: that makes it another text."""
    asset = entry.asset
    if not language or asset is None or (text := asset.stream(Modality.TEXT)) is None:
        return entry
    origin = str(TextOrigin(source=text.origin, stop_words=language))
    cleaned = replace(text, digest=cleaned_digest(text.digest, language), origin=origin)
    streams = tuple(cleaned if stream is text else stream for stream in asset.streams)
    asset_id = asset_id_of((stream.role, stream.digest) for stream in streams)
    return replace(entry, asset=replace(asset, asset_id=asset_id, streams=streams))


def _column_text(name: str, entry: Acceptance, labels: Labels, source: CorpusConfig) -> str:
    """Return what the labels table says in a column about a stem: one line, NFC, without control characters."""
    text = labels.get(entry.source_id, {}).get(name.removeprefix(COLUMN), "")
    if not text.strip():
        return ""
    if source.text.repair:
        import ftfy

        text = ftfy.fix_encoding(text)
    return one_line(text)
