"""Make the noise banks that due features need: train clips alone, drawn by hash, decoded by workers, kept for good.

A bank that is there stays, whatever comes in later; another one is made only for other settings, or when asked.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import polars as pl

from mmpipe.config import Config, CorpusConfig, split_feature
from mmpipe.engine.work import Outcome, WorkItem
from mmpipe.errors import ConfigError, ShardError
from mmpipe.steps.ground.mirror import media_root
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest.bank_work import BankWork, ClipWave
from mmpipe.steps.plan.renditions import bank_settings
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.banks import BankClip, BankMix, bank_digest, bank_keys, bank_rows, drop_from_banks, write_bank
from mmpipe.store.layout import StoreLayout, create_store
from mmpipe.store.spine import read_spine
from mmpipe.types import Clip, Modality, Split, Stream, digest_of

FUNCTION = "mmpipe.steps.ingest.bank_worker:collect_waves"
_MAX_DRAWS = 8  # of a bank, and
_MAX_TABLES = 64  # of a whole table, that are tried where it is lost
_BATCH = 4  # clips of one answer: each may be minutes of sound


def ensure_banks(config: Config, corpus: str, features: Iterable[str], progress: Progress = SILENT) -> None:
    """Make the banks that features, as NAME@VERSION, are mixed with and that are not there; ConfigError: of nothing."""
    _, source = config.corpus(corpus)
    for name in sorted(_banks_of(source, features)):
        if not bank_digest(StoreLayout(config.store), corpus, name, bank_settings(source, name)):
            make_bank(config, corpus, name, progress)


def make_bank(config: Config, corpus: str, name: str, progress: Progress = SILENT, *, again: bool = False) -> str:
    """Make a bank of a corpus's train clips as they are now, and return its digest; one that is there stays."""
    _, source = config.corpus(corpus)
    if name not in source.banks:
        raise ConfigError(f"no bank named {name!r} for {corpus!r}; there are: {sorted(source.banks)}")
    layout = create_store(config.store)
    settings = bank_settings(source, name)
    if not again and (found := bank_digest(layout, corpus, name, settings)):
        return found
    spine = _train_clips(layout, corpus)
    drawn = _draw(layout, corpus, spine, source, name)
    clips = _decode_clips(config, corpus, name, drawn, progress)
    if not clips:
        raise ConfigError(
            f"the bank {name!r} of {corpus!r} has nothing to be made from: no train clip that is not superseded has a "
            "sound. Ingest some, or read features without this rendition."
        )
    write_bank(layout, corpus, _mix_of(source, name), clips, str(spine["partition"].min()), again=again)
    return bank_digest(layout, corpus, name, settings)


def draw_banks_again(config: Config, corpus: str, progress: Progress = SILENT) -> Iterator[pl.DataFrame]:
    """Yield what the table of banks may have been, likeliest first: which were made, and when, stands nowhere else."""
    _, source = config.corpus(corpus)
    layout = StoreLayout(config.store)
    draws = [
        [
            _rows_of(config, layout, corpus, name, spine, progress)
            for spine in _spines_then(layout, corpus, name, source)
        ]
        for name in sorted(source.banks)
    ]
    for chosen in islice(product(*([*found, None] for found in draws)), _MAX_TABLES):
        if rows := [frame for frame in chosen if frame is not None]:
            yield pl.concat(rows, rechunk=True).sort("bank", "place")


def _spines_then(layout: StoreLayout, corpus: str, name: str, source: CorpusConfig) -> list[pl.DataFrame]:
    """Return the train clips up to a date, for the dates that make another bank of them, the oldest first."""
    spine = _train_clips(layout, corpus)
    found: dict[tuple[str, ...], pl.DataFrame] = {}
    for last in sorted(spine["partition"].unique()):
        then = spine.filter(pl.col("partition") <= last)
        found.setdefault(tuple(_drawn_keys(then, source, name)), then)
    return list(found.values())[:_MAX_DRAWS]


def _rows_of(
    config: Config, layout: StoreLayout, corpus: str, name: str, spine: pl.DataFrame, progress: Progress
) -> pl.DataFrame:
    _, source = config.corpus(corpus)
    clips = _decode_clips(config, corpus, name, _draw(layout, corpus, spine, source, name), progress)
    return bank_rows(_mix_of(source, name), clips)


def _mix_of(source: CorpusConfig, name: str) -> BankMix:
    wanted = source.banks[name]
    return BankMix(
        name=name,
        settings=bank_settings(source, name),
        voices=wanted.voices,
        length_s=wanted.length_s,
        seed=wanted.seed,
        sample_rate_hz=wanted.sample_rate_hz,
    )


