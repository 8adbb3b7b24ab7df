"""Bring a corpus that is no local folder into one: tars, tables and URLs, what is new of them and nothing else.

STORE's local half/_mirror/CORPUS/files/...       what is listed, probed and extracted from
STORE's local half/_mirror/CORPUS/index.parquet   what came from where, with the stamp it had there

The network is asked here, in the parent: workers have none. The bytes are copied and judged by name and size alone;
what is in them only workers see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from mmpipe.config import Config, CorpusConfig, SourceKind
from mmpipe.errors import ConfigError, SampleError, TransientError
from mmpipe.io import make_directory
from mmpipe.sources.listing import Filtered, FilterReason, Listing, list_corpus
from mmpipe.sources.mirror_folder import MirrorFolder, old_stamp_ns, read_chunks, unpack_tar
from mmpipe.sources.mirror_index import Brought, read_index, write_index
from mmpipe.sources.mirror_plan import MirrorPlan, Part
from mmpipe.sources.origins import FolderOrigin, clean_url, is_url
from mmpipe.sources.table import row_name
from mmpipe.steps.ground.mirror_source import Origins, ask_source, asking_one, origins_of
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.retention import newest_change
from mmpipe.store.layout import StoreLayout
from mmpipe.store.tombstones import FILE, name_digest, read_tombstones
from mmpipe.types import Drop

_LOCK_S = 60.0
_THREADS = 8
_SAVE_EVERY = 1000  # parts: what a kill in between costs is fetched again


def is_mirrored(source: CorpusConfig) -> bool:
    """Say whether a corpus is no local folder of files."""
    return source.source.kind is not SourceKind.FOLDER or is_url(source.root)


def media_root(layout: StoreLayout, corpus: str, source: CorpusConfig) -> Path:
    """Return the local folder that a corpus's files are read from."""
    return mirror_home(layout, corpus) / "files" if is_mirrored(source) else source.root


def mirror_home(layout: StoreLayout, corpus: str) -> Path:
    """Return the folder of a corpus's mirror."""
    return layout.local / "_mirror" / corpus


def refresh_mirror(config: Config, corpus: str, progress: Progress = SILENT) -> Listing:
    """Bring what is new or changed, remove what the source no longer has, and return what there is then.

    Where nothing changed, nothing is fetched and nothing is written. TransientError: the source does not answer.
    """
    _, source = config.corpus(corpus)
    layout = StoreLayout(config.store)
    exclude = frozenset({layout.local})
    plan = ask_source(source, exclude)
    folder = _folder(layout, corpus, source)
    index = read_index(folder.index)
    due = _due(plan, index, folder)
    gone = _gone(plan, index)
    if due or gone:
        _require_something(plan, index, source)
        with _alone(folder):
            folder.clear()
            index = _bring(plan, due, gone, index, folder, origins_of(source, exclude), progress)
    return _listing(plan, index, folder)


def list_mirror(config: Config, corpus: str) -> tuple[Listing, str]:
    """Return what a mirror holds now, and why it is due to be refreshed, "" where it is not; nothing is fetched."""
    _, source = config.corpus(corpus)
    layout = StoreLayout(config.store)
    plan = ask_source(source, frozenset({layout.local}))
    folder = _folder(layout, corpus, source)
    index = read_index(folder.index)
    due = len(_due(plan, index, folder))
    gone = len(_gone(plan, index))
    reason = f"the source has {due} new or changed parts, and lost {gone}" if due or gone else ""
    return _listing(plan, index, folder), reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAgain:
    """Some things of a source as they are now, without a trace of the look."""

    listing: Listing
    root: Path  # where the listed files lie
    files_of_row: Mapping[str, tuple[str, ...]]  # of a table, by the name of the row


def see_again(config: Config, corpus: str, is_wanted: Callable[[Part], bool], scratch: Path) -> SeenAgain:
    """Look at some parts of a source whatever is known of them; a mirror that lacks one is left as it is.

    Where one of them is new, changed, or could not be brought, all of them are brought into `scratch`.
    """
    _, source = config.corpus(corpus)
    layout = StoreLayout(config.store)
    exclude = frozenset({layout.local})
    plan = ask_source(source, exclude)
    wanted = replace(plan, parts=tuple(part for part in plan.parts if is_wanted(part)))
    folder = _folder(layout, corpus, source)
    index = read_index(folder.index)
    rows: dict[str, tuple[str, ...]] = {}
    for part in wanted.parts:
        rows[row_name(part.row)] = (*rows.get(row_name(part.row), ()), part.name)
    if not _due(wanted, index, folder):
        listing = _listing(plan, index, folder)
        held = {name for part in wanted.parts for name in index[_kept_as(part, index)].files}
        there = tuple(file for file in listing.files if file.name in held)  # not what the source has no longer
        return SeenAgain(listing=replace(listing, files=there), root=folder.files, files_of_row=rows)
    folder = replace(folder, home=scratch)
    origins = origins_of(source, exclude)
    brought = {part.origin: _bring_part(part, folder, origins) for part in wanted.parts}
    make_directory(folder.files)
    return SeenAgain(listing=_listing(wanted, brought, folder), root=folder.files, files_of_row=rows)


