"""Whose the raw files of a corpus are, and what may be done with what is made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json, make_directory, replace_durable
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.objects import stage_path

RIGHTS_NAME = "rights.json"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What the owner says of a corpus, or of one asset; "" where nothing was said."""

    owner: str = ""
    contact: str = ""
    licence: str = ""
    pii: str = UNKNOWN  # personal data in the raw files: yes, no, unknown
    consent: str = ""  # of a corpus its ground in words; of an asset yes, no, unknown where a column says so


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsCount:
    """How many live clips there are of each licence, and so on; a key of "" where nothing was said."""

    licence: Mapping[str, int] = field(default_factory=dict)
    pii: Mapping[str, int] = field(default_factory=dict)
    consent: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_mixed(self) -> bool:
        """Say whether clips differ: then a sentence on the whole corpus is not enough."""
        return any(len(found) > 1 for found in (self.licence, self.pii, self.consent))

    def sentence(self) -> str:
        """Say it in words: `1,430 clips CC-BY-4.0, 10 clips of unknown licence; 3 clips without consent`."""
        licences = sorted(self.licence.items(), key=lambda item: (-item[1], item[0]))
        parts = [", ".join(f"{_clips(count)} {name or 'of unknown licence'}" for name, count in licences)]
        if refused := self.consent.get("no", 0):
            parts.append(f"{_clips(refused)} without consent")
        if (unknown := sum(self.consent.get(name, 0) for name in ("", UNKNOWN))) and len(self.consent) > 1:
            parts.append(f"{_clips(unknown)} of unknown consent")
        if personal := self.pii.get("yes", 0):
            parts.append(f"{_clips(personal)} with personal data")
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedRights:
    """What stands beside the datasets of a corpus."""

    rights: Rights = field(default_factory=Rights)
    clips: RightsCount | None = None  # where the clips differ
    spread: str = ""  # digest of what was last carried to the assets
    due: bool = False  # the cards are not yet brought up: whoever did it was cut short


def read_rights(dataset: DatasetLayout) -> Rights:
    """Return the rights of a dataset's corpus, as they were noted last; nothing said where none were."""
    return read_noted(dataset).rights


def read_noted(dataset: DatasetLayout) -> NotedRights:
    """Return all that is noted of the rights of a dataset's corpus."""
    path = dataset.root.parent / RIGHTS_NAME
    try:
        table = json.loads(path.read_bytes())
        return NotedRights(
            rights=Rights(**{name.name: _text(table[name.name]) for name in fields(Rights)}),
            clips=RightsCount(**table["clips"]) if "clips" in table else None,
            spread=_text(table.get("spread", "")),
            due=table.get("due") is True,
        )
    except FileNotFoundError:
        return NotedRights()
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged: {error!r}. Remove it; the next `mmpipe ingest` writes it again."
        ) from error


def write_rights(layout: StoreLayout, corpus: str, rights: Rights) -> bool:
    """Note what is said of a corpus as a whole; return whether that changed anything."""
    return write_noted(layout, corpus, NotedRights(rights=rights))


def write_noted(layout: StoreLayout, corpus: str, noted: NotedRights) -> bool:
    """Note a corpus's rights beside its datasets; return whether that changed anything."""
    clips = layout.dataset(corpus, CLIPS)
    path, data = clips.root.parent / RIGHTS_NAME, _to_bytes(noted)
    if data == (path.read_bytes() if path.exists() else _to_bytes(NotedRights())):
        return False
    make_directory(path.parent)
    replace_durable(path, data, stage_path(clips))
    return True


def _to_bytes(noted: NotedRights) -> bytes:
    counts = {"clips": asdict(noted.clips)} if noted.clips else {}
    spread = {"spread": noted.spread} if noted.spread else {}
    due = {"due": True} if noted.due else {}
    return canonical_json({**asdict(noted.rights), **counts, **spread, **due})


def _clips(count: int) -> str:
    return f"{count:,} {'clip' if count == 1 else 'clips'}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
