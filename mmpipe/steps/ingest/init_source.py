"""See in what form a corpus lies there: a folder of media, WebDataset tars, or a table that names media."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.config import SourceConfig, SourceKind
from mmpipe.errors import ConfigError, SampleError
from mmpipe.io import escape_name, unescape_name
from mmpipe.sources.listing import list_corpus
from mmpipe.sources.origins import URL
from mmpipe.sources.records import read_records
from mmpipe.sources.safe_names import safe_name
from mmpipe.sources.stems import AssetFiles, group_files
from mmpipe.sources.suffixes import modality_hint, split_suffix
from mmpipe.sources.table import read_cells
from mmpipe.sources.tar import FILE, TarReader
from mmpipe.types import Modality, RawFile

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_TABLES = (".jsonl", ".csv", ".parquet")
_KEY_NAMES = ("id", "key", "name", "stem", "uid", "index")
_TEXT_NAMES = ("text", "caption", "transcript", "transcription", "sentence", "description", "utterance")
_LOOKED_INTO = 3  # archives: their names tell what the others hold
_LOOKED_BYTES = 4 << 30
_MOST = 0.5  # share of the rows of a column that must name media


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCorpus:
    """What lies there, in which form, and what the config must say of it."""

    root: Path
    source: SourceConfig
    assets: tuple[AssetFiles, ...]
    arrays: tuple[str, ...]  # suffixes that are arrays
    table: Path | None = None  # which is its labels table, too
    note: str = ""

    @property
    def modalities(self) -> Counter[Modality | None]:
        """Return how many files of each modality there are."""
        return Counter(modality_hint(file.name, self.arrays) for asset in self.assets for file in asset.files)

    def toml(self, table: str) -> str:
        """Return the line of the config; `table` is the path of the table as it is to be written."""
        if self.source.kind is SourceKind.TARS:
            return f'source = {{ kind = "tars", pattern = {json.dumps(self.source.pattern)} }}'
        columns = ", ".join(f"{role} = {json.dumps(column)}" for role, column in self.source.columns.items())
        key = json.dumps(self.source.key, ensure_ascii=False)
        return f'source = {{ kind = "table", file = {table}, key = {key}, columns = {{ {columns} }} }}'


def find_corpus(root: Path, labels_file: Path | None) -> FoundCorpus:
    """Look at a folder or table. Raise ConfigError where there is nothing that could be read."""
    if root.is_file():
        return _of_table(root)
    listing = list_corpus(root, frozenset({labels_file}) if labels_file else frozenset())
    arrays = ("npy",) if any(split_suffix(file.name)[1] == ".npy" for file in listing.files) else ()
    assets = group_files(listing.files, arrays).assets
    archives = [file.name for file in listing.files if file.name.lower().endswith(_ARCHIVES)]
    if assets:
        note = f"{len(archives)} archives are not read: make a corpus of kind 'tars' for them" if archives else ""
        return FoundCorpus(root=root, source=SourceConfig(), assets=assets, arrays=arrays, note=note)
    if archives:
        return _of_tars(root, archives)
    tables = [file.name for file in listing.files if file.name.lower().endswith(_TABLES)]
    tables += [labels_file.name] if labels_file and labels_file.parent == root else []
    if len(tables) == 1:
        return _of_table(root / tables[0])
    raise ConfigError(
        f"{root} holds no video, audio, image, text or npy file, no tar, and no table that names any. "
        "Name another folder with --corpus."
    )


def _of_tars(root: Path, archives: Sequence[str]) -> FoundCorpus:
    suffix = Counter(next(end for end in _ARCHIVES if name.lower().endswith(end)) for name in archives).most_common()
    chosen = [name for name in archives if name.lower().endswith(suffix[0][0])]
    looked_into = chosen[:_LOOKED_INTO]
    files = [file for name in looked_into for file in _members(root, name)]
    arrays = ("npy",) if any(split_suffix(file.name)[1] == ".npy" for file in files) else ()
    assets = group_files(files, arrays, SourceKind.TARS).assets
    if not assets:
        raise ConfigError(f"{root / looked_into[0]} holds no video, audio, image or text file, nor do those beside it.")
    note = f"{len(chosen)} archives, of which {len(looked_into)} were looked into"
    if len(suffix) > 1:
        note += f"; {len(archives) - len(chosen)} others do not end with {suffix[0][0]}"
    source = SourceConfig(kind=SourceKind.TARS, pattern=f"**/*{suffix[0][0]}")
    return FoundCorpus(root=root, source=source, assets=assets, arrays=arrays, note=note)


def _members(root: Path, archive: str) -> Iterator[RawFile]:
    """Yield the files of an archive, as far as it can be read."""
    with open(root / unescape_name(archive).decode(), "rb") as file:
        try:
            for member in TarReader(file, archive, _LOOKED_BYTES).members():
                if member.kind == FILE:
                    name = f"{archive}/{escape_name(safe_name(member.name))}"
                    yield RawFile(name=name, nbytes=member.nbytes, mtime_ns=0, inode=0)
        except SampleError:
            return


def _of_table(file: Path) -> FoundCorpus:
    records = read_records(file)
    rows, columns = [row for _, row in records.rows], records.columns
    key = _key_of(rows, columns)
    roles = _roles(rows, [column for column in columns if column != key])
    if key is None or not any(role != Modality.TEXT for role in roles):
        raise ConfigError(
            f"{file} has no column with a name of its own for each row beside one that names media files or URLs; "
            f"its columns are {columns}."
        )
    source = SourceConfig(kind=SourceKind.TABLE, file=file, key=key, columns=roles)
    cells = read_cells(records, source).cells
    files = [RawFile(name=cell.name, nbytes=1, mtime_ns=0, inode=0) for cell in cells]
    assets = group_files(files, ("npy",), SourceKind.TABLE).assets
    has_arrays = any(role.startswith(Modality.ARRAY) for role in roles)
    note = f"a table of {len(rows)} rows: {', '.join(f'{role} from `{column}`' for role, column in roles.items())}"
    arrays = ("npy",) if has_arrays else ()
    return FoundCorpus(root=file.parent, source=source, assets=assets, arrays=arrays, table=file, note=note)


def _key_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str | None:
    """Return the column with a value of its own for every row, by preference one that is called so."""
    ranked = sorted(columns, key=lambda column: (_KEY_NAMES.index(column) if column in _KEY_NAMES else 99, column))
    for column in ranked:
        values = [row.get(column) for row in rows]
        is_told = all(isinstance(value, str | int) and value != "" for value in values)
        if is_told and len(set(values)) == len(values) and not any(_names(column, value) for value in values[:20]):
            return column
    return None


def _roles(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, str]:
    """Return a column for each modality: the one whose values name files of it, or the text."""
    roles: dict[str, str] = {}
    for column in columns:
        named = Counter(_names(column, row.get(column)) for row in rows)
        del named[None]
        if named and named.most_common()[0][1] >= _MOST * len(rows):
            roles.setdefault(str(named.most_common()[0][0]), column)
    texts = [column for column in _TEXT_NAMES if column in columns and column not in roles.values()]
    return roles | ({str(Modality.TEXT): texts[0]} if texts and Modality.TEXT not in roles else {})


def _names(column: str, value: Any) -> Modality | None:
    """Return the modality of the media that a value names, or holds under a column's name."""
    if isinstance(value, Mapping) and {"bytes", "path"} >= set(value):
        return modality_hint(str(value.get("path") or "")) or next((one for one in Modality if one == column), None)
    if not isinstance(value, str) or len(value) > 2000 or "\n" in value:
        return None
    found = modality_hint(value.split("?")[0] if URL.match(value) else value, ("npy",))
    return None if found is Modality.TEXT else found
