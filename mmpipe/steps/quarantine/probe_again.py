"""Look at single things of a corpus again, as an ingest would, whatever is known of them; nothing is committed.

A thing is called as the quarantine calls it: a file, a row of a table, a member of an archive, a source or a clip.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from mmpipe.config import Config, CorpusConfig, SourceKind
from mmpipe.errors import ConfigError
from mmpipe.media.probe import ProbedFile
from mmpipe.sources.mirror_plan import Part
from mmpipe.sources.origins import clean_url
from mmpipe.sources.stems import AssetFiles, source_id_of
from mmpipe.sources.table import row_name
from mmpipe.steps.ground.mirror import is_mirrored, see_again
from mmpipe.steps.ground.rights import RightsSaid
from mmpipe.steps.ingest.acceptance import accept_asset
from mmpipe.steps.ingest.arrays import add_label_numbers
from mmpipe.steps.ingest.homes import Homes, read_homes
from mmpipe.steps.ingest.ingest import draft_partitions, probe_in_workers
from mmpipe.steps.ingest.intake import Look, look_at_corpus, look_at_listing
from mmpipe.steps.ingest.near import find_twins, read_known_prints
from mmpipe.steps.ingest.near_rows import printed_now
from mmpipe.steps.ingest.partition_draft import judge_draft
from mmpipe.steps.ingest.survey import require_survey, survey_corpus
from mmpipe.steps.ingest.texts import give_texts
from mmpipe.steps.plan.today import date_now
from mmpipe.steps.quarantine.retry import EXTRACT_STAGE
from mmpipe.store.admitted import read_admitted
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.types import Drop, Modality, Stream
from mmpipe.words import counted

_MEMBER_NUMBER = re.compile(r"#\d+$")  # an archive's member that was refused has it behind its name


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scene:
    """A corpus as it is now, as far as it matters, and what the quarantine says of the things that were named."""

    config: Config
    corpus: str
    source: CorpusConfig  # its root is where the files lie now
    look: Look
    files_of_row: Mapping[str, tuple[str, ...]]
    known: pl.DataFrame
    homes: Homes

    @cached_property
    def groups(self) -> dict[str, AssetFiles]:
        """Return the stems by source id."""
        return {group.source_id: group for groups in self.look.by_date.values() for group in groups}

    @cached_property
    def home_of(self) -> dict[str, str]:
        """Return the source id of every file."""
        return {file.name: group.source_id for group in self.groups.values() for file in group.files}

    @cached_property
    def strays(self) -> dict[str, list[Drop]]:
        """Return by file what falls out before it is opened."""
        found: dict[str, list[Drop]] = {}
        for drop in (*self.look.drops, *self.look.undated):
            found.setdefault(drop.file, []).append(drop)
        return found

    @property
    def date(self) -> str:
        """Return the date that an ingest of what is named would be for."""
        return str(self.known["partition"].min()) if len(self.known) else date_now(self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Thing:
    """What a name means now: rows that are decided already, or files of stems to look into."""

    name: str
    drops: tuple[Drop, ...] = ()
    sources: tuple[str, ...] = ()  # stems to look into
    files: tuple[str, ...] = ()  # the files of them that are meant; none: the stem as a whole
    is_clip: bool = False
    is_gone: bool = False
    num_members: int = 0  # of an archive


def probe_again(config: Config, corpus: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return for every name why it cannot be used now, in the words of the quarantine, or what it is.

    ConfigError: neither the corpus nor its quarantine has something of a name.
    """
    with _scene(config, corpus, names) as scene:
        things = [_find(scene, name) for name in names]
        wanted = {source_id for thing in things for source_id in thing.sources}
        twins = _twin_sources(scene.known, scene.homes) & scene.groups.keys()
        probed, drops = _judge(scene, [scene.groups[name] for name in sorted(wanted | twins)])
        return [row for thing in things for row in _rows(scene, thing, probed, drops)]


# --------------------------------------------------------------------------- what is named


