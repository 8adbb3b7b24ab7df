"""Where everything lies in a store.

STORE/format.json                         version of this layout
STORE/CORPUS/DATASET/_meta/dt=D/000003.json   manifests, put-if-absent; the highest number is the head
STORE/CORPUS/DATASET/objects/ab/<sha256>      immutable bytes
STORE/CORPUS/DATASET/data/dt=D/000000.tar     a view of the head for other tools
STORE/CORPUS/DATASET/index/dt=D/000000.parquet
STORE/snapshots  STORE/checkpoints  STORE/models/NAME  STORE/reports
STORE/_audit/  _indexes/  _runs/  _leases/  _staging/  _mirror/

Of a store at a URL such as s3://bucket/prefix, what needs a file system stays on the machine that works on it, in
`StoreLayout.local`: checkpoints, reports, _indexes, _runs, _staging and _mirror. All that readers and users of models
need is remote.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mmpipe.errors import ConfigError, StoreError
from mmpipe.io import canonical_json, put_if_absent, remove_file, require_writable, write_durable
from mmpipe.remote import RemotePath, local_home
from mmpipe.types import PARTITION_PATTERN

FORMAT_VERSION = 2  # of the layout; files name their own format
FIRST_VERSION = 1
CLIPS = "clips"
ASSETS = "assets"
QUARANTINE = "quarantine"
TOMBSTONES = "tombstones"
ADMITTED = "admitted"
SIGNALS = "signals"
SURVEYS = "surveys"
PRINTS = "prints"
BANKS = "banks"


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """Every path of a store, from its root."""

    root: Path

    def dataset(self, corpus: str, name: str) -> DatasetLayout:
        """Return the paths of one dataset: `clips`, `assets`, `quarantine` or a feature such as `audio-logmel@1`."""
        return DatasetLayout(root=self.root / corpus / name, corpus=corpus, name=name)

    def dataset_names(self, corpus: str) -> tuple[str, ...]:
        """Return the datasets of a corpus that have at least one manifest folder."""
        return tuple(sorted(path.parent.name for path in (self.root / corpus).glob("*/_meta")))

    def feature_names(self, corpus: str) -> tuple[str, ...]:
        """Return the features of a corpus, as `NAME@VERSION`: what has a commit and is no table of mmpipe's own."""
        names = (name for name in self.dataset_names(corpus) if "@" in name)
        return tuple(name for name in names if any((self.root / corpus / name / "_meta").glob("dt=*")))

    def corpora(self) -> tuple[str, ...]:
        """Return the corpora that were ever ingested."""
        return tuple(sorted(path.parent.name for path in self.root.glob(f"*/{CLIPS}") if path.parent.name[0] != "_"))

    @property
    def local(self) -> Path:
        """Return the folder of what stays on this machine: the store itself, unless it is remote."""
        return local_home(self.root) if isinstance(self.root, RemotePath) else self.root

    @property
    def format_file(self) -> Path:
        """Return the file that names the layout's version."""
        return self.root / "format.json"

    @property
    def snapshots(self) -> Path:
        """Return the folder of snapshots."""
        return self.root / "snapshots"

    @property
    def checkpoints(self) -> Path:
        """Return the folder of training checkpoints."""
        return self.local / "checkpoints"

    @property
    def models(self) -> Path:
        """Return the folder of published models."""
        return self.root / "models"

    @property
    def reports(self) -> Path:
        """Return the folder of HTML reports."""
        return self.local / "reports"

    @property
    def indexes(self) -> Path:
        """Return the folder of indexes that searches made: on this machine, where they are mapped."""
        return self.local / "_indexes"

    @property
    def runs(self) -> Path:
        """Return the folder of run records: the only place with clock times and run ids."""
        return self.local / "_runs"

    @property
    def leases(self) -> Path:
        """Return the folder of leases."""
        return self.root / "_leases"

    @property
    def audit(self) -> Path:
        """Return the folder of the audit log: who forgot, promoted or collected what, and why."""
        return self.root / "_audit"

    @property
    def staging(self) -> Path:
        """Return the folder of unfinished work; no reader ever looks here."""
        return self.local / "_staging"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetLayout:
    """Every path of one dataset."""

    root: Path
    corpus: str
    name: str

    def meta(self, partition: str) -> Path:
        """Return the folder of a partition's manifests."""
        return self.root / "_meta" / f"dt={check_partition(partition)}"

    def data(self, partition: str) -> Path:
        """Return the folder of a partition's data view."""
        return self.root / "data" / f"dt={check_partition(partition)}"

    def index(self, partition: str) -> Path:
        """Return the folder of a partition's index view."""
        return self.root / "index" / f"dt={check_partition(partition)}"

    def object(self, sha256: str) -> Path:
        """Return the path of an immutable object."""
        return self.root / "objects" / sha256[:2] / sha256

    @property
    def is_feature(self) -> bool:
        """Say whether this holds values of clips, and not one of mmpipe's own tables."""
        return "@" in self.name

    @property
    def staging(self) -> Path:
        """Return the store's folder of unfinished work: on the same file system, so that links reach."""
        return StoreLayout(self.root.parent.parent).staging

    def partitions(self) -> tuple[str, ...]:
        """Return the partitions that have a manifest folder, oldest first."""
        return tuple(sorted(path.name.removeprefix("dt=") for path in (self.root / "_meta").glob("dt=*")))


