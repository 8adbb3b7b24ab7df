"""Carry what the config and the labels table say of rights to the assets of a corpus and the cards of its datasets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, replace

from mmpipe.config import CorpusConfig, RightsConfig
from mmpipe.errors import ConfigError
from mmpipe.sources.labels import LabelTable, read_labels
from mmpipe.sources.matching import LabelMatch, match_labels
from mmpipe.sources.stems import AssetFiles
from mmpipe.store.assets import RIGHTS_FIELDS, RightsOf, read_assets, write_asset_rights
from mmpipe.store.bankscard import write_banks_card
from mmpipe.store.card import write_card
from mmpipe.store.layout import ASSETS, BANKS, CLIPS, SIGNALS, StoreLayout
from mmpipe.store.rights import UNKNOWN, NotedRights, Rights, read_noted, write_noted
from mmpipe.store.rightscount import count_rights
from mmpipe.store.schema import read_schema
from mmpipe.store.signalscard import write_signals_card
from mmpipe.store.spinecard import write_spine_card
from mmpipe.types import Drop, digest_of

_YES_NO = ("pii", "consent")
_WORDS = {
    **dict.fromkeys(("yes", "true", "y", "1"), "yes"),
    **dict.fromkeys(("no", "false", "n", "0"), "no"),
    **dict.fromkeys((UNKNOWN,), UNKNOWN),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsSaid:
    """Who says what of the rights of a corpus's assets: the config of all, the labels table of single ones."""

    config: RightsConfig
    table: LabelMatch

    @property
    def of_corpus(self) -> Rights:
        """Return what holds where the table says nothing."""
        return Rights(**self.config.model_dump(exclude={"columns"}))

    def of(self, source_id: str) -> Rights:
        """Return what holds for an asset; a word that nobody understands is never taken for the corpus's yes."""
        if source_id in self.disputed:
            return replace(self.of_corpus, **dict.fromkeys(self.config.columns, UNKNOWN))
        if self.table.has_lost and source_id not in self.table.labels:  # its row may be among those
            return replace(self.of_corpus, **dict.fromkeys(self.config.columns, UNKNOWN))
        row = self.table.labels.get(source_id, {})
        said = {
            name: row[column].strip() for name, column in self.config.columns.items() if row.get(column, "").strip()
        }
        return replace(self.of_corpus, **{name: _understood(name, text) or UNKNOWN for name, text in said.items()})

    @property
    def disputed(self) -> frozenset[str]:
        """Return the sources whose rows disagree, or may be others': the corpus's word does not stand in then."""
        return self.table.meant | {drop.source_id for drop in self.table.drops}

    def faults(self, source_ids: Collection[str]) -> Iterator[Drop]:
        """Yield a drop for every word of these assets' rows that is neither a yes nor a no."""
        for source_id in sorted(source_ids):
            row = self.table.labels.get(source_id, {})
            for name, column in sorted(self.config.columns.items()):
                text = row.get(column, "").strip()
                if text and not _understood(name, text):
                    detail = (
                        f"the labels column {column!r} says {text[:40]!r} for {name}: write yes, no or unknown; until "
                        f"then it counts as {UNKNOWN}"
                    )
                    yield Drop(stage="list", code="rights_not_understood", detail=detail, source_id=source_id)

    def digest(self) -> str:
        """Return the identity of what the table says; "" where it is not asked."""
        if not self.config.columns:
            return ""
        rows = [(source, *astuple(self.of(source))) for source in sorted({*self.table.labels, *self.disputed})]
        columns = [part for item in sorted(self.config.columns.items()) for part in item]
        lost = ("lost rows",) if self.table.has_lost else ()
        return digest_of(*columns, *lost, "rows", *(part for row in rows for part in row))


def require_rights_columns(table: LabelTable, source: CorpusConfig) -> None:
    """Refuse a column of rights that the labels table does not have: nobody's consent may hang on a slip of the pen."""
    for name, column in sorted(source.rights.columns.items()):
        if table.rows and column not in table.columns:
            raise ConfigError(
                f"{source.labels and source.labels.file} has no column {column!r} (`rights.columns.{name}`); "
                f"its columns are: {list(table.columns)}"
            )


