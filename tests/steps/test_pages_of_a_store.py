"""The pages of a real small store: they hold its true counts, show what was refused, and are forgotten with it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from corpus_maker import CORPUS, SOUND, extract, ingest, make_config, write_film, write_pairs, write_picture, write_text

from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.features.trained.spec import EXPERIMENTAL, EncoderSpec
from mmpipe.io import canonical_json
from mmpipe.registry.versions import publish_version
from mmpipe.report.coverage import CoverageCell
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.shown import coverage
from mmpipe.steps.shown.dataset_card import dataset_card_path, write_dataset_card
from mmpipe.steps.shown.refused import show_refused
from mmpipe.steps.shown.release_card import write_release_card
from mmpipe.steps.shown.samples import sample_page, write_sample_page
from mmpipe.steps.tell.report import _next_steps, write_report
from mmpipe.store.layout import StoreLayout, create_store
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

FIRST, SECOND = "2026-11-20", "2026-11-21"
HOSTILE = "<script>alert(1)<\u2215script>.wav"

pytestmark = pytest.mark.usefixtures("warm_workers")


class _Text(HTMLParser):
    """What a person reads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Make a store of two dates: eight sounds with captions, a copy, a film, a picture, and what cannot be used."""
    folder = tmp_path_factory.mktemp("pages")
    media = folder / "media"
    for date, names in ((FIRST, "abcd"), (SECOND, "efgh")):
        write_pairs(media, [f"{date}/{name}" for name in names])
    (media / FIRST / "again.wav").write_bytes((media / FIRST / "a.wav").read_bytes())
    (media / FIRST / "again.txt").write_bytes((media / FIRST / "a.txt").read_bytes())
    write_film(media / SECOND / "film.mp4")
    write_picture(media / SECOND / "still.png")
    write_text(media / SECOND / HOSTILE, b"RIFF this is no sound <b>at all</b>")
    labels = folder / "labels.jsonl"
    rows = ({"id": name, "tone": "even" if number % 2 else "odd"} for number, name in enumerate("abcdefgh"))
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = make_config(
        folder,
        labels={"file": str(labels)},
        dates={"rule": "path"},
        signals={"enabled": True},
        dedup={"near": True},
        max_quarantined=1.0,
    )
    for date in (FIRST, SECOND):
        ingest(made, date)
    extract(made)
    return made


@pytest.fixture(scope="module")
def page(config: Config) -> str:
    return write_report(config, CORPUS, SECOND).read_text("utf-8")


def test_the_report_holds_the_true_counts(page: str) -> None:
    text = _Text(page).text
    assert "21 files 10 assets 10 clips" in text
    for fate in ("18 used", "1 quarantined", "2 duplicates"):
        assert fate in text
    assert re.search(rf"{SOUND} vector, \d+ wide 9 1 0 ", text), "nine clips have a sound, one has none"
    assert f"{SECOND} differs from {FIRST} in" in text


def test_copies_stand_by_name_beside_what_is_kept(page: str) -> None:
    text = _Text(page).text
    assert "1 was left out, because the very same content is kept under another name." in text
    assert re.search(rf"kept {FIRST}/(a|again) left out {FIRST}/(a|again) the same bytes in the same roles", text)


def test_what_is_in_use_is_not_among_what_was_refused(config: Config) -> None:
    """A note on a clip that is kept is no reason; what a filter left out says that a filter did."""
    layout = StoreLayout(config.store)
    (broken,) = read_quarantine(layout, CORPUS).filter(pl.col("stage") == "probe").iter_rows(named=True)
    rows = [
        broken | {"code": "shared_stream", "kept": True},
        broken | {"code": "filtered_loud", "stage": "filter", "file": "", "clip_key": "one"},
    ]
    drops = pl.DataFrame(rows, schema=read_quarantine(layout, CORPUS).schema)
    live = read_spine(layout, CORPUS).filter(~pl.col("superseded"))
    (reason,) = show_refused(config, layout, CORPUS, live, drops).reasons
    assert (reason.code, reason.stage) == ("filtered_loud", "left out by a filter of the config")
    steps = [step.command for step in _next_steps(CORPUS, None, None, drops.filter(pl.col("kept")))]
    assert steps == [f"mmpipe plan --corpus {CORPUS}"]


def test_a_page_compares_its_own_date_with_the_one_before(config: Config) -> None:
    first = _Text(write_report(config, CORPUS, FIRST).read_text("utf-8")).text
    assert f"there is one date with clips until {FIRST}" in first and f"The line is {FIRST} alone." in first
    later = _Text(write_report(config, CORPUS, "2026-12-01").read_text("utf-8")).text
    assert f"2026-12-01 has no clips; before it, {SECOND} differs from {FIRST} in" in later


def test_each_asset_has_its_row_of_features(page: str) -> None:
    rows = re.findall(r'<tr><td><span class="name">([^<]*)</span></td>(.*?)</tr>', page, re.DOTALL)
    cells = {name: re.findall(r'class="cell (\w+)" title="([^"]*)"', row) for name, row in rows}
    assert len(cells) == 10
    assert cells[f"{SECOND}/still"] == [("lvx", "1 absent"), ("lvx", "1 absent")]
    assert cells[f"{SECOND}/film"][0] == ("lv4", "1 written")


def test_what_was_refused_can_be_seen_and_does_nothing(page: str) -> None:
    assert "RIFF this is no sound &lt;b&gt;at all&lt;/b&gt;" in page
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page


def test_clips_are_on_the_map_by_what_they_are(page: str) -> None:
    assert page.count('class="point"') == 9 + 8 and "coloured by tone" in page
    assert "of nearest clips have the same tone" in page and page.count("<symbol") >= 9


def test_a_night_without_measures_says_what_it_lacks(config: Config, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    write_text(tmp_path / "media" / "a.txt", "one text alone")
    poor = make_config(tmp_path, features=["text-ngrams"])
    ingest(poor)
    text = _Text(write_report(poor, CORPUS, FIRST).read_text("utf-8")).text
    for said in ("Drift: there is one date", "signals.enabled is off", "dedup.near is off", "no model of the config"):
        assert said in text


def test_clips_that_took_the_place_of_made_ones_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made of clips that are superseded by now is still in the manifests, and counts for no clip."""
    (tmp_path / "media").mkdir()
    config = make_config(tmp_path, features=["text-ngrams"])
    for text in ("first", "second"):
        for name in "abc" if text == "first" else "ab":
            write_text(tmp_path / "media" / f"{name}.txt", f"the {text} words of {name}")
        ingest(config)
        if text == "first":
            extract(config)
    layout = StoreLayout(config.store)
    live = read_spine(layout, CORPUS).filter(~pl.col("superseded"))
    for most_by_asset, most_looked_into in ((20_000, 100), (0, 100), (0, 0)):
        monkeypatch.setattr(coverage, "_MOST_CLIPS_BY_ASSET", most_by_asset)
        monkeypatch.setattr(coverage, "_MOST_LOOKED_INTO", most_looked_into)
        shown = coverage.show_coverage(layout, CORPUS, live, read_quarantine(layout, CORPUS), ("text-ngrams@1",))
        assert shown
        cells = sum((row.cells[0] for row in shown.rows), CoverageCell())
        assert cells == CoverageCell(written=1, missing=2), (shown.by, cells)