def mirrored_files(layout: StoreLayout, corpus: str, names: Sequence[str]) -> list[str]:
    """Return which of some files a mirror has."""
    there = {name for one in read_index(mirror_home(layout, corpus) / "index.parquet").values() for name in one.files}
    return sorted(there.intersection(names))


def forget_in_mirror(layout: StoreLayout, corpus: str, files: Sequence[str]) -> int:
    """Remove the mirrored bytes of what is forgotten, and every name of it; return how many files there were."""
    folder = MirrorFolder(home=mirror_home(layout, corpus), limits=CorpusConfig(root=Path()).limits, is_forgotten=None)
    index, wanted = read_index(folder.index), set(files)
    said = {origin: {*one.files, *(drop.file for drop in one.drops)} for origin, one in index.items()}
    touched = {origin: index[origin] for origin, names in said.items() if wanted & names}
    if not touched:
        return 0
    with _alone(folder):
        for name in sorted({name for one in touched.values() for name in one.files} & wanted):
            folder.remove(name)
        for origin, one in touched.items():
            del index[origin]
            left = tuple(name for name in one.files if name not in wanted)
            drops = tuple(drop for drop in one.drops if drop.file not in wanted)
            # Where a part was this file alone its name goes too: a digest remembers not to bring it again.
            index[origin if left or drops else name_digest(origin)] = replace(one, files=left, drops=drops)
        write_index(folder.index, index, folder.temporary())
    return sum(len(wanted.intersection(one.files)) for one in touched.values())


# --------------------------------------------------------------------------- what there is


def _folder(layout: StoreLayout, corpus: str, source: CorpusConfig) -> MirrorFolder:
    tombstones = read_tombstones(layout, corpus) if layout.format_file.exists() else None
    known = bool(tombstones and tombstones.partition_of)

    def is_forgotten(sha256: str) -> bool:
        return bool(tombstones and tombstones.find(FILE, [sha256]))

    return MirrorFolder(
        home=mirror_home(layout, corpus), limits=source.limits, is_forgotten=is_forgotten if known else None
    )


# --------------------------------------------------------------------------- what is done about it


def _kept_as(part: Part, index: Mapping[str, Brought]) -> str:
    """Return under which name the index has a part: that of what was forgotten is a digest."""
    digest = name_digest(part.origin)
    return digest if digest in index else part.origin


def _due(plan: MirrorPlan, index: Mapping[str, Brought], folder: MirrorFolder) -> list[Part]:
    """Return the parts that are not there, or not as their source has them now."""
    there = _names(folder)
    due = []
    for part in plan.parts:
        known = index.get(_kept_as(part, index))
        if known is None or known.stamp != part.stamp or not there.issuperset(known.files):
            due.append(part)
    return due


def _gone(plan: MirrorPlan, index: Mapping[str, Brought]) -> list[str]:
    """Return what the source has no longer; of what could not be asked nobody knows."""
    there = {_kept_as(part, index) for part in plan.parts}
    unknown = {name for origin in plan.unanswered for name in (origin, name_digest(origin))}
    return [origin for origin in index if origin not in there | unknown]


def _names(folder: MirrorFolder) -> set[str]:
    return {file.name for file in list_corpus(folder.files).files} if folder.files.is_dir() else set()


def _require_something(plan: MirrorPlan, index: Mapping[str, Brought], source: CorpusConfig) -> None:
    if index and not plan.parts and not plan.unanswered:
        place = clean_url(str(source.source.file or source.root))
        raise ConfigError(
            f"{place} is empty now; {len(index)} parts of it were mirrored. Nothing was removed. "
            "If it is meant, remove the corpus from the config, and its mirror with: mmpipe gc --delete"
        )


