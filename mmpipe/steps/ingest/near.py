"""Near twins: what is new is dropped where it looks and sounds as something that is kept, never the other way round.

Of twins that come in one night the one with more of a text and labels stays, then the longest (to a tenth of a second),
then the one with the larger picture, then with more bytes, then the first by source id. A decision stands: that the
twin's file is removed, or that the twin is forgotten, brings nothing in; `mmpipe quarantine release` does, and other
thresholds, or another print of one of two texts, decide anew on what is not taken in. So does it where the twin was
given up, because its file was gone before its clips were made. What a person lets in is noted as such: where that is
taken back, it is judged anew and leaves again. New bytes under the same name are no twin of the old ones: they take
their place.
Recordings that share a stream and differ in another are both kept, with a note, and in one group, so that no split
parts them; where the labels name groups, those hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from mmpipe.config import CorpusConfig
from mmpipe.signals.near import remove_twins
from mmpipe.signals.near_assets import NearLimits, find_near
from mmpipe.steps.ground.text_origin import ASR
from mmpipe.steps.ingest.acceptance import Acceptance, default_group
from mmpipe.steps.ingest.homes import Homes
from mmpipe.steps.ingest.near_rows import COMPARABLE, find_reprinted, pool_of, print_rows, printed_anew
from mmpipe.steps.ingest.near_streams import find_shared
from mmpipe.steps.ingest.near_told import NEAR, NO_TWINS, NearTwins
from mmpipe.steps.ingest.survey_work import AssetPrints
from mmpipe.steps.ingest.vanished import ALL_THERE, Vanished
from mmpipe.store.admitted import Admitted
from mmpipe.store.layout import PRINTS, StoreLayout
from mmpipe.store.prints import STREAM_PRINTS, read_prints, write_prints
from mmpipe.types import Asset, Modality, digest_of

LET_IN = "let_in"
_TENTH_NS = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of an asset, as its rows tell it."""

    verdict: str = ""  # "", near_duplicate, let_in, or shared_MODALITY
    twin: str = ""  # what stands for the twin, by `stand_in`
    distance: float = 0.0
    group: str = ""
    settings: str = ""


def read_known_prints(layout: StoreLayout, corpus: str, source: CorpusConfig) -> pl.DataFrame:
    """Return the prints of all partitions; none where no near twins are looked for."""
    if not source.dedup.near:
        return STREAM_PRINTS.frame()
    return read_prints(layout, corpus).filter(pl.col("version").is_in(COMPARABLE)).select(STREAM_PRINTS.names)


def find_twins(
    source: CorpusConfig,
    known: pl.DataFrame,
    prints: Mapping[str, AssetPrints],
    accepted: Sequence[Acceptance],
    homes: Homes,
    admitted: Admitted,
    labelled: Collection[str] = (),
    vanished: Vanished = ALL_THERE,
) -> NearTwins:
    """Decide on every asset; `known` are the prints of the store, `prints` those of what was surveyed in this run.

    `labelled` names the sources that have labels, `vanished` says whose files are not there.
    """
    if not source.dedup.near:
        return NO_TWINS
    night = _Night(
        source=source,
        known=known,
        accepted=accepted,
        homes=homes,
        admitted=admitted,
        labelled=frozenset(labelled),
        vanished=vanished,
    )
    rows = pl.concat([printed_anew(known, night.fresh_rows(prints, stored=True)), night.fresh_rows(prints)])
    night.decide(rows, find_reprinted(known, rows))
    decided = pl.DataFrame(
        [
            {
                "asset_id": key,
                "settings": decision.settings,
                "verdict": decision.verdict,
                "twin": decision.twin,
                "distance": decision.distance,
                "group": decision.group,
            }
            for key, decision in night.decisions.items()
        ],
        schema={name: STREAM_PRINTS.schema[name] for name in ("asset_id", *_DECIDED)},
    )
    told = rows.drop(_DECIDED).join(decided, on="asset_id").select(STREAM_PRINTS.names)
    dropped = {key for key, decision in night.decisions.items() if decision.verdict == NEAR}
    noted = {key for key, decision in night.decisions.items() if decision.verdict not in ("", NEAR, LET_IN)}
    return NearTwins(
        rows=told,
        details={key: (night.twin_of(key), night.decisions[key].distance) for key in sorted(dropped)},
        notes={key: night.note(key) for key in sorted(noted)},
        groups={key: night.decisions[key].group for key in sorted(noted)},
    )


_DECIDED = ("settings", "verdict", "twin", "distance", "group")


def write_twins(layout: StoreLayout, corpus: str, partition: str, twins: NearTwins, ids: Collection[str]) -> None:
    """Commit the prints of a partition's assets: before the assets, so that a decision is made once."""
    rows = twins.rows.filter(pl.col("asset_id").is_in(sorted(ids)))
    if not rows.is_empty():
        write_prints(layout.dataset(corpus, PRINTS), partition, rows)