def test_an_encoder_has_a_card_without_results(tmp_path: Path) -> None:
    """No gate judges what learns without labels: there are losses alone."""
    config = make_config(tmp_path)
    lineage = {
        "corpus": CORPUS,
        "snapshot": "5" * 64,
        "manifests": [],
        "shards": [],
        "raw_files": [],
        "recipe": "7" * 64,
        "kind": "text-lstm",
        "rows": {"train": {"clips": 12}, "val": {"clips": 3}},
    }
    said = {
        "config": EncoderSpec(kind="text-lstm", input="text-tokens@1", input_dim=1, num_ids=99).to_json(),
        "metrics": {"train_losses": [4.5, 1.25], "val_losses": [4.0, None], "kept_epoch": 1},
        "verdict": {"status": EXPERIMENTAL, "sentence": "Experimental: judged by no gate."},
        "lineage": lineage,
    }
    files = {f"{name}.json": canonical_json(table) for name, table in said.items()}
    layout = create_store(config.store)
    publish_version(layout.models, "words", files, status=EXPERIMENTAL, recipe_digest="7" * 64)
    text = _Text(write_release_card(config, "words").read_text("utf-8")).text
    for told in ("judged by no gate", "4.5000 at first, 1.2500 at last", "not measured as it is kept", "text-tokens"):
        assert told in text
    assert 'extractor = "release:words@1"' in text and "mmpipe predict" not in text and "The gate" not in text


def test_a_dataset_has_a_card_and_the_report_leads_to_it(config: Config) -> None:
    card = write_dataset_card(config, CORPUS, "audio-mfccseg")
    text = _Text(card.read_text("utf-8")).text
    assert "9 dates 2, 2026-11-20 to 2026-11-21" in text and "import polars" in text
    assert f'href="../{CORPUS}/{SOUND}/README.md"' in card.read_text("utf-8")
    assert (card.parent / f"../{CORPUS}/{SOUND}/README.md").exists()
    assert f'href="{card.name}"' in write_report(config, CORPUS, SECOND).read_text("utf-8")


def test_clips_can_be_played(config: Config, tmp_path: Path) -> None:
    target = tmp_path / "new" / "sample.html"
    write_sample_page(config, CORPUS, "audio-mfccseg", 20, SECOND, target)
    page = target.read_text("utf-8")
    assert page.count("<audio ") == 4 and page.count("<video ") == 1 and page.count('class="heat-of"') == 5
    assert "the caption of" in _Text(page).text
    assert [sample.kind for sample in sample_page(config, CORPUS, SOUND, 1, FIRST).samples] == ["audio"]
    with pytest.raises(ConfigError, match="has no value"):
        sample_page(config, CORPUS, SOUND, 1, "2020-01-01")


def test_pages_that_may_show_it_are_forgotten_with_a_clip(config: Config) -> None:
    layout = StoreLayout(config.store)
    pages = [write_dataset_card(config, CORPUS, SOUND), write_report(config, CORPUS, SECOND)]
    forget(config, CORPUS, f"{FIRST}/b", "asked for")
    assert not any(path.exists() for path in pages) and pages[0] == dataset_card_path(layout, CORPUS, SOUND)
    assert "the caption of 2026-11-20/b" not in write_dataset_card(config, CORPUS, SOUND).read_text("utf-8")
