"""Take in a dataset that another team publishes: register it, say how it stands, and take over what they changed.

Registering reads every file of theirs once and pins it by digest; the values are copied by the next extraction.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmpipe.config import NAME_PATTERN, Config
from mmpipe.errors import ConfigError
from mmpipe.external.dataset import Survey, guess_selection, survey
from mmpipe.external.match import Match, check_pattern, choose_match, match_keys
from mmpipe.external.pin import MatchBy, MatchRule, Pin
from mmpipe.external.source import ExternalSource, clean_uri
from mmpipe.features.extractor import feature_name
from mmpipe.features.registry import extractor_names
from mmpipe.io import make_directory
from mmpipe.steps.plan.external_pins import (
    VERSION,
    StoredPin,
    drift_of,
    newest_pin,
    note_stamps,
    put_pin,
    registered_names,
    schema_of,
)
from mmpipe.steps.plan.feature_set import resolve_features
from mmpipe.steps.plan.inputs import STREAM_COLUMNS
from mmpipe.steps.share.external_shards import clip_names
from mmpipe.store.audit import append_event
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.revisions import read_head
from mmpipe.store.schema import SCHEMA_NAME, freeze_schema
from mmpipe.store.spine import read_spine
from mmpipe.types import FeatureKind, Modality

_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFeature:
    """What a person says of a dataset of another team; what is left open is found out."""

    name: str
    uri: str
    key: str = ""
    columns: tuple[str, ...] = ()
    keys_file: str = ""
    match: MatchBy | None = None
    match_pattern: str = ""
    modality: Modality | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinReport:
    """What was pinned, or would be, and how their keys meet our clips."""

    number: int
    pin: Pin
    match: Match
    is_new: bool  # False: theirs is what the newest pin says already
    changed: tuple[str, ...] = ()  # files that differ from the pin before

    def table(self) -> list[dict[str, Any]]:
        """Return one row per fact."""
        pin, match = self.pin, self.match
        shape = f"[{pin.shape.dim}]" if pin.shape.kind is FeatureKind.VECTOR else f"[T, {pin.shape.dim}]"
        rounded = f", rounded from {pin.shape.dtype}" if pin.shape.is_rounded else ""
        facts = {
            "feature": pin.feature,
            "pin": f"{self.number} {pin.digest[:12]}" + ("" if self.is_new else " (as before)"),
            "from": pin.uri,
            "format": str(pin.selection.format),
            "values": f"{pin.modality} {shape} float32{rounded}",
            "files": f"{len(pin.files)}, {sum(pin.sizes.values())} bytes",
            "changed files": _examples(self.changed),
            "rows": pin.rows,
            "matched by": f"{pin.match.by}" + (f" through {pin.match.pattern}" if pin.match.pattern else ""),
            "clips with a row": len(match.rows),
            "recordings without": _examples(match.clips_without),
            "their keys without a clip": _examples(match.keys_without),
            "ambiguous keys": _examples(match.ambiguous),
        }
        return [{"what": what, "value": value} for what, value in facts.items()]


def add_feature(config: Config, corpus: str, new: NewFeature, *, dry_run: bool = False) -> PinReport:
    """Pin a dataset of another team as a feature of a corpus; with `dry_run` only say what that would be."""
    layout = open_store(config.store, to_write=not dry_run)
    _check_name(layout, corpus, new.name)
    source = ExternalSource(clean_uri(new.uri))
    with tempfile.TemporaryDirectory(dir=make_directory(layout.staging), prefix="external-") as folder:
        found = survey(source, guess_selection(source, new.key, new.columns, new.keys_file), Path(folder))
    pin = Pin(
        feature=f"{new.name}@{VERSION}",
        uri=source.uri,
        selection=found.selection,
        match=_match_rule(layout, corpus, new, found),
        modality=new.modality or _only_modality(layout, corpus),
        shape=found.shape,
        rows=len(found.keys),
        files=found.files,
    )
    return _pin(layout, corpus, StoredPin(number=1, pin=pin), found, new.reason, dry_run)


def refresh_feature(config: Config, corpus: str, name: str, reason: str = "", *, dry_run: bool = False) -> PinReport:
    """Pin what the other team publishes now, read and matched as before: every clip's value becomes due again.

    ConfigError where the shape is another: that is another feature, under another name.
    """
    layout = open_store(config.store, to_write=not dry_run)
    stored = newest_pin(layout, corpus, name)
    if stored is None:
        known = ", ".join(registered_names(layout, corpus)) or "none"
        raise ConfigError(f"no dataset of another team is registered as {name!r} for {corpus!r}; there are: {known}")
    pin = stored.pin
    source = ExternalSource(pin.uri)
    with tempfile.TemporaryDirectory(dir=make_directory(layout.staging), prefix="external-") as folder:
        found = survey(source, pin.selection, Path(folder))
    if (found.shape.kind, found.shape.dim) != (pin.shape.kind, pin.shape.dim):
        raise ConfigError(
            f"{pin.feature} is pinned as {pin.shape}, theirs gives {found.shape} now. The shape of a feature is fixed: "
            "register it under another name with: mmpipe feature add"
        )
    following = replace(pin, shape=found.shape, rows=len(found.keys), files=found.files)
    if following.digest == pin.digest:
        if not dry_run:
            note_stamps(layout, corpus, stored, found.stamps)
        return PinReport(number=stored.number, pin=pin, match=_matched(layout, corpus, pin, found), is_new=False)
    before, after = set(pin.files), set(following.files)
    changed = tuple(sorted({file.name for file in before ^ after}))
    return _pin(layout, corpus, StoredPin(number=stored.number + 1, pin=following), found, reason, dry_run, changed)


def list_features(config: Config, corpus: str) -> list[dict[str, Any]]:
    """Return one row per feature of a corpus: where it comes from, its pin, its clips, and how it stands."""
    layout = StoreLayout(config.store)
    wanted = {feature_name(extractor) for extractor in resolve_features(config, corpus)}
    registered = {f"{name}@{VERSION}": newest_pin(layout, corpus, name) for name in registered_names(layout, corpus)}
    names = sorted({*wanted, *registered, *layout.feature_names(corpus)})
    clips = read_spine(layout, corpus).height
    return [_feature_row(layout, corpus, name, registered.get(name), clips, name in wanted) for name in names]


def _feature_row(
    layout: StoreLayout, corpus: str, feature: str, stored: StoredPin | None, clips: int, is_wanted: bool
) -> dict[str, Any]:
    dataset = layout.dataset(corpus, feature)
    heads = [head for partition in dataset.partitions() if (head := read_head(dataset, partition))]
    if stored:
        heads = [head for head in heads if head.fingerprint == stored.pin.digest]
    counts = {
        what: sum(getattr(shard, what) for head in heads for shard in head.shards)
        for what in ("samples", "absent", "quarantined", "spine")
    }
    waiting = clips - counts["spine"]
    drift = drift_of(layout, corpus, stored) if stored else None
    return {
        "feature": feature,
        "origin": stored.pin.uri if stored else "ours",
        "pin": stored.number if stored else "",
        "rows": stored.pin.rows if stored else "",
        "matched": counts["samples"] + counts["quarantined"],
        "unmatched": counts["absent"],
        "quarantined": counts["quarantined"],
        "waiting": waiting,
        "state": _state(feature.rpartition("@")[0], drift, waiting, is_wanted),
    }


def _state(name: str, drift: Any, waiting: int, is_wanted: bool) -> str:
    """Say how a feature stands, and what to do about it."""
    if drift and drift.is_gone:
        return f"theirs is gone, what is copied stays usable: {drift.detail}"
    if drift:
        return f"stale: theirs changed since it was pinned: {drift.detail}; take it over: mmpipe feature refresh {name}"
    if not is_wanted:
        return f"not wanted: name {name!r} in `features` of the corpus or in `inputs` of a model"
    return f"missing: {waiting} clips wait for: mmpipe extract" if waiting else "complete"


def _check_name(layout: StoreLayout, corpus: str, name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"the name {name!r} is none: it fits {NAME_PATTERN}, without a version")
    if name in extractor_names():
        raise ConfigError(f"{name!r} is an extractor of ours; choose another name for theirs")
    if stored := newest_pin(layout, corpus, name):
        raise ConfigError(
            f"{name!r} is registered already, from {stored.pin.uri}. Take over what changed there with: "
            f"mmpipe feature refresh {name}"
        )
    if (layout.dataset(corpus, f"{name}@{VERSION}").root / SCHEMA_NAME).exists():
        raise ConfigError(
            f"the store has a dataset {name}@{VERSION} already, which is none of theirs; choose another name"
        )


def _match_rule(layout: StoreLayout, corpus: str, new: NewFeature, found: Survey) -> MatchRule:
    """Return the rule that was asked for, or the one that fits best."""
    pattern = check_pattern(new.match_pattern) if new.match_pattern else ""
    if new.match:
        return MatchRule(by=new.match, pattern=pattern)
    return choose_match(found.keys, clip_names(layout, corpus), pattern, found.shape.kind)


def _only_modality(layout: StoreLayout, corpus: str) -> Modality:
    """Return the modality of a corpus that has one only; otherwise a person must say."""
    rows = read_spine(layout, corpus)
    present = [modality for modality, column in STREAM_COLUMNS.items() if (rows[column] != "").any()]
    if len(present) != 1:
        names = ", ".join(present) or "none yet"
        raise ConfigError(f"{corpus!r} has {names}: say what theirs was made from with --modality")
    return present[0]


def _matched(layout: StoreLayout, corpus: str, pin: Pin, found: Survey) -> Match:
    return match_keys(found.keys, clip_names(layout, corpus), pin.match, pin.shape.kind)


def _pin(
    layout: StoreLayout,
    corpus: str,
    stored: StoredPin,
    found: Survey,
    reason: str,
    dry_run: bool,
    changed: Sequence[str] = (),
) -> PinReport:
    """Keep a pin, unless it is a dry run, and say what came of it."""
    pin = stored.pin
    match = _matched(layout, corpus, pin, found)
    report = PinReport(number=stored.number, pin=pin, match=match, is_new=True, changed=tuple(changed))
    if dry_run:
        return report
    put_pin(layout, corpus, pin.feature.rpartition("@")[0], stored)
    freeze_schema(layout.dataset(corpus, pin.feature), schema_of(pin))
    note_stamps(layout, corpus, stored, found.stamps)
    kind = "feature-add" if stored.number == 1 else "feature-refresh"
    append_event(layout, kind, f"{corpus}/{pin.feature}", reason, _facts(stored, match), result=pin.digest)
    return report


def _facts(stored: StoredPin, match: Match) -> Mapping[str, Any]:
    pin = stored.pin
    return {
        "pin": stored.number,
        "uri": pin.uri,
        "files": len(pin.files),
        "nbytes": sum(pin.sizes.values()),
        "rows": pin.rows,
        "clips_matched": len(match.rows),
    }


def _examples(names: Sequence[str]) -> str:
    """Return how many there are, with the first few."""
    if not names:
        return "0"
    more = ", ..." if len(names) > _EXAMPLES else ""
    return f"{len(names)}: {', '.join(names[:_EXAMPLES])}{more}"
