"""Immutable versions of a model: a folder of files that its name and its SHA256SUMS pin down.

MODELS/NAME/versions/<n>-<digest8>/     n counts up; digest8 is the start of the sha256 of SHA256SUMS
    SHA256SUMS                          every other file; `sha256sum -c SHA256SUMS` checks it without mmpipe
    version.json                        status and recipe, no clock, no run
    (../../redacted/<n>-<digest8>.json  says so where something was forgotten out of it since)
    (../../signatures/<n>-<digest8>/    who vouches for it)
    ...                                 model.safetensors, config.json, README.md, metrics.json, ...
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from mmpipe.config import NAME_PATTERN
from mmpipe.errors import ConfigError, StoreError, TransientError
from mmpipe.io import (
    canonical_json,
    make_directory,
    replace_durable,
    sha256_file,
    sync_directory,
    sync_file,
    write_durable,
)
from mmpipe.registry.bucket import download_version, drop_downloaded, reserve_number, upload_version
from mmpipe.registry.redacted import VersionRedaction, write_version_redaction
from mmpipe.registry.sums import SUMS_NAME as SUMS_NAME
from mmpipe.registry.sums import read_checked, read_sums, sums_bytes, tampered
from mmpipe.remote import RemotePath

VERSION_NAME = "version.json"
FORMAT = 1
LOCK_WAIT_S = 60.0
_FOLDER = re.compile(r"^(?P<number>[1-9]\d*)-(?P<digest8>[0-9a-f]{8})$")
_FILE = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A published version; its content never changes, but for what is forgotten."""

    name: str  # of the model
    number: int
    digest: str  # sha256 of SHA256SUMS as it was published, and so of all content
    status: str  # "candidate" or "refused": what the gate said
    recipe_digest: str  # of everything that decided the training
    path: Path
    redaction: VersionRedaction | None = None  # what was forgotten out of it since

    @property
    def label(self) -> str:
        """Return the version's own name, as in `12-0a1b2c3d`."""
        return f"{self.number}-{self.digest[:8]}"

    def files(self) -> tuple[str, ...]:
        """Return the names of its files."""
        return tuple(sorted(read_sums(self.path, self.digest).now))

    def read(self, file: str) -> bytes:
        """Return a file's bytes, checked against SHA256SUMS."""
        return read_checked(self.path, read_sums(self.path, self.digest), file)


def publish_version(
    models_root: Path, name: str, files: Mapping[str, bytes | Path], *, status: str, recipe_digest: str
) -> Version:
    """Publish files as the model's next version, or return the version that already has this very content.

    The files are staged, made durable and put in place by one rename: a version is there whole, or not at all. In an
    object store it is there as soon as its SHA256SUMS is, which is put last.
    """
    _require_name(name)
    for file in files:
        _require_file_name(file)
    about = canonical_json({"format": FORMAT, "status": status, "recipe_digest": recipe_digest})
    if isinstance(models_root, RemotePath):
        return _publish_far(models_root / name, {**files, VERSION_NAME: about})
    folder = make_directory(models_root / name / "versions")
    with lock_model(models_root, name):
        staging = _fresh_staging(models_root / name)
        digest = _stage(staging, {**files, VERSION_NAME: about})
        if version := _find_content(name, folder, digest):
            shutil.rmtree(staging)
            return version
        number = 1 + max((int(match["number"]) for match in _folders(folder)), default=0)
        target = folder / f"{number}-{digest[:8]}"
        staging.rename(target)
        sync_directory(folder)
    return _open(name, target)


def list_models(models_root: Path) -> tuple[str, ...]:
    """Return the names of all models that have a version."""
    if not models_root.is_dir():
        return ()
    return tuple(sorted(path.name for path in models_root.iterdir() if any(_folders(path / "versions"))))


def list_versions(models_root: Path, name: str) -> tuple[Version, ...]:
    """Return the versions of a model, oldest first, without reading their large files."""
    folder = models_root / name / "versions"
    return tuple(_open(name, folder / match[0]) for match in sorted(_folders(folder), key=lambda m: int(m["number"])))