def check_partition(partition: str) -> str:
    """Return a partition's date, or refuse what is no day of the calendar."""
    try:
        if PARTITION_PATTERN.fullmatch(partition):
            date.fromisoformat(partition)
            return partition
        why = ""
    except ValueError as error:
        why = f": {error}"
    raise ConfigError(f"a partition is a date like 2026-11-20, got {partition!r}{why}")


def open_store(root: Path, *, to_write: bool = False) -> StoreLayout:
    """Open an existing store; refuse one of a newer layout, and to write one of an older too."""
    layout = StoreLayout(root)
    if to_write:
        require_current(layout)
    else:
        layout_version(layout)
    return layout


def layout_version(layout: StoreLayout) -> int:
    """Return the version of a store's layout; refuse one that this mmpipe does not know."""
    try:
        version = json.loads(layout.format_file.read_bytes())["format"]
    except (FileNotFoundError, NotADirectoryError) as error:
        require_no_datasets(layout)
        raise ConfigError(f"no store at {layout.root}: it has no format.json. `mmpipe run` makes one.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{layout.format_file} is damaged: {error}") from error
    if not isinstance(version, int) or version < FIRST_VERSION:
        raise StoreError(f"{layout.format_file} is damaged: {version!r} is no version of a layout")
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"the store at {layout.root} has layout version {version}, this mmpipe knows {FIRST_VERSION} to "
            f"{FORMAT_VERSION}. Upgrade mmpipe."
        )
    return version


def require_current(layout: StoreLayout) -> None:
    """Refuse to write into a store of an older layout: two layouts would stand in it side by side."""
    version = layout_version(layout)
    if version < FORMAT_VERSION:
        raise ConfigError(
            f"the store at {layout.root} has layout version {version}; this mmpipe reads it, and writes "
            f"{FORMAT_VERSION}. Bring it up first: mmpipe migrate (look before: mmpipe migrate --dry-run)"
        )


def create_store(root: Path) -> StoreLayout:
    """Open a store for writing, and make it first where there is none."""
    layout = StoreLayout(root)
    if layout.format_file.exists():
        return open_store(root, to_write=True)
    require_no_datasets(layout)
    require_writable(layout.staging)
    if isinstance(root, RemotePath):
        require_writable(root)
    temporary = layout.staging / f"format-{uuid.uuid4().hex}"  # two may make the same store at once
    write_durable(temporary, format_bytes())
    put_if_absent(temporary, layout.format_file)
    remove_file(temporary)
    return open_store(root, to_write=True)


def require_no_datasets(layout: StoreLayout) -> None:
    """Refuse a folder that holds datasets and does not say of which layout: it is a store that lost its format.json."""
    lost = sorted({path.parent.parent.name for path in layout.root.glob("*/*/_meta")})
    if lost and not layout.format_file.exists():  # somebody may just have made it: it is there before any dataset
        raise StoreError(
            f"format_damaged: {layout.root} holds {', '.join(lost)}, but its format.json is gone. "
            "`mmpipe verify --repair` writes it again, with the version that the tables tell of."
        )


def format_bytes(version: int = FORMAT_VERSION) -> bytes:
    """Return what format.json holds."""
    return canonical_json({"format": version})
