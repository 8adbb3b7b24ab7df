"""Rights per asset: from the labels table to assets, cards, lineage and exports, and no feature is made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from old_store import CORPUS, DAYS, SNAPSHOT, SOUND, TEXT, unpack

from mmpipe.config import Config, load_config
from mmpipe.errors import ConfigError
from mmpipe.steps.ingest.ingest import ingest_corpus, ingest_reason
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.keep.migrate import migrate_store
from mmpipe.steps.keep.verify import find_faults
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.lineage import trace_snapshot
from mmpipe.steps.share.export import Target, plan_export, write_export
from mmpipe.store.assets import read_assets
from mmpipe.store.layout import ASSETS, CLIPS, SIGNALS, StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.revisions import list_revisions
from mmpipe.store.rights import RightsCount, read_noted
from mmpipe.store.rightscount import count_rights
from mmpipe.store.snapshot import load_snapshot

COLUMNS = 'columns = { licence = "license", consent = "consent" }'
SAID = f'rights = {{ owner = "Speech team", licence = "MIT", consent = "contract", {COLUMNS} }}\n'
BOTH = pytest.mark.usefixtures("warm_workers")


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Return the folder of a corpus whose features are made, with labels that say licence and consent per asset."""
    migrate_store(unpack(tmp_path))
    return tmp_path / "store-v1"


def say(folder: Path, rights: str) -> Config:
    path = folder / "mmpipe.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("rights")]
    path.write_text("\n".join(lines) + "\n" + rights)
    return load_config(path)


def label(folder: Path, name: str, **said: str) -> None:
    path = folder / "labels.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | (said if row["id"] == name else {})) + "\n" for row in rows))


def take_in(config: Config) -> None:
    for day in DAYS:
        ingest_corpus(config, CORPUS, day)


def held(config: Config) -> dict[str, tuple[str, str]]:
    frame = read_assets(StoreLayout(config.store), CORPUS).unique("source_id")
    return {row["source_id"]: (row["licence"], row["consent"]) for row in frame.to_dicts()}


def card(config: Config, dataset: str) -> str:
    return (config.store / CORPUS / dataset / "README.md").read_text()


@BOTH
def test_what_the_table_says_reaches_assets_and_cards(talks: Path) -> None:
    config = say(talks, SAID)
    take_in(config)
    assert held(config) == {
        "2026-11-20/talk0": ("CC-BY-4.0", "yes"),
        "2026-11-20/talk1": ("CC0-1.0", "no"),
        "2026-11-20/talk2": ("MIT", "yes"),
        "2026-11-21/talk0": ("CC-BY-4.0", "yes"),
        "2026-11-21/talk1": ("CC0-1.0", "no"),
    }
    line = "2 clips CC-BY-4.0, 2 clips CC0-1.0, 1 clip MIT; 2 clips without consent"
    assert all(line in card(config, dataset) for dataset in (CLIPS, SOUND, TEXT))
    described = json.loads((config.store / CORPUS / TEXT / "croissant.json").read_bytes())
    assert described["license"] == ["CC-BY-4.0", "CC0-1.0", "MIT"]
    layout = StoreLayout(config.store)
    assert plan_corpus(config, CORPUS).shards == () and find_faults(layout) == ()
    before = {day: list_revisions(layout.dataset(CORPUS, ASSETS), day) for day in DAYS}
    take_in(config)
    assert before == {day: list_revisions(layout.dataset(CORPUS, ASSETS), day) for day in DAYS}


@BOTH
def test_a_corrected_row_reaches_the_store_and_makes_nothing_stale(talks: Path) -> None:
    config = say(talks, SAID)
    take_in(config)
    label(talks, "2026-11-21/talk0", license="CC-BY-SA-4.0", consent="FALSE")
    assert ingest_reason(config, CORPUS, DAYS[1]) == "the corpus's settings or labels changed"
    ingest_corpus(config, CORPUS, DAYS[0])  # of another date: what is said of rights is carried to all
    assert held(config)["2026-11-21/talk0"] == ("CC-BY-SA-4.0", "no")
    assert "1 clip CC-BY-SA-4.0" in card(config, TEXT) and "3 clips without consent" in card(config, CLIPS)
    assert plan_corpus(config, CORPUS).shards == () and find_faults(StoreLayout(config.store)) == ()
    say(talks, "")
    take_in(load_config(talks / "mmpipe.toml"))
    assert set(held(config).values()) == {("", "")} and "all clips" not in card(config, TEXT)


@BOTH
def test_what_nobody_understands_counts_as_unknown_and_says_so(talks: Path) -> None:
    config = say(talks, SAID)
    label(talks, "2026-11-20/talk0", consent="mayhap")
    with (talks / "labels.jsonl").open("a") as file:
        file.write(json.dumps({"id": "2026-11-20/talk2", "license": "", "consent": "no"}) + "\n")
    take_in(config)
    found = held(config)
    assert found["2026-11-20/talk0"] == ("CC-BY-4.0", "unknown")
    assert found["2026-11-20/talk2"] == ("unknown", "unknown")  # its rows disagree: the corpus's word is not its own
    drops = read_quarantine(StoreLayout(config.store), CORPUS).filter(pl.col("code") == "rights_not_understood")
    (row,) = drops.to_dicts()
    assert row["source_id"] == "2026-11-20/talk0"
    assert "the labels column 'consent' says 'mayhap' for consent: write yes, no or unknown" in row["detail"]
    label(talks, "2026-11-20/talk0", consent="Yes")
    take_in(config)
    assert "rights_not_understood" not in set(read_quarantine(StoreLayout(config.store), CORPUS)["code"])