def list_versions_loosely(models_root: Path, name: str) -> Iterator[tuple[Path, Callable[[], Version]]]:
    """Yield each version's folder with the call that opens it, which raises where the version is damaged."""
    folder = models_root / name / "versions"
    for match in sorted(_folders(folder), key=lambda match: int(match["number"])):
        yield folder / match[0], partial(_open, name, folder / match[0])


def pick_version(models_root: Path, name: str, label: str) -> Version:
    """Return a version by its number or its label `n-digest8`."""
    folder = models_root / name / "versions"
    published = sorted(_folders(folder), key=lambda match: int(match["number"]))
    for match in published:
        if label in (match["number"], match[0]):
            return _open(name, folder / match[0])
    require_model(models_root, name)
    known = ", ".join(match[0] for match in published[-10:])
    raise ConfigError(f"{name} has no version {label!r}; the newest are: {known}. See all: mmpipe models ls {name}")


def require_model(models_root: Path, name: str) -> None:
    """Refuse a name under which nothing was ever published."""
    if not any(_folders(models_root / name / "versions")):
        known = ", ".join(list_models(models_root)) or "none"
        raise ConfigError(f"no model {name!r} in {models_root}; known models: {known}. Publish one: mmpipe publish")


def verify_version(version: Version) -> None:
    """Check every byte of a version, and that nothing was added; raise StoreError that names what differs."""
    verify_published(version)
    if extra := extra_files(version):
        raise tampered(version.path, f"{extra[0]} was not published with it")


def extra_files(version: Version) -> list[str]:
    """Return the files in a version's folder that were not published with it."""
    return sorted(_found_files(version) - set(read_sums(version.path, version.digest).now) - {SUMS_NAME})


def verify_published(version: Version) -> None:
    """Check every byte of what was published; raise StoreError that names what differs."""
    sums = read_sums(version.path, version.digest)
    found = _found_files(version)
    for file in sorted(sums.now):
        if file not in found:
            raise tampered(version.path, f"{file} is missing")
        path = version.path / file
        if path.is_symlink() or not sums.has(file, sha256_file(path)):
            raise tampered(version.path, f"{file} has other content than published")
    if sums.redaction and sums.redaction.pending:
        raise StoreError(f"a redaction of {version.path} was cut short. Run the same `mmpipe forget` again.")


def _found_files(version: Version) -> set[str]:
    return {path.relative_to(version.path).as_posix() for path in version.path.rglob("*") if not path.is_dir()}


def require_whole(version: Version) -> None:
    """Check every byte of a version before it is used; of one in an object store, those that were fetched."""
    if isinstance(version.path, RemotePath):
        local_version(version)
    else:
        verify_version(version)


def local_version(version: Version) -> Path:
    """Return a folder of this machine with the files of a version; fetched ones are checked against SHA256SUMS."""
    if not isinstance(version.path, RemotePath):
        return version.path
    sums = read_sums(version.path, version.digest)
    folder, fault = download_version(version.path, sums.digest, sums.now, SUMS_NAME)
    if fault:
        raise tampered(version.path, fault)
    return folder


def redact_version(version: Version, changes: Mapping[str, bytes], assets: Sequence[str], reason: str) -> None:
    """Put other bytes in place of some files of a version, out of which something was forgotten, with new sums.

    What is read meanwhile is either as before or as after. One that was cut short is finished by the next, with the
    changes that are left.
    """
    sums = read_sums(version.path, version.digest)
    before = sums.redaction
    if not changes and not (before and before.pending):
        return
    new = sums_bytes({**sums.now, **{name: hashlib.sha256(data).hexdigest() for name, data in changes.items()}})
    after = hashlib.sha256(new).hexdigest()
    redaction = VersionRedaction(
        published=version.digest,
        sums=(after,),
        assets=tuple(sorted({*(before.assets if before else ()), *assets})),
        reasons=tuple(sorted({*(before.reasons if before else ()), reason})),
    )
    pending = {name: sha256_file(version.path / name) for name in changes}
    under_way = replace(redaction, sums=tuple(sorted({sums.digest, after})), pending=pending)
    staging = version.path.parent.parent / ".staging"
    with lock_model(version.path.parent.parent.parent, version.name):
        write_version_redaction(version.path, under_way)
        if not isinstance(staging, RemotePath):
            make_directory(staging)
        for file, data in ((SUMS_NAME, new), *sorted(changes.items())):
            replace_durable(version.path / file, data, staging / uuid.uuid4().hex)
        drop_downloaded({version.digest, *under_way.sums} - {after})
        write_version_redaction(version.path, redaction)


