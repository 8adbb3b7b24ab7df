"""Every page of the app over a real small store: what it shows, its twin, and that hostile words are only words."""

from __future__ import annotations

import html
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from corpus_maker import DT, LATER, tree
from shown_app import CORPUS, EVIL, Shown
from starlette.testclient import TestClient

from mmpipe.app.access import Access
from mmpipe.app.routes import make_app
from mmpipe.config import load_config
from mmpipe.steps.app.store_site import StoreSite

BASE = f"/corpora/{CORPUS}"
PAGES = (
    "/",
    BASE,
    f"{BASE}?state=missing&feature=video-hogdct@1",
    f"{BASE}/quarantine",
    f"{BASE}/quarantine?text=no",
    f"{BASE}/datasets",
    f"{BASE}/datasets/audio-logmel@1",
    f"{BASE}/datasets/clips",
    f"{BASE}/samples",
    f"{BASE}/samples?dt={DT}",
    f"{BASE}/clips/film0?dt={DT}",
    "/models",
    "/models/event/production",
    "/snapshots",
    "/runs",
)


class Tags(HTMLParser):
    """Collects the tags of a page, and what of it could run or load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.active: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            is_link = name in ("href", "src", "poster", "action") and not (value or "").startswith(("/", "?", "#"))
            if name.startswith("on") or name == "style" or is_link:
                self.active.append(f"{tag} {name}={value}")


@pytest.mark.parametrize("address", PAGES)
def test_a_page_comes_and_holds_nothing_that_could_run(shown: Shown, address: str) -> None:
    answer = shown.client.get(address)
    assert answer.status_code == 200, answer.text
    seen = Tags(answer.text)
    assert "h1" in seen.tags and not {"script", "style", "iframe", "object"} & set(seen.tags)
    assert seen.active == []
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_link_of_every_page_leads_somewhere(shown: Shown) -> None:
    links = {
        html.unescape(link)
        for address in PAGES
        for link in re.findall(r'(?:href|poster|src)="(/[^"]*)"', shown.client.get(address).text)
    }
    broken = {link: answer.status_code for link in links if (answer := shown.client.get(link)).status_code >= 400}
    assert not broken


def test_the_overview_counts_what_is_there(shown: Shown) -> None:
    (card,) = shown.json("/")["corpora"]
    assert (card["name"], card["dates"], card["newest"], card["quarantined"]) == (CORPUS, 2, LATER, 1)
    assert card["clips"] == 4 and card["states"]["missing"] > 0
    (model,) = shown.json("/")["models"]
    assert model["versions"] == 2 and model["aliases"]["production"].startswith("1-")


def test_the_matrix_says_what_is_missing_and_why(shown: Shown) -> None:
    rows = {row["dt"]: row for row in shown.json(BASE)["rows"]}
    assert list(rows) == [LATER, DT], "the newest first"
    assert {cell["state"] for cell in rows[LATER]["cells"]} == {"missing"}
    assert rows[LATER]["cells"][0]["reasons"] == [{"state": "missing", "shards": 1, "why": "never extracted"}]
    assert {cell["state"] for cell in rows[DT]["cells"]} == {"complete"}
    assert "never extracted" in shown.client.get(BASE).text


@pytest.mark.parametrize(
    ("query", "dates"),
    [
        ("state=missing", [LATER]),
        ("state=complete", [DT]),
        (f"last={DT}", [DT]),
        (f"first={LATER}", [LATER]),
        ("state=stale", []),
    ],
)
def test_the_matrix_is_filtered_by_the_address(shown: Shown, query: str, dates: list[str]) -> None:
    assert [row["dt"] for row in shown.json(f"{BASE}?{query}")["rows"]] == dates


def test_the_quarantine_tells_the_way_out_and_can_be_searched(shown: Shown) -> None:
    page = shown.json(f"{BASE}/quarantine")
    assert [reason["code"] for reason in page["reasons"]] == ["not_media"]
    assert "mmpipe probe" in page["rows"][0]["replay"]
    assert shown.json(f"{BASE}/quarantine?text=nothing+such")["rows"] == []
    assert len(shown.json(f"{BASE}/quarantine?text=SCRIPT&code=not_media")["rows"]) == 1
    text = html.unescape(shown.client.get(f"{BASE}/quarantine").text)
    assert "mmpipe probe" in text and "no <script>alert(1)" in text


def test_a_dataset_tells_its_contract_and_statistics(shown: Shown) -> None:
    page = shown.json(f"{BASE}/datasets/audio-logmel@1")
    (fingerprint,) = page["fingerprints"]
    assert page["facts"]["fingerprint"] == fingerprint and page["facts"]["dtype"] == "float32"
    (date,) = page["dates"]
    assert (date["dt"], date["revision"], date["samples"]) == (DT, 1, 3)
    assert date["statistics"]["num_nan"] == 0 and date["statistics"]["norm_mean"] > 0
    assert "times_ns" in [column["name"] for column in page["columns"]]


def test_samples_are_filtered_and_say_what_can_be_played(shown: Shown) -> None:
    clips = {clip["source_id"]: clip for clip in shown.json(f"{BASE}/samples?dt={DT}")["clips"]}
    assert clips["film0"]["previews"] == ["mp4", "still.jpg"], "its sound plays with it"
    assert clips["pair"]["previews"] == ["m4a", "jpg"]
    assert clips["film0"]["labels"] == {"event": EVIL, "n": "0"}
    found = shown.json(f"{BASE}/samples?dt={DT}&text=WORDS+1")["clips"]
    assert [clip["source_id"] for clip in found] == ["film1"]
    (late,) = shown.json(f"{BASE}/samples")["clips"]
    assert (late["source_id"], late["previews"]) == ("late", ["m4a", "spectrum.png"]), "of the newest date"


def test_a_clip_is_found_by_key_recording_and_source(shown: Shown) -> None:
    page = shown.json(f"{BASE}/clips/film0")
    by_key = shown.json(f"{BASE}/clips/{page['clip']['key']}?dt={DT}")
    by_asset = shown.json(f"{BASE}/clips/{page['asset_id']}")
    assert page == by_key == by_asset
    values = {value["feature"]: value for value in page["values"]}
    assert values["audio-logmel@1"]["has_picture"] and values["audio-logmel@1"]["shape"].endswith(", 64]")
    assert not values["text-ngrams@1"]["has_picture"] and len(values["text-ngrams@1"]["line"]) > 1
    assert {stream["role"] for stream in page["streams"]} == {"audio", "text", "video"}
    pair = shown.json(f"{BASE}/clips/pair")
    assert {value["feature"]: value["shape"] for value in pair["values"]}["video-hogdct@1"] == ""
    picture = shown.client.get(f"{BASE}/values/{page['clip']['key']}/audio-logmel@1.png?dt={DT}")
    assert picture.content.startswith(b"\x89PNG") and picture.headers["content-type"] == "image/png"


def test_a_model_tells_its_versions_and_who_moved_what(shown: Shown) -> None:
    (model,) = shown.json("/models")["models"]
    assert [move["action"] for move in model["moves"]] == ["rollback", "promote", "promote", "nominate"]
    assert model["moves"][0]["why"] == "worse at night"
    assert [version["label"][0] for version in model["versions"]] == ["2", "1"]
    version = shown.json("/models/event/production")
    assert version["measures"] == {"accuracy": 0.75} and version["card"]["label"].startswith("1-")


def test_a_snapshot_tells_what_it_pins(shown: Shown) -> None:
    (card,) = shown.json("/snapshots")["snapshots"]
    page = shown.json(f"/snapshots/{card['digest']}")
    assert sorted({entry[0] for entry in page["entries"]}) == ["audio-logmel@1", "clips"]


def test_a_report_is_shown_cut_off_from_the_app(shown: Shown) -> None:
    assert [report["name"] for report in shown.json("/runs")["reports"]] == [f"street-{DT}.html"]
    answer = shown.client.get(f"/reports/street-{DT}.html")
    assert "a report" in answer.text
    assert answer.headers["content-security-policy"].startswith("sandbox")
    for name in ("outside.html", ".hidden.html", "%2e%2e%2fformat.json", "nothing.html"):
        assert shown.client.get(f"/reports/{name}").status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "/corpora/nothing",
        "/corpora/%2e%2e/datasets",
        "/corpora/_runs/datasets",
        "/corpora/street%00/datasets",
        f"{BASE}/datasets/..%2f..%2fformat.json",
        f"{BASE}/datasets/%2e%2e",
        f"{BASE}/clips/..%2f..%2f..%2fetc%2fpasswd",
        f"{BASE}/clips/{'x' * 5000}",
        f"{BASE}/values/film0/..%2f..%2fformat.json",
        f"{BASE}/previews/nokey/clip.mp4",
        f"{BASE}/previews/film0/..%2f..%2fx",
        f"{BASE}/samples?dt=../../..",
        "/models/..%2f..%2f/1",
        "/models/event/%2e%2e%2f%2e%2e",
        "/models/event/99",
        "/snapshots/..%2fformat",
        "/snapshots/names",
        "/static/app.css",
        "//etc/passwd",
        "/style.css/../../pyproject.toml",
    ],
)
def test_what_is_not_there_is_a_page_with_a_way_out(shown: Shown, address: str) -> None:
    answer = shown.client.get(address)
    assert answer.status_code == 404, answer.text
    assert "overview" in answer.text and 'href="/"' in answer.text
    assert "root:" not in answer.text and "Traceback" not in answer.text
    twin = shown.client.get(address + ("&" if "?" in address else "?") + "format=json")
    assert twin.status_code == 404 and set(twin.json()) == {"title", "why"}


@pytest.mark.parametrize(
    "query", ["page=-1", "page=99999999999999", "page=x", "page=%EF%BC%91", "first=zzz", "state=%00"]
)
def test_nonsense_in_an_address_is_no_error(shown: Shown, query: str) -> None:
    for page in ("", "/quarantine", "/samples", "/datasets/clips"):
        assert shown.client.get(f"{BASE}{page}?{query}").status_code == 200


def test_looking_changes_nothing(shown: Shown) -> None:
    before = tree(shown.folder)
    for address in PAGES:
        shown.client.get(address)
    assert tree(shown.folder) == before


def test_a_project_without_a_store_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "mmpipe.toml").write_text('store = "store"\n')
    with StoreSite(lambda: load_config(tmp_path / "mmpipe.toml")) as site:
        client = TestClient(make_app(site, Access()), base_url="http://localhost")
        pages = [client.get(address) for address in ("/", "/models", "/snapshots", "/runs")]
    assert [page.status_code for page in pages] == [200] * 4
    assert "mmpipe run" in pages[0].text and not os.path.exists(tmp_path / "store")


def test_a_corpus_that_the_config_lost_is_still_shown(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "mmpipe.toml").write_text(f'store = "{shown.folder}/store"\n')
    with StoreSite(lambda: load_config(tmp_path / "mmpipe.toml")) as site:
        client = TestClient(make_app(site, Access()), base_url="http://localhost")
        page = client.get(BASE)
        assert page.status_code == 200 and "the config does not name this corpus" in page.text
        assert client.get("/").status_code == 200
        assert client.get(f"{BASE}/previews/film0/clip.mp4").status_code == 404


def test_a_damaged_version_hides_no_other(shown: Shown, tmp_path: Path) -> None:
    models = shown.layout.models
    (folder,) = (models / "event" / "versions").glob("2-*")
    whole = (folder / "verdict.json").read_bytes()
    (folder / "verdict.json").write_bytes(whole.replace(b"holds", b"lies!"))
    try:
        newest, first = shown.json("/models")["models"][0]["versions"]
        assert newest["status"] == "damaged" and "verdict.json" in newest["fault"]
        assert first["status"] == "candidate"
        assert shown.client.get("/").status_code == 200
        assert "mmpipe verify" in shown.client.get("/models/event/2").text
    finally:
        (folder / "verdict.json").write_bytes(whole)


@pytest.mark.parametrize("name", ["aliases.json", "events.jsonl"])
@pytest.mark.parametrize("damaged", [b"{\n", b"[3]\n"])
def test_damaged_aliases_or_moves_hide_nothing_else(shown: Shown, name: str, damaged: bytes) -> None:
    path = shown.layout.models / "event" / name
    whole = path.read_bytes()
    path.write_bytes(damaged)
    try:
        (model,) = shown.json("/models")["models"]
        assert len(model["versions"]) == 2 and len(model["faults"]) == 1 and str(path) in model["faults"][0]
        page = shown.client.get("/models")
        assert page.status_code == 200 and "damaged" in page.text and name in page.text
        (card,) = shown.json("/")["models"]
        assert card["versions"] == 2 and bool(card["fault"]) == (name == "aliases.json")
        assert shown.client.get("/").status_code == 200
    finally:
        path.write_bytes(whole)