@contextmanager
def _scene(config: Config, corpus: str, names: Sequence[str]) -> Iterator[_Scene]:
    _, source = config.corpus(corpus)
    require_survey(corpus, source)
    layout = StoreLayout(config.store)
    rows = read_quarantine(layout, corpus).filter(pl.col("stage") != EXTRACT_STAGE)
    known = rows.filter(pl.any_horizontal(pl.col("file", "source_id", "clip_key").is_in(list(names))))
    homes = read_homes(layout, corpus)
    files_of_row: Mapping[str, tuple[str, ...]] = {}
    with tempfile.TemporaryDirectory(prefix="mmpipe-probe-") as scratch:
        if is_mirrored(source):
            started_ns = time.time_ns()
            sources = {*known["source_id"], *_twin_sources(known, homes)} - {""}
            seen = see_again(config, corpus, lambda part: _is_wanted(part, names, sources, source), Path(scratch))
            look, files_of_row = look_at_listing(source, seen.listing, started_ns), seen.files_of_row
            source = source.model_copy(update={"root": seen.root})
        else:
            look = look_at_corpus(config, corpus)
        yield _Scene(
            config=config,
            corpus=corpus,
            source=source,
            look=look,
            files_of_row=files_of_row,
            known=known,
            homes=homes,
        )


def _is_wanted(part: Part, names: Sequence[str], sources: set[str], source: CorpusConfig) -> bool:
    """Say whether something that is named, or belongs to what is named, comes of a part of a source."""
    things = {*names, *sources}
    if part.is_archive:
        return any(name == part.name or name.startswith(f"{part.name}/") for name in things)
    kind = source.source.kind
    stems = {*things, *(source_id_of(name, kind) for name in names)}
    return bool({part.name, source_id_of(part.name, kind)} & stems) or row_name(part.row) in names


def _twin_sources(known: pl.DataFrame, homes: Homes) -> set[str]:
    """Return the sources that something is a duplicate of: they decide whether it still is one."""
    ids = known.filter(pl.col("code") == "duplicate")["asset_id"].unique()
    return {source for asset_id in ids if (source := homes.first_source(asset_id))}


def _find(scene: _Scene, name: str) -> _Thing:
    if name in scene.strays:
        return _Thing(name=name, drops=tuple(scene.strays[name]))
    home_of, groups = scene.home_of, scene.groups
    plain = _MEMBER_NUMBER.sub("", name) if scene.source.source.kind is SourceKind.TARS else name
    files = scene.files_of_row.get(name) or tuple(found for found in dict.fromkeys((name, plain)) if found in home_of)
    if files:
        sources = {home_of[file] for file in files if file in home_of}
        dropped = [drop for file in files for drop in scene.strays.get(file, ())]
        return _Thing(name=name, drops=tuple(dropped), sources=tuple(sorted(sources)), files=files)
    if name in groups:
        return _Thing(name=name, sources=(name,))
    if scene.source.source.kind is SourceKind.TARS and (
        num_members := sum(file.startswith(f"{name}/") for file in home_of)
    ):
        return _Thing(name=name, num_members=num_members)
    said = [drop for drop in (*scene.look.labels.drops, *scene.look.labels.faults) if drop.source_id == name]
    of_clip = scene.known.filter(pl.col("clip_key") == name)["source_id"].unique().to_list()
    if of_clip and of_clip[0] in groups:
        return _Thing(name=name, sources=(of_clip[0],), is_clip=True)
    is_known = not scene.known.filter(pl.any_horizontal(pl.col("file", "source_id", "clip_key") == name)).is_empty()
    if not said and not is_known:
        raise ConfigError(
            f"{clean_url(str(scene.config.corpora[scene.corpus].root))} has no file {name!r}; names are relative to "
            f"that folder. Nothing else is called so: mmpipe quarantine show --corpus {scene.corpus}"
        )
    return _Thing(name=name, drops=tuple(said), is_gone=not said)


# --------------------------------------------------------------------------- what it is now


