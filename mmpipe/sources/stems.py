"""Group the files of a corpus into assets-to-be: those of one folder and stem belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mmpipe.config import SourceKind
from mmpipe.sources.suffixes import TABLES, modality_hint, split_suffix
from mmpipe.types import Drop, Modality, RawFile

_NUMBERS = ("npy", "csv", "parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFiles:
    """The files of one stem: `source_id` is their common corpus-relative name without the suffix, escaped."""

    source_id: str
    files: tuple[RawFile, ...]  # sorted by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The stems of a corpus, sorted by source id, and the files that can be none of them."""

    assets: tuple[AssetFiles, ...]
    drops: tuple[Drop, ...]


def group_files(
    files: Iterable[RawFile], arrays: Collection[str] = (), kind: SourceKind = SourceKind.FOLDER
) -> Grouping:
    """Join files of the same folder and stem; only the last, known suffix is cut off, in any letter case.

    So `a.mp4`, `a.VTT` and `a.json` are one asset, while `a.en.vtt` belongs to the stem `a.en` alone. `arrays` are
    the suffixes that the corpus says are arrays of numbers. What came from tars is joined by WebDataset's key, and
    what came from a table by its row. A csv or jsonl table is a text only beside something else of its stem. Where a
    key of tars joins several pictures, sounds or films, a note says so: they may be meant as samples of their own.
    """
    key_of = _KEYS[kind]
    by_stem: defaultdict[str, list[RawFile]] = defaultdict(list)
    drops = []
    for file in sorted(files, key=lambda file: file.name):
        if modality_hint(file.name, arrays) is None:
            drops.append(_unknown(file))
        else:
            by_stem[key_of(file.name)].append(file)
    for stem, members in list(by_stem.items()):
        suffixes = {split_suffix(file.name)[1] for file in members}
        if all(suffix in TABLES and suffix[1:] not in arrays for suffix in suffixes):
            drops += [_lone_table(file) for file in by_stem.pop(stem)]
    if kind is SourceKind.TARS:
        drops += [note for stem, members in by_stem.items() for note in _ambiguities(stem, members)]
    assets = (AssetFiles(source_id=stem, files=tuple(members)) for stem, members in sorted(by_stem.items()))
    return Grouping(assets=tuple(assets), drops=tuple(sorted(drops, key=lambda drop: drop.file)))


def source_id_of(name: str, kind: SourceKind = SourceKind.FOLDER) -> str:
    """Return the logical name of the asset that a file of a corpus belongs to."""
    return _KEYS[kind](name)


def _by_last_dot(name: str) -> str:
    return split_suffix(name)[0]


def _by_first_dot(name: str) -> str:
    """Return WebDataset's key: `v1.0.mp4` has the key `v1`."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _by_folder(name: str) -> str:
    return name.rpartition("/")[0]


_KEYS = {
    SourceKind.FOLDER: _by_last_dot,
    SourceKind.TARS: _by_first_dot,
    SourceKind.TABLE: _by_folder,
    SourceKind.PLUGIN: _by_last_dot,
}


def _ambiguities(key: str, members: Sequence[RawFile]) -> Iterator[Drop]:
    """Yield a note for each kind of media of which a key of tars has several members."""
    for kind in (Modality.VIDEO, Modality.AUDIO, Modality.IMAGE):
        names = [file.name for file in members if modality_hint(file.name) is kind]
        if len(names) > 1:
            yield Drop(
                stage="list",
                code="key_shared",
                detail=f"{len(names)} members with {kind} have the key {key!r}, such as {names[0]!r} and {names[1]!r}: "
                "they are one recording, because a tar's key ends at the first dot of a name. If they are recordings "
                "of their own, write them under names with no other dot than that of the suffix",
                file=names[0],
                source_id=key,
                kept=True,
            )


def _lone_table(file: RawFile) -> Drop:
    suffix = split_suffix(file.name)[1][1:]
    ways = [
        'of assets is named by source = { kind = "table", file = ... } in [corpora.NAME]',
        "one of labels by labels = { file = ... }",
        "one of words lies beside media of its stem, as VIDEO.mp4 and VIDEO." + suffix,
    ]
    if suffix in _NUMBERS:
        ways.append(f"one of numbers is read with arrays.suffixes = ['{suffix}']")
    detail = f"a .{suffix} table without media of its stem; say what it is: a table {'; '.join(ways)}"
    return Drop(stage="list", code="unknown_type", detail=detail, file=file.name)


def _unknown(file: RawFile) -> Drop:
    suffix = split_suffix(file.name)[1]
    what = f"the suffix {suffix!r} is" if suffix else "a name without a suffix is"
    hint = f"; to read it as numbers say arrays.suffixes = ['{suffix[1:]}']" if suffix[1:] in _NUMBERS else ""
    return Drop(stage="list", code="unknown_type", detail=f"{what} not known as media or text{hint}", file=file.name)