def drop_unpublished(models_root: Path) -> None:
    """Remove what killed publications have left."""
    for staging in [] if isinstance(models_root, RemotePath) else sorted(models_root.glob("*/.staging")):
        with lock_model(models_root, staging.parent.name):
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def lock_model(models_root: Path, name: str, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the one lock of a model; it is free again as soon as its holder ends, however that ends.

    In an object store there is none, and none is needed: each change is one object that one creator wins.
    """
    if isinstance(models_root, RemotePath):
        yield
        return
    path = make_directory(models_root / name) / ".lock"
    try:
        with FileLock(path, timeout=wait_s):
            yield
    except Timeout as error:
        raise TransientError(
            f"another process has been changing the model {name} for {wait_s:.0f} s ({path}); try again"
        ) from error


# --------------------------------------------------------------------------- writing


def _publish_far(model: RemotePath, files: Mapping[str, bytes | Path]) -> Version:
    folder = model / "versions"
    with tempfile.TemporaryDirectory(prefix="mmpipe-publish-") as staging:
        digest = _stage(Path(staging), files)
        if version := _find_content(model.name, folder, digest):
            return version
        number = reserve_number(model, digest, [int(match["number"]) for match in _folders(folder)])
        target = folder / f"{number}-{digest[:8]}"
        upload_version(Path(staging), target, SUMS_NAME)
    return _open(model.name, target)


def _find_content(name: str, folder: Path, digest: str) -> Version | None:
    """Return the version that has this very content already."""
    for match in _folders(folder):
        if match["digest8"] == digest[:8] and (version := _open(name, folder / match[0])).digest == digest:
            return version
    return None


def _fresh_staging(model: Path) -> Path:
    """Return an empty staging folder; others there were left by killed processes, as we hold the lock."""
    shutil.rmtree(model / ".staging", ignore_errors=True)
    return make_directory(model / ".staging" / uuid.uuid4().hex)


def _stage(staging: Path, files: Mapping[str, bytes | Path]) -> str:
    """Write files and their sums durably; return the sha256 of the sums."""
    found = {}
    for file in sorted(files):
        target = staging / file
        target.parent.mkdir(parents=True, exist_ok=True)
        source = files[file]
        if isinstance(source, Path):
            shutil.copyfile(source, target)
            sync_file(target)
        else:
            write_durable(target, source)
        found[file] = sha256_file(target)
    sums = sums_bytes(found)
    write_durable(staging / SUMS_NAME, sums)
    for folder, _, _ in os.walk(staging):
        sync_directory(Path(folder))
    return hashlib.sha256(sums).hexdigest()


def _require_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"{name!r} cannot name a model: lower-case letters, digits, - and _, at most 63 of them")


def _require_file_name(file: str) -> None:
    if not _FILE.fullmatch(file) or ".." in PurePosixPath(file).parts or file in (SUMS_NAME, VERSION_NAME):
        raise ValueError(f"{file!r} cannot be a file of a version: a plain relative name, not {SUMS_NAME}")


# --------------------------------------------------------------------------- reading


def _folders(folder: Path) -> Iterator[re.Match[str]]:
    """Yield the names of published versions; one in an object store is being put until its sums are there."""
    if isinstance(folder, RemotePath):
        found = (_FOLDER.match(path.parent.name) for path in folder.glob(f"*/{SUMS_NAME}"))
        yield from (match for match in found if match)
    elif folder.is_dir():
        for path in folder.iterdir():
            if match := _FOLDER.match(path.name):
                yield match


def _open(name: str, path: Path) -> Version:
    number, digest8 = path.name.split("-")
    sums = read_sums(path, digest8)
    about = json.loads(read_checked(path, sums, VERSION_NAME))
    if about["format"] != FORMAT:
        raise ConfigError(f"{path} has format {about['format']}, this mmpipe reads {FORMAT}; use a newer mmpipe")
    return Version(
        name=name,
        number=int(number),
        digest=sums.redaction.published if sums.redaction else sums.digest,
        status=about["status"],
        recipe_digest=about["recipe_digest"],
        path=path,
        redaction=sums.redaction,
    )
