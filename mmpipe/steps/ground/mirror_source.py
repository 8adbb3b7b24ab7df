"""Ask a corpus's source what it has now: its root, its table, and what the table names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmpipe.config import CorpusConfig, SourceKind
from mmpipe.errors import ConfigError, SampleError, TransientError
from mmpipe.media.guard import open_regular
from mmpipe.sources.listing import list_corpus
from mmpipe.sources.mirror_plan import MirrorPlan, plan_objects, plan_table, plan_tars
from mmpipe.sources.origins import (
    AnywhereOrigin,
    FolderOrigin,
    NoAnswerError,
    Origin,
    SourceObject,
    UrlOrigin,
    clean_url,
    is_url,
)
from mmpipe.sources.plugged import make_source
from mmpipe.sources.records import read_records

_THREADS = 8
_TABLE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Where parts are read from: the root, or a URL of their own."""

    root: Origin
    anywhere: Origin

    def of(self, address: str) -> Origin:
        """Return where an address is read."""
        return self.anywhere if is_url(address) else self.root


def origins_of(source: CorpusConfig, exclude: frozenset[Path]) -> Origins:
    """Return where the parts of a corpus are read; `exclude` is never listed."""
    return Origins(root=_root_of(source, exclude), anywhere=AnywhereOrigin())


def _root_of(source: CorpusConfig, exclude: frozenset[Path]) -> Origin:
    if source.source.plugin:
        return make_source(source.source.plugin, source.source.options, str(source.root))
    return UrlOrigin(str(source.root)) if is_url(source.root) else _local(source.root, exclude)


def _local(root: Path, exclude: frozenset[Path]) -> FolderOrigin:
    def open_file(name: str) -> int:
        return open_regular(root, name)

    def listed() -> list[SourceObject]:
        found = list_corpus(root, exclude)
        stamps = ((file, f"{file.nbytes} {file.mtime_ns} {file.inode} {file.ctime_ns}") for file in found.files)
        objects = [SourceObject(name=file.name, nbytes=file.nbytes, stamp=stamp) for file, stamp in stamps]
        # What cannot be used (empty, a link, not readable) is tried too: who opens it says why, in a row.
        objects += [SourceObject(name=drop.file, nbytes=0, stamp=drop.code) for drop in found.drops]
        return sorted(objects, key=lambda entry: entry.name)

    return FolderOrigin(listed=listed, open_file=open_file)


def ask_source(source: CorpusConfig, exclude: frozenset[Path]) -> MirrorPlan:
    """Ask the source what it has now."""
    origins = origins_of(source, exclude)
    if source.source.kind is SourceKind.TABLE:
        return _plan_of_table(source, origins)
    found = origins.root.objects()
    if source.source.kind is SourceKind.TARS:
        plan = plan_tars(found, source.source.pattern)
        if not plan.parts:
            raise ConfigError(
                f"{clean_url(str(source.root))} has no archive that fits the pattern {source.source.pattern!r}. "
                "Correct `root` or `source.pattern` of the corpus."
            )
        return plan
    return plan_objects(found, source.limits.file_bytes)


def _plan_of_table(source: CorpusConfig, origins: Origins) -> MirrorPlan:
    file = source.source.file
    assert file is not None
    try:
        data = origins.anywhere.open(str(file)).read(_TABLE_BYTES) if is_url(file) else file.read_bytes()
    except SampleError as error:
        raise ConfigError(f"the table of the corpus cannot be read: {error.detail}. Correct `source.file`.") from None
    except OSError as error:
        raise ConfigError(f"cannot read the table {file}: {error.strerror}. Correct `source.file`.") from error
    records = read_records(Path(clean_url(str(file))) if is_url(file) else file, data)
    listed = {entry.name: entry for entry in origins.root.objects()} if is_url(source.root) else None

    def look(address: str) -> SourceObject:
        if listed is not None and not is_url(address):
            if address not in listed:
                raise SampleError("unreadable", f"{clean_url(address)!r}: nothing is there")
            return listed[address]
        return origins.of(address).look(address)

    def look_at_all(addresses: Sequence[str]) -> dict[str, SourceObject | SampleError]:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = dict(zip(addresses, pool.map(_tried(look), addresses), strict=True))
        silent = [said for said in found.values() if isinstance(said, NoAnswerError)]
        if len(silent) > 1 and len(silent) == len(found) and silent[0].__cause__:
            raise silent[0].__cause__  # nothing is there at all: that is no matter of a row
        return found

    return plan_table(records, source.source, look_at_all, source.limits.file_bytes)


def _tried(look: Callable[[str], SourceObject]) -> Callable[[str], SourceObject | SampleError]:
    def tried(address: str) -> SourceObject | SampleError:
        try:
            with asking_one(address):
                return look(address)
        except SampleError as error:
            return error

    return tried


@contextmanager
def asking_one(address: str) -> Iterator[None]:
    """Make what is wrong with a URL of its own a matter of that URL: the root's is everything's."""
    try:
        yield
    except (ConfigError, TransientError) as error:
        if not is_url(address):
            raise
        raise NoAnswerError("unreadable", str(error)) from error
