"""A notice that a feature will go away: what to use, until when it stays, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from mmpipe.errors import StoreError
from mmpipe.io import canonical_json, remove_file, replace_durable
from mmpipe.store.layout import DatasetLayout, check_partition
from mmpipe.store.objects import stage_path

DEPRECATION_NAME = "deprecation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """The notice; the feature's bytes stay as they are."""

    use: str  # the feature that takes its place
    until: str  # a date: not removed before it
    reason: str

    def sentence(self, feature: str) -> str:
        """Return the notice for a person."""
        return (
            f"{feature} is deprecated: {self.reason.rstrip('.')}. Use {self.use}; {feature} stays until {self.until}."
        )


def read_deprecation(dataset: DatasetLayout) -> Deprecation | None:
    """Return a feature's notice, or None where there is none."""
    path = dataset.root / DEPRECATION_NAME
    try:
        table = json.loads(path.read_bytes())
        return Deprecation(use=str(table["use"]), until=check_partition(str(table["until"])), reason=table["reason"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error!r}. Remove it, and deprecate the feature again.") from error


def write_deprecation(dataset: DatasetLayout, notice: Deprecation | None) -> None:
    """Put a notice on a feature, or with None take it back."""
    path = dataset.root / DEPRECATION_NAME
    if notice is None:
        remove_file(path)
        return
    check_partition(notice.until)
    replace_durable(path, canonical_json(asdict(notice)), stage_path(dataset))