def stand_in(asset_id: str) -> str:
    """Return what stands for a twin: not its id, so that the decision outlives that it is forgotten."""
    return digest_of("near twin", asset_id)[:24]


class _Night:
    """One run's decisions: what is kept, what was decided before, and what is new."""

    def __init__(
        self,
        *,
        source: CorpusConfig,
        known: pl.DataFrame,
        accepted: Sequence[Acceptance],
        homes: Homes,
        admitted: Admitted,
        labelled: frozenset[str],
        vanished: Vanished,
    ) -> None:
        self._vanished = vanished
        self._given_up = {stand_in(key) for key in vanished.given_up}
        self._labelled = labelled
        self._limits = NearLimits(
            image_bits=source.dedup.image_bits,
            video_share=source.dedup.video_share,
            audio_share=source.dedup.audio_share,
            text_jaccard=source.dedup.text_jaccard,
        )
        self._settings = digest_of(source.dedup.model_dump_json())
        entries = sorted((entry for entry in accepted if entry.asset), key=lambda entry: entry.source_id)
        self._now = {entry.source_id: entry.asset.asset_id for entry in entries if entry.asset}
        self._present: dict[str, Asset] = {}
        for entry in entries:
            if entry.asset:
                self._present.setdefault(entry.asset.asset_id, entry.asset)
        firsts = known.unique("asset_id", keep="first", maintain_order=True)
        self._stored = {row["asset_id"]: row for row in firsts.drop("print", "heard").iter_rows(named=True)}
        self._homes, self._admitted = homes, admitted
        self._reprinted: set[str] = set()  # assets, and what stands for them
        self._sources = {key: row["source_id"] for key, row in self._stored.items()}
        self._sources |= {key: asset.source_id for key, asset in self._present.items() if key not in self._sources}
        self._names = {stand_in(key): source for key, source in self._sources.items()}
        self.decisions: dict[str, Decision] = {}  # of present assets

    def fresh_rows(self, prints: Mapping[str, AssetPrints], stored: bool = False) -> pl.DataFrame:
        """Return the rows of present assets of which no prints are stored, or of those printed once more; undecided."""
        chosen = (self._stored.keys() & prints.keys()) if stored else self._present.keys() - self._stored.keys()
        fresh = [self._present[key] for key in sorted(chosen & self._present.keys())]
        undecided = {"settings": "", "verdict": "", "twin": "", "distance": 0.0, "group": ""}
        rows = [
            row | undecided for asset in fresh for row in print_rows(asset, prints.get(asset.asset_id, AssetPrints()))
        ]
        return pl.DataFrame(rows, schema=STREAM_PRINTS.schema)

    def decide(self, rows: pl.DataFrame, reprinted: frozenset[str]) -> None:
        """Decide on every present asset; `reprinted` are those whose text was compared by another print before."""
        self._reprinted = {*reprinted, *map(stand_in, reprinted)}
        kept = [key for key in sorted({*self._stored, *self._present}) if self._is_kept(key)]
        new = []
        for key in sorted(self._present):
            if self._stands(key):
                self.decisions[key] = self._as_stored(key)
            elif self._is_let_in(key) and (key not in kept or self._was_dropped(key)):
                self.decisions[key] = replace(self._own(key), verdict=LET_IN)
            elif key in kept:
                self.decisions[key] = self._own(key)
            else:
                new.append(key)
        if not new:
            return
        ours = sorted(new, key=self._rank)
        theirs = sorted({*(key for key in kept if not self._is_replaced(key)), *self._let_in()})
        self._compare(rows, ours, theirs)

    def _compare(self, rows: pl.DataFrame, new: list[str], kept: list[str]) -> None:
        """Decide on what is new, in the order of its rank."""
        news, keeps = pool_of(rows, new), pool_of(rows, kept)
        against, among = find_near(news, keeps, self._limits), find_near(news, news, self._limits)
        ranks = [f"{place:012d}" for place in range(len(new))]
        gone = remove_twins(ranks, kept, against.twins, among.twins)
        for rank, (twin, distance) in gone.items():
            name = twin if len(twin) > len(rank) else new[int(twin)]
            self.decisions[new[int(rank)]] = self._decision(NEAR, name, distance, self._own_group(new[int(rank)]))
        stays = [place for place, rank in enumerate(ranks) if rank not in gone]
        shared = find_shared(rows, new, kept, stays, (against.same_sound, among.same_sound))
        for place in stays:
            self.decisions[new[place]] = self._own(new[place])
            if place in shared:
                role, twin, distance = shared[place]
                self.decisions[new[place]] = self._decision(f"shared_{role}", twin, distance, self._group_of(twin))

    def _rank(self, asset_id: str) -> tuple[int, int, int, int, str, str]:
        """Return by what twins of one night are ordered: the first stays."""
        asset = self._present[asset_id]
        pixels = max(stream.width_px * stream.height_px for stream in asset.streams)
        nbytes = sum({stream.file: stream.file_nbytes for stream in asset.streams}.values())
        text = asset.stream(Modality.TEXT)
        # What was heard in a sound comes with every copy of it.
        told = (text is not None and not text.origin.startswith(ASR)) + (asset.source_id in self._labelled)
        return -told, -(asset.duration_ns // _TENTH_NS), -pixels, -nbytes, asset.source_id, asset_id

    def _is_kept(self, asset_id: str) -> bool:
        """Say whether an asset was taken in before, or was decided to be by a run that was ended."""
        if self._is_taken_back(asset_id):
            return False
        if asset_id in self._homes.partition_of_asset:
            return asset_id in self._stored or asset_id in self._present
        row = self._stored.get(asset_id)
        return row is not None and asset_id in self._present and row["verdict"] != NEAR

    def _is_replaced(self, asset_id: str) -> bool:
        """Say whether an asset's name holds other bytes now, or its files are gone and it was given up."""
        if asset_id in self._vanished.given_up:
            return True
        source_id = self._sources[asset_id]
        return asset_id not in self._present and self._now.get(source_id, asset_id) != asset_id

    def _is_let_in(self, asset_id: str) -> bool:
        return any(self._admitted.has(NEAR, sha256) for sha256 in self._files_of(asset_id))

    def _is_taken_back(self, asset_id: str) -> bool:
        """Say whether an asset is here because a person let it in who took that back: nothing of it counts as kept."""
        row = self._stored.get(asset_id)
        if row is None or asset_id not in self._present or self._is_let_in(asset_id):
            return False
        was_bound = any(NEAR in self._admitted.taken_back.get(sha256, ()) for sha256 in self._files_of(asset_id))
        return row["verdict"] == LET_IN or (row["verdict"] == NEAR and was_bound)

    def _was_dropped(self, asset_id: str) -> bool:
        return asset_id in self._stored and bool(self._stored[asset_id]["verdict"] == NEAR)

    def _files_of(self, asset_id: str) -> set[str]:
        return {stream.file_sha256 for stream in self._present[asset_id].streams}

    def _let_in(self) -> Iterator[str]:
        return (key for key in self._present if self._is_let_in(key))

    def _stands(self, asset_id: str) -> bool:
        """Say whether what is stored of an asset is still so."""
        row = self._stored.get(asset_id)
        if row is None:
            return False
        if row["verdict"] != NEAR:
            return self._is_kept(asset_id)
        if not self._reprinted.isdisjoint((asset_id, row["twin"])) or row["twin"] in self._given_up:
            return False
        taken = asset_id in self._homes.partition_of_asset and not self._is_taken_back(asset_id)
        return not taken and not self._is_let_in(asset_id) and bool(row["settings"] == self._settings)

    def _as_stored(self, asset_id: str) -> Decision:
        row = self._stored[asset_id]
        return Decision(**{name: row[name] for name in _DECIDED})

    def _own(self, asset_id: str) -> Decision:
        return Decision(group=self._own_group(asset_id), settings=self._settings)

    def _own_group(self, asset_id: str) -> str:
        return default_group(self._present[asset_id])

    def _decision(self, verdict: str, twin: str, distance: float, group: str) -> Decision:
        return Decision(
            verdict=verdict, twin=stand_in(twin), distance=float(distance), group=group, settings=self._settings
        )

    def _group_of(self, asset_id: str) -> str:
        """Return the group of an asset that stays; those of this night are decided in the order of their rank."""
        if asset_id in self.decisions:
            return self.decisions[asset_id].group
        return str(self._stored[asset_id]["group"])

    def twin_of(self, asset_id: str) -> str:
        """Name the twin of an asset that is dropped, and what became of it."""
        decision = self.decisions[asset_id]
        twin = self._names.get(decision.twin)
        dropped = {stand_in(key) for key, found in self.decisions.items() if found.verdict == NEAR}
        is_kept = "was kept then" if decision.twin in dropped else "is kept"
        if decision.twin in {stand_in(key) for key in self._vanished.assets}:
            is_kept += ", though its file is gone"
        return f"{twin!r}, which {is_kept}" if twin is not None else "something that is no longer here"

    def note(self, asset_id: str) -> str:
        """Say what an asset shares with another."""
        decision = self.decisions[asset_id]
        twin, role = self._names.get(decision.twin), decision.verdict.removeprefix("shared_")
        named = repr(twin) if twin is not None else "something that is no longer here"
        rest = "the rest is not, or cannot be told: one group holds both"
        return f"its {role} is that of {named} ({decision.distance:.3f} apart), {rest}"