def note_rights(
    layout: StoreLayout, corpus: str, source: CorpusConfig, table: LabelMatch, touched: Collection[str]
) -> bool:
    """Bring assets, counts and cards after what is said; return whether that changed what stands beside the datasets.

    `touched` names the partitions that may have other clips or assets now. No feature becomes stale: none reads this.
    """
    said, before = RightsSaid(config=source.rights, table=table), read_noted(layout.dataset(corpus, CLIPS))
    if (before.rights, before.spread) != (said.of_corpus, said.digest()):
        touched = {*touched, *_spread(layout, corpus, source, said, before.rights)}
    return carry_to_cards(layout, corpus, said.of_corpus, said.digest(), touched)


def carry_to_cards(
    layout: StoreLayout, corpus: str, rights: Rights, spread: str, touched: Collection[str] | None
) -> bool:
    """Count the clips, note the rights and bring the cards up; return whether what is noted changed."""
    before = read_noted(layout.dataset(corpus, CLIPS))
    count = count_rights(layout, corpus, touched)
    noted = NotedRights(rights=rights, clips=count if count.is_mixed else None, spread=spread)
    if noted == before:
        return False
    write_noted(layout, corpus, replace(noted, due=True))
    write_cards(layout, corpus)
    write_noted(layout, corpus, noted)
    return True


def recount_rights(layout: StoreLayout, corpus: str) -> None:
    """Bring counts and cards after a spine that lost clips; what is said of rights stays."""
    noted = read_noted(layout.dataset(corpus, CLIPS))
    carry_to_cards(layout, corpus, noted.rights, noted.spread, None)


def write_cards(layout: StoreLayout, corpus: str) -> None:
    """Bring the cards of a corpus after its rights; the figures of its partitions are as they were."""
    clips = layout.dataset(corpus, CLIPS)
    if clips.partitions():
        write_spine_card(clips)
    signals = layout.dataset(corpus, SIGNALS)
    if signals.partitions():
        write_signals_card(signals)
    banks = layout.dataset(corpus, BANKS)
    if banks.partitions():
        write_banks_card(banks)
    for name in layout.feature_names(corpus):
        dataset = layout.dataset(corpus, name)
        write_card(dataset, read_schema(dataset), touched=())


def _spread(
    layout: StoreLayout, corpus: str, source: CorpusConfig, said: RightsSaid, before: Rights
) -> tuple[str, ...]:
    """Bring every asset that was ever taken in after what is said; return the partitions that changed."""
    known = read_assets(layout, corpus).select("source_id", *RIGHTS_FIELDS).unique("source_id")
    held = {row[0]: Rights(**dict(zip(RIGHTS_FIELDS, row[1:], strict=True))) for row in known.iter_rows()}
    rights = _of_all(source, said, {name: found for name, found in held.items() if found != before})
    assets = layout.dataset(corpus, ASSETS)
    return tuple(dt for dt in assets.partitions() if write_asset_rights(assets, dt, rights))


def _of_all(source: CorpusConfig, said: RightsSaid, held: Mapping[str, Rights]) -> RightsOf:
    """Return the rights of every source; `held` has what was once said of single ones, which outlives file and row."""
    gone = sorted(held.keys() - said.table.labels.keys() - said.disputed)
    rows: Mapping[str, Mapping[str, str]] = {}
    if said.config.columns and source.labels and gone:
        table = read_labels(source.labels)
        with suppress(ConfigError):  # a bare stem that fits several files that are gone names none of them
            rows = match_labels(table, [AssetFiles(source_id=name, files=()) for name in gone]).labels
    every = replace(said, table=replace(said.table, labels={**rows, **said.table.labels}))

    def of(source_id: str) -> Rights:
        silent = bool(said.config.columns) and source_id not in every.table.labels and source_id not in every.disputed
        return held[source_id] if silent and source_id in held else every.of(source_id)

    return of


def _understood(name: str, text: str) -> str:
    return _WORDS.get(text.lower(), "") if name in _YES_NO else text
