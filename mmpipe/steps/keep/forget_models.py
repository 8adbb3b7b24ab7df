"""Take something out of what trainings and releases keep: names, digests and answers go, the weights stay."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

from mmpipe.errors import StoreError, TransientError
from mmpipe.evaluate.answers.files import drop_keys
from mmpipe.io import StorePath, canonical_json, remove_file, replace_bytes
from mmpipe.registry.versions import Version, redact_version
from mmpipe.steps.ground.retention import CHECKPOINT_NAME
from mmpipe.steps.ground.seal import SUMS_NAME, read_sums
from mmpipe.steps.keep.forget_order import ForgetOrder
from mmpipe.store.layout import StoreLayout
from mmpipe.store.lease import find_holder

_REDACTED = "redacted"
_TITLE = "## Redacted"
_PARQUET = b"PAR1"
_NOTE = f"""
{_TITLE}

Something that this version was trained on was forgotten since. Its names, digests and answers were taken out of the
files of this folder, and the sums were made anew; the weights are those that learnt from it. Train and release again.
"""


def redact_release(version: Version, order: ForgetOrder) -> None:
    """Put files without it in place of those of a version that speak of it."""
    redact_version(version, dict(version_changes(version, order)), order.subjects, order.reason)


def version_changes(version: Version, order: ForgetOrder) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a version that speak of it, with the bytes that take their place; () where it is done."""
    lineage = json.loads(version.read("lineage.json"))
    found = []
    for name in version.files():
        if name == "lineage.json":
            data: bytes | None = _without_names(lineage, order)
        elif name.endswith(".parquet"):
            data = _without_rows(version.read(name), order)
        elif name in ("verdict.json", "metrics.json", "README.md"):
            data = _without_digests(version.read(name), order)
        else:
            continue
        if data is not None:
            found.append((name, data))
    if not (found or (version.redaction and version.redaction.pending)):
        return
    marked = dict(found)
    marked.setdefault("lineage.json", canonical_json(_marked(lineage, order)))
    if "README.md" in version.files():
        card = marked.get("README.md", version.read("README.md"))
        marked["README.md"] = card if _TITLE.encode() in card else card + _NOTE.encode()
    yield from ((name, data) for name, data in sorted(marked.items()) if data != version.read(name))


def _without_names(lineage: dict[str, Any], order: ForgetOrder) -> bytes | None:
    files, digests = set(order.files), set(order.file_digests)
    before = lineage.get("raw_files", [])
    after = [file for file in before if file.get("name") not in files and file.get("sha256") not in digests]
    return canonical_json({**_marked(lineage, order), "raw_files": after}) if after != before else None


def _marked(lineage: dict[str, Any], order: ForgetOrder) -> dict[str, Any]:
    """Return a lineage that says who is no longer in it, by digest."""
    return {**lineage, _REDACTED: sorted({*lineage.get(_REDACTED, ()), *order.subjects})}


def _without_rows(data: bytes, order: ForgetOrder) -> bytes | None:
    return drop_keys(data, order.keys)


def _without_digests(data: bytes, order: ForgetOrder) -> bytes | None:
    """Return a text without keys and digests, which stand nowhere but for themselves; None where it has none."""
    texts = {*order.keys, *order.asset_ids, *order.streams, *(digest[:24] for digest in order.streams)}
    texts |= set(order.file_digests)
    if not texts:
        return None
    pattern = b"|".join(re.escape(text.encode()) for text in sorted(texts, key=lambda text: (-len(text), text)))
    after = re.sub(pattern, _REDACTED.encode(), data)
    return after if after != data else None


# --------------------------------------------------------------------------- trainings


def require_no_training(layout: StoreLayout) -> None:
    """Refuse to begin while a training runs: it would write down afterwards what it has read before."""
    for folder in _folders(layout):
        if who := find_holder(layout, f"train-{folder.name}"):
            raise TransientError(f"the training {folder.name} is running ({who}). Stop it, or wait for it; run again.")


def unfinished_trainings(layout: StoreLayout, order: ForgetOrder) -> tuple[StorePath, ...]:
    """Return the trainings that were cut short and have answers about it."""
    keys = [key.encode() for key in order.keys]
    return tuple(
        folder
        for folder in _folders(layout)
        if not (folder / CHECKPOINT_NAME).is_file()
        and any(_speaks(path, order, keys) for path in sorted(folder.rglob("*")) if path.is_file())
    )


def drop_training(folder: StorePath) -> None:
    """Remove a training that was cut short: another one starts from what is left."""
    shutil.rmtree(folder)


def redact_checkpoint(folder: StorePath, order: ForgetOrder) -> None:
    """Take the answers about it out of a finished training; the seal says what is to be there before it is."""
    for path in sorted(folder.rglob(".*")):
        if path.is_file():
            remove_file(path)  # an unfinished name of a process that was killed
    changes = dict(checkpoint_changes(folder, order))
    if changes and (folder / SUMS_NAME).is_file():
        sums = {**read_sums(folder), **{name: hashlib.sha256(data).hexdigest() for name, data in changes.items()}}
        lines = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
        replace_bytes(folder / SUMS_NAME, lines.encode())
    for name, data in changes.items():
        replace_bytes(folder / name, data)


def checkpoint_changes(folder: StorePath, order: ForgetOrder) -> Iterator[tuple[str, bytes]]:
    """Yield the files of answers about it, with the bytes that take their place."""
    for path in sorted(folder.rglob("*.parquet")):
        try:
            data = _without_rows(path.read_bytes(), order)
        except StoreError as error:
            raise StoreError(f"{path} is damaged: {error}. Remove the folder {folder}; run the same again.") from error
        if data is not None:
            yield path.relative_to(folder).as_posix(), data


def _speaks(path: StorePath, order: ForgetOrder, keys: Iterable[bytes]) -> bool:
    data = path.read_bytes()
    if data[:4] != _PARQUET:
        return any(key in data for key in keys)
    try:
        return _without_rows(data, order) is not None
    except StoreError:
        return True  # cut short: what it holds cannot be told


def _folders(layout: StoreLayout) -> list[StorePath]:
    return [path for path in sorted(layout.checkpoints.glob("*")) if path.is_dir()]
