"""What the registry does otherwise in an object store: no lock, no rename, no appending, but one creator of a name.

MODELS/NAME/numbers/3.json          who may use the number 3: the digest of one content, put-if-absent
MODELS/NAME/versions/3-0a1b2c3d/    there as soon as its SHA256SUMS is, which is put last
MODELS/NAME/events/000001.json      one move each, put-if-absent: the highest says where the aliases point
MODELS/NAME/aliases.json, events.jsonl    a view of the moves, as in a folder: for other tools and for copies
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json, list_names, make_directory, put_if_absent, sha256_file
from mmpipe.registry.moves import Aliases, Move, aliases_after, aliases_from_bytes, aliases_to_bytes, line_of, move_of
from mmpipe.remote import RemotePath, cache_root, create, download, put

_EVENT = re.compile(r"(\d{6})\.json")
_NUMBER = re.compile(r"([1-9]\d*)\.json")


# --------------------------------------------------------------------------- versions


def reserve_number(model: RemotePath, digest: str, published: Sequence[int]) -> int:
    """Return the number under which a content may be published: nobody else gets it, whoever publishes now.

    A number that a killed publication of the same content has left is used again; one of another content is lost.
    """
    folder = model / "numbers"
    taken = sorted(int(match[1]) for name in list_names(folder) if (match := _NUMBER.fullmatch(name)))
    for number in taken:
        if number not in published and _digest_of(folder, number) == digest:
            return number
    number = max([*taken, *published], default=0) + 1
    while not create(folder / f"{number}.json", canonical_json({"digest": digest})):
        if _digest_of(folder, number) == digest:
            return number
        number += 1
    return number


def upload_version(staging: Path, target: RemotePath, last: str) -> None:
    """Put the files of a staged version in their place; `last` is the one that makes them a version."""
    files = [path for path in sorted(staging.rglob("*")) if path.is_file() and path.name != last]
    for path in [*files, staging / last]:
        put_if_absent(path, target / path.relative_to(staging).as_posix())


def download_version(path: RemotePath, digest: str, sums: Mapping[str, str], last: str) -> tuple[Path, str]:
    """Return a folder of this machine with the files of a version, and the first one that is not as published.

    A folder that is there already is looked at anew, and fetched anew where it was changed.
    """
    target = cache_root() / "models" / digest
    if target.is_dir():
        if not _first_fault(target, sums, digest, last):
            return target, ""
        shutil.rmtree(target)
    staging = make_directory(cache_root() / "models" / f".{uuid.uuid4().hex}")
    try:
        for file in [*sums, last]:
            make_directory((staging / file).parent)
            download(RemotePath(path / file), staging / file)
        if fault := _first_fault(staging, sums, digest, last):
            return staging, fault
        try:
            os.rename(staging, target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise
        return target, ""
    except FileNotFoundError as error:
        return staging, f"a file is missing: {error}"
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def drop_downloaded(digests: Iterable[str]) -> None:
    """Remove this machine's copies of versions out of which something was forgotten."""
    for digest in digests:
        shutil.rmtree(cache_root() / "models" / digest, ignore_errors=True)


def _first_fault(folder: Path, sums: Mapping[str, str], digest: str, last: str) -> str:
    for file, sha256 in [*sums.items(), (last, digest)]:
        path = folder / file
        if not path.is_file() or path.is_symlink() or sha256_file(path) != sha256:
            return f"{file} has other content than published"
    return ""


def _digest_of(folder: RemotePath, number: int) -> str:
    path = folder / f"{number}.json"
    try:
        return str(json.loads(path.read_bytes())["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Remove it: the next version takes another number.") from error


# --------------------------------------------------------------------------- moves


def event_numbers(model: RemotePath) -> tuple[int, ...]:
    """Return the numbers of a model's moves, lowest first."""
    names = list_names(model / "events")
    return tuple(sorted(int(match[1]) for name in names if (match := _EVENT.fullmatch(name))))


def event_path(model: RemotePath, number: int) -> RemotePath:
    """Return where a move lies."""
    return RemotePath(model / "events" / f"{number:06d}.json")


def read_far_aliases(model: RemotePath) -> Aliases:
    """Return where the names point: after the last move, or as in the folder that was copied into the bucket."""
    numbers = event_numbers(model)
    path = event_path(model, numbers[-1]) if numbers else model / "aliases.json"
    try:
        data = path.read_bytes()
        return aliases_after(move_of(data)) if numbers else aliases_from_bytes(data)
    except FileNotFoundError:
        return Aliases()
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Bring it back from a copy of the store.") from error


def read_far_lines(model: RemotePath) -> tuple[bytes, ...]:
    """Return the log, one line per move, oldest first."""
    numbers = event_numbers(model)
    path = model / "events.jsonl"
    before = path.read_bytes().splitlines() if path.is_file() and numbers[:1] != (1,) else []
    copied = [line for line in before if not numbers or json.loads(line)["revision"] < numbers[0]]
    return (*copied, *(event_path(model, number).read_bytes().rstrip(b"\n") for number in numbers))


def add_move(model: RemotePath, move: Move, when: str) -> bool:
    """Make a move; return False, changing nothing, where somebody made another one first."""
    return create(event_path(model, move.revision), line_of(move, when))


def show_moves(model: RemotePath) -> None:
    """Bring aliases.json and events.jsonl up to the moves; whoever moves meanwhile does so after."""
    shown = 0
    while (aliases := read_far_aliases(model)).revision > shown and aliases.last_move is not None:
        put(RemotePath(model / "events.jsonl"), b"".join(line + b"\n" for line in read_far_lines(model)))
        put(RemotePath(model / "aliases.json"), aliases_to_bytes(aliases.last_move))
        shown = aliases.revision
