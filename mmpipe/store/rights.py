"""Whose the raw files of a corpus are, and what may be done with what is made from them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json, make_directory, replace_durable
from mmpipe.store.layout import CLIPS, DatasetLayout, StoreLayout
from mmpipe.store.objects import stage_path

RIGHTS_NAME = "rights.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What the owner says of a corpus; "" where nothing was said."""

    owner: str = ""
    contact: str = ""
    licence: str = ""
    pii: str = "unknown"  # personal data in the raw files: yes, no, unknown
    consent: str = ""


def read_rights(dataset: DatasetLayout) -> Rights:
    """Return the rights of a dataset's corpus, as they were noted last; nothing said where none were."""
    path = dataset.root.parent / RIGHTS_NAME
    try:
        table = json.loads(path.read_bytes())
        return Rights(**{field.name: _text(table[field.name]) for field in fields(Rights)})
    except FileNotFoundError:
        return Rights()
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error!r}. Remove it; the next `mmpipe run` writes it again.") from error


def write_rights(layout: StoreLayout, corpus: str, rights: Rights) -> bool:
    """Note a corpus's rights beside its datasets; return whether that changed anything."""
    clips = layout.dataset(corpus, CLIPS)
    path, data = clips.root.parent / RIGHTS_NAME, canonical_json(asdict(rights))
    if data == (path.read_bytes() if path.exists() else canonical_json(asdict(Rights()))):
        return False
    make_directory(path.parent)
    replace_durable(path, data, stage_path(clips))
    return True


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