def _bring(
    plan: MirrorPlan,
    due: Sequence[Part],
    gone: Sequence[str],
    index: dict[str, Brought],
    folder: MirrorFolder,
    origins: Origins,
    progress: Progress,
) -> dict[str, Brought]:
    progress.start("mirror", len(due))
    for origin in gone:
        _remove(folder, index.pop(origin).files)
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for start in range(0, len(due), _SAVE_EVERY):
                parts = due[start : start + _SAVE_EVERY]
                found = pool.map(lambda part: _bring_part(part, folder, origins), parts)
                for part, brought in zip(parts, found, strict=True):
                    _note(index, part, brought, folder)
                    progress.advance("mirror")
                write_index(folder.index, index, folder.temporary())
        finally:
            pool.shutdown(cancel_futures=True)
            write_index(folder.index, index, folder.temporary())
    for name in _names(folder) - {name for one in index.values() for name in one.files}:
        folder.remove(name)  # of a run that was killed before it could say so
    return index


def _note(index: dict[str, Brought], part: Part, brought: Brought, folder: MirrorFolder) -> None:
    before = index.pop(_kept_as(part, index), None)
    if before:
        _remove(folder, set(before.files) - set(brought.files))
    is_left = brought.files or brought.drops or brought.hidden
    index[part.origin if is_left else name_digest(part.origin)] = brought


def _remove(folder: MirrorFolder, names: Sequence[str] | set[str]) -> None:
    for name in names:
        folder.remove(name)


def _bring_part(part: Part, folder: MirrorFolder, origins: Origins) -> Brought:
    """Bring one part; what cannot be brought is a drop, and is tried again by the next run."""
    try:
        if part.content is not None:
            is_kept = folder.write(part.name, iter([part.content]), old_stamp_ns())
        else:
            with asking_one(part.address), origins.of(part.address).open(part.address) as file:
                if part.is_archive:
                    return unpack_tar(folder, part.name, part.stamp, file)
                is_linked = isinstance(origins.of(part.address), FolderOrigin)
                if is_linked and folder.link(part.name, file.fileno()):
                    return Brought(stamp=part.stamp, files=(part.name,))
                is_kept = folder.write(part.name, read_chunks(file), old_stamp_ns())
    except SampleError as error:
        stamp = part.stamp if error.code in ("empty_file", "limit_file") else ""
        drop = Drop(stage="list", code=error.code, detail=f"{part.said}: {error.detail}", file=part.name)
        return Brought(stamp=stamp, drops=(drop,))
    return Brought(stamp=part.stamp, files=(part.name,) if is_kept else ())


def _listing(plan: MirrorPlan, index: Mapping[str, Brought], folder: MirrorFolder) -> Listing:
    """Return the mirror's files, and what of its source is none."""
    found = list_corpus(folder.files) if folder.files.is_dir() else Listing(files=(), drops=(), filtered=())
    known = [index[origin] for part in plan.parts if (origin := _kept_as(part, index)) in index]
    held = {name for origin in plan.unanswered & index.keys() for name in index[origin].files}
    planned = [_kept_note(drop) if drop.file in held else drop for drop in plan.drops]
    # A key of a table may be called like a file (`s0.wav`): the folder of its files is ours, and nothing of it is lost.
    folders = {str(parent) for file in found.files for parent in PurePosixPath(file.name).parents}
    listed = [drop for drop in found.drops if drop.file not in folders]
    drops = [*listed, *planned, *(drop for one in known for drop in one.drops)]
    hidden = [*found.filtered, *plan.filtered]
    hidden += [Filtered(name=name, reason=FilterReason.HIDDEN) for one in known for name in one.hidden]
    return Listing(
        files=found.files,
        drops=tuple(sorted(drops, key=lambda drop: drop.file)),
        filtered=tuple(sorted(hidden, key=lambda entry: entry.name)),
    )


def _kept_note(drop: Drop) -> Drop:
    return replace(drop, detail=f"{drop.detail} What was brought of it before is used.", kept=True)


@contextmanager
def _alone(folder: MirrorFolder) -> Iterator[None]:
    """Let one process at a time change a mirror."""
    make_directory(folder.home)
    try:
        with FileLock(folder.home / "lock", timeout=_LOCK_S):
            yield
    except Timeout as error:
        raise TransientError(f"another process is bringing files into {folder.home}: run again.") from error


def spare_mirrors(config: Config, layout: StoreLayout, cutoff_s: float) -> Iterator[Path]:
    """Yield the mirrors of corpora that are no more, or are folders now, and were not touched for long."""
    mirrors = layout.local / "_mirror"
    for path in sorted(mirrors.iterdir()) if mirrors.is_dir() else []:
        source = config.corpora.get(path.name)
        if (source is None or not is_mirrored(source)) and newest_change(path) < cutoff_s:
            yield path
