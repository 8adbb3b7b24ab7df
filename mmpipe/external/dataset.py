"""One door to the formats: survey what another team publishes once, and read the rows of a pin later."""

from __future__ import annotations

import tarfile
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external import npy, parquet, tars
from mmpipe.external.match import check_pattern
from mmpipe.external.pin import Pin, PinnedFile, Selection, Shape, SourceFormat
from mmpipe.external.source import ExternalSource, SeenFile

Row = tuple[str, np.ndarray | SampleError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What lies under a URI."""

    selection: Selection
    shape: Shape
    keys: tuple[str, ...]
    files: tuple[PinnedFile, ...]
    stamps: dict[str, str]  # of the listing, by name: what the cheap look for changes compares


def suffixes_of(selection: Selection) -> tuple[str, ...]:
    """Return the endings of the files that belong to a dataset."""
    if selection.format is SourceFormat.NPY_MATRIX:
        return (*npy.SUFFIXES, selection.keys_file)
    formats = {SourceFormat.PARQUET: parquet.SUFFIXES, SourceFormat.WEBDATASET: tars.SUFFIXES}
    return formats.get(selection.format, npy.SUFFIXES)


def guess_selection(source: ExternalSource, key: str, columns: tuple[str, ...], keys_file: str) -> Selection:
    """Return how the files under a URI are read, from their endings."""
    if keys_file:
        return Selection(format=SourceFormat.NPY_MATRIX, keys_file=keys_file)
    kinds = {SourceFormat.PARQUET: parquet.SUFFIXES, SourceFormat.WEBDATASET: tars.SUFFIXES}
    kinds[SourceFormat.NPY_FILES] = npy.SUFFIXES
    found = [kind for kind, suffixes in kinds.items() if source.list_files(suffixes)]
    if len(found) != 1:
        what = f"files of {len(found)} formats ({', '.join(found)})" if found else "no .parquet, .tar or .npy file"
        raise ConfigError(f"{source.uri} has {what}. Name a folder or a file of one format.")
    if found[0] is SourceFormat.PARQUET and not key:
        raise ConfigError(f"{source.uri} is Parquet: name the column of the key with --key")
    if found[0] is SourceFormat.NPY_FILES:
        return Selection(format=found[0], key=check_pattern(key or npy.ANY_NAME))
    if found[0] is SourceFormat.WEBDATASET and (key or len(columns) > 1):
        raise ConfigError("a tar's keys are its members' names: take parts of them with --match-pattern, not --key")
    return Selection(format=found[0], key=key, columns=columns)


def survey(source: ExternalSource, selection: Selection, folder: Path) -> Survey:
    """Read every file once: its digest, its keys and the shape of its values; ConfigError where they disagree."""
    seen = source.list_files(suffixes_of(selection))
    files = [PinnedFile(name=file.name, nbytes=file.nbytes, sha256=source.digest(file.name)) for file in seen]
    if not files:
        raise ConfigError(f"{source.uri} has no file of the format {selection.format}")
    if selection.format is SourceFormat.NPY_MATRIX:
        shape, keys = _survey_matrix(source, selection, files, folder)
    else:
        selection, shape, keys = _survey_files(source, selection, files, folder)
    _require_unique(keys)
    return Survey(selection=selection, shape=shape, keys=tuple(keys), files=tuple(files), stamps=stamps_of(seen))


def stamps_of(seen: Sequence[SeenFile]) -> dict[str, str]:
    """Return the stamps of a listing by name."""
    return {file.name: file.stamp for file in seen}


def read_rows(source: ExternalSource, pin: Pin, wanted: Container[str], folder: Path) -> Iterator[Row]:
    """Yield the wanted rows of a pin, each an array or the reason why there is none."""
    selection = pin.selection
    if selection.format is SourceFormat.NPY_MATRIX:
        yield from _read_matrix(source, pin, wanted, folder)
        return
    for file in pin.files:
        if selection.format is SourceFormat.NPY_FILES and npy.key_of_name(file.name, selection.key) not in wanted:
            continue
        with source.open_pinned(file, folder) as path:
            yield from _rows_of(path, file.name, selection, wanted)


def _rows_of(path: Path, name: str, selection: Selection, wanted: Container[str]) -> Iterator[Row]:
    if selection.format is SourceFormat.PARQUET:
        yield from parquet.read_rows(path, name, selection, wanted)
    elif selection.format is SourceFormat.WEBDATASET:
        members = tars.read_members(path, name, selection.columns[0])
        yield from ((key, _array_or_fault(data, f"{key} of {name}")) for key, data in members if key in wanted)
    else:
        key = npy.key_of_name(name, selection.key)
        assert key is not None, f"{name} was asked for by its key"
        yield key, _array_or_fault(path.read_bytes(), name)


def _array_or_fault(data: bytes, where: str) -> np.ndarray | SampleError:
    try:
        return npy.load_array(data, where)
    except SampleError as fault:
        return fault


def _survey_files(
    source: ExternalSource, selection: Selection, files: Sequence[PinnedFile], folder: Path
) -> tuple[Selection, Shape, list[str]]:
    keys: list[str] = []
    shape: Shape | None = None
    for file in files:
        try:
            with source.open_pinned(file, folder) as path:
                selection = _complete(path, file.name, selection)
                keys += _keys_of(path, file.name, selection)
                found = _shape_of(path, file.name, selection)
        except (ValueError, tarfile.TarError) as error:
            raise ConfigError(f"{file.name} cannot be read as {selection.format}: {error}") from error
        if shape and found and shape != found:
            raise ConfigError(f"{file.name} holds {found}, the files before it {shape}: one feature has one shape")
        shape = shape or found
    if shape is None:
        raise ConfigError(f"{source.uri} holds no value: nothing says what they look like")
    return selection, shape, keys


def _complete(path: Path, name: str, selection: Selection) -> Selection:
    """Name what the values are where the caller left it open and only one answer is possible."""
    if selection.format is SourceFormat.PARQUET:
        return parquet.complete_selection(path, name, selection)
    if selection.format is SourceFormat.WEBDATASET and not selection.columns:
        kinds = sorted(tars.array_kinds(path, name))
        if len(kinds) != 1:
            raise ConfigError(f"{name} has {len(kinds)} kinds of npy members: {kinds}. Name one with --column")
        return replace(selection, columns=(kinds[0],))
    return selection


def _keys_of(path: Path, name: str, selection: Selection) -> list[str]:
    if selection.format is SourceFormat.PARQUET:
        return list(parquet.read_keys(path, selection))
    if selection.format is SourceFormat.WEBDATASET:
        return list(tars.read_keys(path, name, selection.columns[0]))
    key = npy.key_of_name(name, selection.key)
    return [] if key is None else [key]


def _shape_of(path: Path, name: str, selection: Selection) -> Shape | None:
    if selection.format is SourceFormat.PARQUET:
        return parquet.read_shape(path, name, selection)
    if selection.format is SourceFormat.WEBDATASET:
        return tars.read_shape(path, name, selection.columns[0])
    return npy.read_file_shape(path, name) if npy.key_of_name(name, selection.key) is not None else None


def _survey_matrix(
    source: ExternalSource, selection: Selection, files: Sequence[PinnedFile], folder: Path
) -> tuple[Shape, list[str]]:
    matrix, named = _matrix_files(selection, files)
    with source.open_pinned(named, folder) as path:
        keys = npy.read_keys_file(path)
    with source.open_pinned(matrix, folder) as path:
        shape, rows = npy.read_matrix_shape(path, matrix.name)
    if rows != len(keys):
        raise ConfigError(f"{named.name} names {len(keys)} keys, but {matrix.name} has {rows} rows")
    return shape, keys


def _read_matrix(source: ExternalSource, pin: Pin, wanted: Container[str], folder: Path) -> Iterator[Row]:
    matrix, named = _matrix_files(pin.selection, pin.files)
    with source.open_pinned(named, folder) as path:
        keys = npy.read_keys_file(path)
    with source.open_pinned(matrix, folder) as path:
        yield from npy.read_matrix_rows(path, keys, wanted, pin.selection)


def _matrix_files(selection: Selection, files: Sequence[PinnedFile]) -> tuple[PinnedFile, PinnedFile]:
    """Return the matrix and the file of its keys."""
    named = [file for file in files if file.name == selection.keys_file]
    arrays = [file for file in files if file.name.endswith(npy.SUFFIXES)]
    if len(named) != 1 or len(arrays) != 1:
        names = ", ".join(file.name for file in files)
        raise ConfigError(f"one .npy file and {selection.keys_file!r} beside it are wanted; there are: {names}")
    return arrays[0], named[0]


def _require_unique(keys: Sequence[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ConfigError(f"their key {key!r} comes twice: which row is meant cannot be known")
        seen.add(key)
