"""Media that can be decoded in part are kept and marked as far as the settings allow; the rest falls out alone."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from corpus_maker import CORPUS, extract, ingest, make_config, write_damaged, write_text, write_tone

from mmpipe.config import ClipsConfig, Config, LimitsConfig, TextConfig
from mmpipe.steps.ground.wire import decode
from mmpipe.steps.ingest import survey
from mmpipe.steps.ingest.survey_work import AssetSurvey, AssetToSurvey, SurveyWork
from mmpipe.steps.ingest.survey_worker import survey_assets
from mmpipe.store.assets import assets_of, read_assets
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.signals import read_signals
from mmpipe.store.spine import read_spine
from mmpipe.store.verify import verify_store
from mmpipe.types import Modality

DECODE = {"validate_by": "decode", "max_quarantined": 1.0, "features": ["video-hogdct", "audio-mfccseg", "text-ngrams"]}
FEATURE = "video-hogdct@1"

pytestmark = pytest.mark.usefixtures("warm_workers")


def drops(config: Config) -> pl.DataFrame:
    return read_quarantine(StoreLayout(config.store), CORPUS)


def sources(config: Config) -> set[str]:
    spine = read_spine(StoreLayout(config.store), CORPUS)
    return set(spine.filter(~pl.col("superseded"))["source_id"])


def test_small_damage_is_kept_marked_and_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_damaged(tmp_path / "media/a.mkv", range(55, 56))
    config = make_config(tmp_path, **DECODE)
    report = ingest(config)
    assert sources(config) == {"a"} and report.quarantined_share == 0
    (stream,) = read_assets(StoreLayout(config.store), CORPUS).iter_rows(named=True)
    assert stream["lost_share"] == pytest.approx(0.01)
    (note,) = drops(config).iter_rows(named=True)
    assert (note["code"], note["stage"], note["kept"], note["file"]) == ("damaged", "decode", True, "a.mkv")
    assert "1.00% of the video" in note["detail"]
    assert read_signals(StoreLayout(config.store), CORPUS)["damaged_share"].to_list() == pytest.approx([0.01])
    monkeypatch.setattr(survey, "_in_workers", None)
    ingest(config)  # what is known keeps its mark, and its note
    assert drops(config).height == 1
    assert read_assets(StoreLayout(config.store), CORPUS)["lost_share"].to_list() == pytest.approx([0.01])


@pytest.mark.parametrize("damage", [{"min_share": 0.98}, {"keep": False, "min_share": 0.5}])
def test_more_than_is_allowed_is_quarantined_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: dict[str, float]
) -> None:
    write_damaged(tmp_path / "media/a.mkv", range(50, 60))
    write_damaged(tmp_path / "media/whole.mkv", range(0))
    config = make_config(tmp_path, **DECODE, damage=damage)
    report = ingest(config)
    assert sources(config) == {"whole"} and report.quarantined_share == 0.5
    (row,) = drops(config).iter_rows(named=True)
    assert (row["code"], row["stage"], row["kept"], row["file"]) == ("decode_error", "decode", False, "a.mkv")
    assert row["file_sha256"]
    before = sorted((config.store / CORPUS).rglob("*"))
    monkeypatch.setattr(survey, "_in_workers", None)
    ingest(config)
    assert sorted((config.store / CORPUS).rglob("*")) == before
    assert verify_store(StoreLayout(config.store)) == ()


@pytest.mark.parametrize(("broken", "kept"), [(range(50, 52), True), (range(50, 53), False)])
def test_the_share_that_may_be_lost_is_exact(tmp_path: Path, broken: range, kept: bool) -> None:
    write_damaged(tmp_path / "media/a.mkv", broken)
    config = make_config(tmp_path, **DECODE)
    ingest(config)
    (row,) = drops(config).iter_rows(named=True)
    assert row["kept"] is kept
    if not kept:
        assert "0.12 s cannot be decoded, after" in row["detail"] and "at least" in row["detail"]
        assert row["detail"].endswith("damage.min_share allows 0.08 s")


@pytest.mark.parametrize("signals", [True, False])
def test_a_film_that_was_cut_off_is_kept_as_far_as_is_allowed(tmp_path: Path, signals: bool) -> None:
    (tmp_path / "media").mkdir()
    write_tone(tmp_path / "a.wav", seconds=2.0)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "media/a.wav").write_bytes(data[: len(data) * 6 // 10])
    plain = {"features": ["audio-mfccseg"], "max_quarantined": 1.0, "signals": {"enabled": signals}}
    strict = make_config(tmp_path, **plain)
    ingest(strict)
    assert drops(strict)["code"].to_list() == ["decode_error"] and sources(strict) == set()
    lenient = make_config(tmp_path, **plain, damage={"min_share": 0.5})
    report = ingest(lenient)
    assert sources(lenient) == {"a"} and report.quarantined_share == 0
    assert read_assets(StoreLayout(lenient.store), CORPUS)["lost_share"].to_list() == pytest.approx([0.4], abs=0.01)
    assert drops(lenient).select("code", "kept", "file").rows() == [("damaged", True, "a.wav")]
    shares = read_signals(StoreLayout(lenient.store), CORPUS)["damaged_share"].to_list()
    assert shares == (pytest.approx([0.4], abs=0.01) if signals else [])


def test_a_broken_film_leaves_the_sound_beside_it_in_use(tmp_path: Path) -> None:
    write_damaged(tmp_path / "media/a.mkv", range(20, 90))
    write_tone(tmp_path / "media/a.wav", seconds=1.0)
    write_damaged(tmp_path / "media/alone.mkv", range(20, 90))
    write_text(tmp_path / "media/alone.txt", "a caption of nothing")
    config = make_config(tmp_path, **DECODE)
    ingest(config)
    (asset,) = assets_of(read_assets(StoreLayout(config.store), CORPUS))
    assert [stream.role for stream in asset.streams] == ["audio"] and sources(config) == {"a"}
    found = dict(drops(config).select("file", "code").iter_rows())
    assert found == {"a.mkv": "decode_error", "alone.mkv": "decode_error", "alone.txt": "sibling_unusable"}
    assert set(read_signals(StoreLayout(config.store), CORPUS)["asset_id"]) == {asset.asset_id}
    ingest(config)
    assert sources(config) == {"a"}


def test_extraction_allows_what_the_settings_allow_and_notes_it(tmp_path: Path) -> None:
    write_damaged(tmp_path / "media/a.mkv", range(50, 60))
    plain = {"features": ["video-hogdct"], "max_quarantined": 1.0}
    lenient = make_config(tmp_path, **plain, damage={"min_share": 0.8})
    ingest(lenient)
    report, _ = extract(lenient)
    assert report.quarantined == {} and report.computed == 1
    (note,) = drops(lenient).iter_rows(named=True)
    assert (note["stage"], note["code"], note["kept"], note["feature"]) == ("extract", "damaged", True, FEATURE)
    assert "10.00% of the video" in note["detail"]
    strict = make_config(tmp_path, **plain).model_copy(update={"store": tmp_path / "strict"})
    ingest(strict)
    report, _ = extract(strict)
    assert report.quarantined == {"decode_error": 1} and drops(strict)["kept"].to_list() == [False]


def test_a_file_that_kills_its_worker_costs_only_itself(tmp_path: Path) -> None:
    write_damaged(tmp_path / "media/a.mkv", range(0))
    write_tone(tmp_path / "media/b.wav", seconds=1.0)
    config = make_config(tmp_path, features=["video-hogdct"])
    ingest(config)
    assets = assets_of(read_assets(StoreLayout(config.store), CORPUS))
    work = SurveyWork(
        root=tmp_path / "media",
        assets=tuple(AssetToSurvey(asset=asset) for asset in assets),
        limits=LimitsConfig(),
        clips=ClipsConfig(),
        max_missing=0.02,
        prints=True,
        text=TextConfig(),
    )
    parts: list[str] = []
    whole = decode(tuple[AssetSurvey, ...], survey_assets(work, parts.append, {}))
    assert [len(found.clips) for found in whole] == [1, 1] and len(parts) == 2
    assert all(found.prints for found in whole)
    film = next(part for part in parts if "a.mkv" in part)
    poisoned = decode(tuple[AssetSurvey, ...], survey_assets(work, parts.append, {film: "worker_killed"}))
    codes = {found.asset_id: [fault.code for fault in found.faults] for found in poisoned}
    assert codes == {asset.asset_id: ["worker_killed"] if asset.stream(Modality.VIDEO) else [] for asset in assets}


def test_a_file_that_changed_since_it_was_probed_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_damaged(tmp_path / "media/a.mkv", range(0))
    config = make_config(tmp_path, **DECODE)
    real = survey._in_workers

    def swap_first(*arguments: object) -> object:
        data = (tmp_path / "media/a.mkv").read_bytes()
        (tmp_path / "media/a.mkv").write_bytes(data[:-1] + b"x")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(survey, "_in_workers", swap_first)
    ingest(config)
    assert drops(config)["code"].to_list() == ["changed_since_ingest"] and sources(config) == set()
    monkeypatch.setattr(survey, "_in_workers", real)
    ingest(config)
    assert drops(config).is_empty() and sources(config) == {"a"}