def keep_train_clips(layout: StoreLayout, corpus: str) -> None:
    """Take clips out of the banks that corrected labels have put into another split."""
    members = bank_keys(layout, corpus)
    if not members:
        return
    rows = read_spine(layout, corpus).filter(pl.col("key").is_in(members) & (pl.col("split") != str(Split.TRAIN)))
    drop_from_banks(layout, corpus, rows["key"].to_list())


def _banks_of(source: CorpusConfig, features: Iterable[str]) -> set[str]:
    renditions = {split_feature(feature.rpartition("@")[0])[1] for feature in features} & source.renditions.keys()
    return {noise.bank for name in renditions if (noise := source.renditions[name].noise)}


def _train_clips(layout: StoreLayout, corpus: str) -> pl.DataFrame:
    """Return the clips of which a bank may be made: of no other split, and in use."""
    in_use = (pl.col("split") == str(Split.TRAIN)) & ~pl.col("superseded") & (pl.col("audio") != "")
    return read_spine(layout, corpus).filter(in_use)


def _draw(
    layout: StoreLayout, corpus: str, spine: pl.DataFrame, source: CorpusConfig, name: str
) -> list[tuple[Clip, Stream]]:
    """Return the clips of a bank in its order, which depends on the seed and their keys alone."""
    keys = _drawn_keys(spine, source, name)
    rows = {row["key"]: row for row in spine.filter(pl.col("key").is_in(keys)).iter_rows(named=True)}
    assets = {
        asset.asset_id: asset for asset in assets_of(read_assets(layout, corpus, tuple(spine["partition"].unique())))
    }
    drawn = []
    for key in keys:
        row = rows[key]
        clip = Clip(key=key, asset_id=row["asset_id"], start_ns=row["start_ns"], end_ns=row["end_ns"])
        stream = assets[clip.asset_id].stream(Modality.AUDIO)
        if stream is not None:
            drawn.append((clip, stream))
    return drawn


def _drawn_keys(spine: pl.DataFrame, source: CorpusConfig, name: str) -> list[str]:
    wanted = source.banks[name]
    place = {key: digest_of("bank", name, wanted.seed, key) for key in spine["key"]}
    return sorted(place, key=lambda key: place[key])[: wanted.clips]


def _decode_clips(
    config: Config, corpus: str, name: str, drawn: Sequence[tuple[Clip, Stream]], progress: Progress
) -> list[BankClip]:
    _, source = config.corpus(corpus)
    root, wanted = media_root(StoreLayout(config.store), corpus, source), source.banks[name]
    progress.start("bank", len(drawn))
    items = [
        WorkItem(
            name=f"bank {name} {start}",
            payload=BankWork(
                root=root,
                clips=tuple(drawn[start : start + _BATCH]),
                limits=source.limits,
                sample_rate_hz=wanted.sample_rate_hz,
                length_s=wanted.length_s,
            ),
            timeout_s=source.limits.seconds_per_asset,
        )
        for start in range(0, len(drawn), _BATCH)
    ]
    found: dict[str, tuple[ClipWave, ...]] = {}
    with shared_engine(config) as engine:
        for outcome in engine.run(FUNCTION, items):
            found[outcome.name] = _require_waves(outcome)
            progress.advance("bank", _BATCH)
    waves = [wave for item in items for wave in found[item.name]]
    return [BankClip(key=wave.key, asset_id=wave.asset_id, wave=base64.b64decode(wave.wave_base64)) for wave in waves]


def _require_waves(outcome: Outcome) -> tuple[ClipWave, ...]:
    if outcome.result is None or outcome.failure:
        raise ShardError(f"{outcome.name}: {outcome.failure and outcome.failure.detail}")
    return decode(tuple[ClipWave, ...], outcome.result)


# --------------------------------------------------------------------------- for a person


@dataclass(frozen=True, slots=True, kw_only=True)
class BankState:
    """How a bank of the config stands."""

    bank: str
    state: str  # "made", or "to be made"
    clips: int
    sha256: str

    def row(self) -> dict[str, str | int]:
        """Return a row of plain values."""
        return {"bank": self.bank, "state": self.state, "clips": self.clips, "sha256": self.sha256}


def bank_states(config: Config, corpus: str) -> tuple[BankState, ...]:
    """Return how every bank of a corpus stands."""
    _, source = config.corpus(corpus)
    return tuple(bank_state(config, corpus, name) for name in sorted(source.banks))


def bank_state(config: Config, corpus: str, name: str) -> BankState:
    """Return how one bank stands; ConfigError: no such bank."""
    _, source = config.corpus(corpus)
    if name not in source.banks:
        raise ConfigError(f"no bank named {name!r} for {corpus!r}; there are: {sorted(source.banks)}")
    layout = StoreLayout(config.store)
    digest = bank_digest(layout, corpus, name, bank_settings(source, name))
    clips = len(bank_keys(layout, corpus, name)) if digest else 0
    return BankState(bank=name, state="made" if digest else "to be made", clips=clips, sha256=digest)