def _judge(scene: _Scene, chosen: Sequence[AssetFiles]) -> tuple[dict[str, ProbedFile], list[Drop]]:
    """Take stems through all that an ingest does to them, but for what it commits."""
    config, corpus, source, look = scene.config, scene.corpus, scene.source, scene.look
    layout, ids = StoreLayout(config.store), {group.source_id for group in chosen}
    admitted = read_admitted(layout, corpus)
    files = [file for group in chosen for file in group.files]
    probes = probe_in_workers(config, source.root, source, files, released=admitted.codes_of)
    probed = {found.name: found for found in probes}
    accepted = [accept_asset(group, probed) for group in chosen]
    accepted = give_texts(config, layout, corpus, source, accepted, look.labels.labels)
    accepted, notes = add_label_numbers(accepted, source, look.labels.labels)
    prints = read_known_prints(layout, corpus, source)
    surveyed = survey_corpus(config, layout, corpus, source, accepted, printed=printed_now(prints), anew=True)
    labels = look.labels.labels
    near = find_twins(source, prints, surveyed.prints, surveyed.accepted, scene.homes, admitted, labels)
    of_labels = [drop for drop in look.labels.drops if drop.source_id in ids]
    said = [*of_labels, *notes, *RightsSaid(config=source.rights, table=look.labels).faults(ids)]
    drafts = draft_partitions(surveyed.accepted, said, 0, scene.homes, source.dates.rule, scene.date, near)
    judged = [judge_draft(source, draft, look.labels.labels, surveyed, near, admitted) for draft in drafts]
    return probed, [drop for one in judged for drop in one.drops]


def _rows(
    scene: _Scene,
    thing: _Thing,
    probed: Mapping[str, ProbedFile],
    drops: Sequence[Drop],
) -> Iterator[dict[str, Any]]:
    mine = [*thing.drops, *(drop for drop in drops if _is_about(thing, drop))]
    for drop in sorted(mine, key=lambda drop: (drop.file, drop.clip_key, drop.stage, drop.code)):
        yield _row(thing.name if thing.is_clip else drop.file or drop.clip_key or thing.name, drop.code, drop.detail)
    before = ", ".join(scene.known.filter(_called(thing.name))["code"].unique().sort())
    if thing.is_gone:
        yield _row(thing.name, "gone", f"was {before}; it is there no more, and the next ingest takes its row out")
        return
    if before and not mine:
        yield _row(thing.name, "good", f"was {before}; the next ingest takes it in: mmpipe quarantine retry")
    if thing.num_members:
        yield _row(thing.name, "archive", f"{counted(thing.num_members, 'file', 'are', 'is')} in it")
    files = thing.files or tuple(file.name for name in thing.sources for file in scene.groups[name].files)
    lost = {drop.file for drop in mine if not drop.kept}
    for file in () if thing.is_clip else files:
        if file in probed and file not in lost:
            cues = len(probed[file].cues)
            for stream in probed[file].streams:
                yield _row(file, str(stream.modality), ", ".join(_facts(stream, cues)))


def _is_about(thing: _Thing, drop: Drop) -> bool:
    """Say whether a row of the quarantine is what a name asks for."""
    if thing.is_clip:
        return drop.clip_key == thing.name
    if thing.files:
        return drop.file in thing.files
    return drop.source_id in thing.sources


def _called(name: str) -> pl.Expr:
    """Pick the rows that are called so: a file's, else a clip's, else those of a source that are of none of both."""
    whole = (pl.col("source_id") == name) & (pl.col("file") == "") & (pl.col("clip_key") == "")
    return (pl.col("file") == name) | (pl.col("clip_key") == name) | whole


def _row(name: str, what: str, detail: str) -> dict[str, Any]:
    return {"file": name, "what": what, "detail": detail}


def _facts(stream: Stream, num_cues: int) -> Iterator[str]:
    """Yield what a stream of its kind has: a sound has no width."""
    yield stream.codec
    if stream.duration_ns:
        yield f"{stream.duration_ns / 1e9:.3f} s"
    if stream.width_px:
        yield f"{stream.width_px}x{stream.height_px} px"
    if stream.frame_rate:
        yield f"{stream.frame_rate:.4g} frames/s"
    if stream.sample_rate_hz:
        yield f"{stream.sample_rate_hz} Hz"
    if stream.channels:
        yield counted(stream.channels, "channel")
    if stream.modality is Modality.TEXT and num_cues:
        yield counted(num_cues, "cue")