@BOTH
def test_a_withdrawal_outlives_the_file_and_its_row(talks: Path) -> None:
    config = say(talks, SAID)
    take_in(config)
    for suffix in ("wav", "txt"):
        (talks / "media" / f"{DAYS[1]}/talk0.{suffix}").unlink()
    label(talks, "2026-11-21/talk0", consent="no")
    take_in(config)
    assert held(config)["2026-11-21/talk0"] == ("CC-BY-4.0", "no")  # the row still names it
    path = talks / "labels.jsonl"
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if "2026-11-21/talk0" not in line))
    take_in(config)
    assert held(config)["2026-11-21/talk0"] == ("CC-BY-4.0", "no")


@BOTH
def test_the_card_of_the_signals_says_whose_they_are(talks: Path) -> None:
    path = talks / "mmpipe.toml"
    path.write_text(path.read_text() + "signals = { enabled = true }\n")
    config = say(talks, "")
    take_in(config)
    assert "| owner | not said |" in card(config, SIGNALS)
    config = say(talks, SAID)
    take_in(config)
    said = card(config, SIGNALS)
    assert "| owner | Speech team |" in said and "| licence | MIT |" in said and "| consent | contract |" in said
    assert "2 clips CC-BY-4.0, 2 clips CC0-1.0, 1 clip MIT; 2 clips without consent" in said
    assert find_faults(StoreLayout(config.store)) == ()


@BOTH
def test_lineage_and_exports_carry_them(talks: Path, tmp_path: Path) -> None:
    config = say(talks, SAID)
    take_in(config)
    layout = StoreLayout(config.store)
    traced = trace_snapshot(layout, load_snapshot(layout, SNAPSHOT))["rights"]
    assert traced == {
        "licence": {"CC-BY-4.0": 2, "CC0-1.0": 2, "MIT": 1},
        "pii": {"unknown": 5},
        "consent": {"no": 2, "yes": 3},
    }
    write_export(plan_export(config, CORPUS, Target.PARQUET, tmp_path / "out"), 8)
    rows = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet").select("source_id", "owner", "licence", "consent")
    assert ("2026-11-20/talk1", "Speech team", "CC0-1.0", "no") in rows.rows()
    assert "1 clip MIT; 2 clips without consent" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "export.json").read_bytes())["rights"] == traced


@BOTH
def test_forgotten_clips_are_counted_no_more(talks: Path) -> None:
    config = say(talks, SAID)
    take_in(config)
    forget(config, CORPUS, "2026-11-20/talk2", "they asked")
    assert "2 clips CC-BY-4.0, 2 clips CC0-1.0; 2 clips without consent" in card(config, TEXT)
    assert find_faults(StoreLayout(config.store)) == ()


def test_only_what_was_touched_is_counted_again(talks: Path) -> None:
    layout = StoreLayout(talks / "store")
    kept = talks / "store" / CORPUS / ASSETS / "statistics" / "2026.json"
    rows: list[dict[str, Any]] = json.loads(kept.read_bytes())
    assert [row["partition"] for row in rows] == list(DAYS)
    rows[0] |= {"clips": 7, "licence": {"made up": 9}}
    rows[1] |= {"clips": 7, "licence": {"made up": 9}}
    kept.write_text(json.dumps(rows))
    assert count_rights(layout, CORPUS, touched=DAYS[1:]).licence == {"": 2, "made up": 9}
    kept.write_text("[{")  # as good as none
    assert count_rights(layout, CORPUS, touched=()).licence == {"": 5}


@BOTH
def test_cards_that_were_cut_short_are_brought_up(talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = say(talks, SAID)
    monkeypatch.setattr("mmpipe.steps.ground.rights.write_cards", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        take_in(config)
    monkeypatch.undo()
    assert "not said" in card(config, TEXT)
    assert read_noted(StoreLayout(config.store).dataset(CORPUS, CLIPS)).due
    assert ingest_reason(config, CORPUS, DAYS[0])  # the night that was cut short is not noted as done
    take_in(config)
    assert "without consent" in card(config, TEXT) and find_faults(StoreLayout(config.store)) == ()


def test_columns_that_are_not_there_are_refused(talks: Path) -> None:
    config = say(talks, 'rights = { columns = { pii = "private" } }\n')
    with pytest.raises(ConfigError, match=r"no column 'private' \(`rights.columns.pii`\); its columns are: .*license"):
        ingest_corpus(config, CORPUS, DAYS[0])
    with pytest.raises(ConfigError, match=r"rights\.columns"):
        say(talks, 'rights = { columns = { price = "private" } }\n')
    path = talks / "mmpipe.toml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("labels")))
    with pytest.raises(ConfigError, match="labels table"):
        say(talks, f"rights = {{ {COLUMNS} }}\n")


def test_counts_are_said_in_words() -> None:
    count = RightsCount(
        licence={"": 10, "CC-BY-4.0": 1430}, pii={"no": 1439, "yes": 1}, consent={"no": 3, "unknown": 7, "yes": 1430}
    )
    assert count.is_mixed and count.sentence() == (
        "1,430 clips CC-BY-4.0, 10 clips of unknown licence; 3 clips without consent; 7 clips of unknown consent; "
        "1 clip with personal data"
    )
    assert not RightsCount(licence={"MIT": 4}, pii={"no": 4}, consent={"": 4}).is_mixed
