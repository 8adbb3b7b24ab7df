"""The app in a real browser: `mmpipe app` as a person types it, every page, a player, and a narrow screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import find_chromium
from corpus_maker import DT
from shown_app import CORPUS, start_app
from watched_tab import WatchedTab, open_watched

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine"),
]
BASE = f"/corpora/{CORPUS}"
PAGES = (
    "/",
    BASE,
    f"{BASE}/quarantine",
    f"{BASE}/samples?dt={DT}",
    f"{BASE}/clips/film0",
    f"{BASE}/clips/pair",
    f"{BASE}/datasets",
    f"{BASE}/datasets/audio-logmel@1",
    "/models",
    "/models/event/1",
    "/snapshots",
    "/runs",
)
# Played from its start, then sent to its middle: only a server that answers parts can do that.
PLAY = """new Promise(done => {
    const video = document.querySelector('video')
    const end = setTimeout(() => done('never: ' + video.readyState + ' ' + (video.error && video.error.message)), 50000)
    video.muted = true
    video.onseeked = () => { clearTimeout(end); done([video.readyState, video.currentTime, video.duration]) }
    video.onloadeddata = () => { video.currentTime = 0.25 }
    video.play().catch(error => done(String(error)))
})"""


@pytest.fixture(scope="module")
def address(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the app; return its address without the last slash."""
    with start_app(street, tmp_path_factory.mktemp("cache")) as address:
        yield address


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedTab]:
    program = find_chromium()
    assert program
    with open_watched(program, tmp_path_factory.mktemp("browser") / "home") as watched:
        yield watched


@pytest.mark.parametrize(("width_px", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_is_whole_and_asks_nobody_else(address: str, tab: WatchedTab, width_px: int, scheme: str) -> None:
    tab.look(width_px, scheme)
    for page in PAGES:
        tab.open(address + page)
        wide_px = tab.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide_px <= 0, f"{page} scrolls sideways by {wide_px} px at {width_px} px"
        assert tab.complaints() == [], page
        strangers = [asked for asked in tab.addresses() if not asked.startswith(address)]
        assert strangers == [], page
        assert tab.ask("getComputedStyle(document.body).backgroundColor") != "rgba(0, 0, 0, 0)", "the look is there"
        assert tab.ask("document.scripts.length") == 0


def test_a_clip_plays_and_can_be_sought_in(address: str, tab: WatchedTab) -> None:
    tab.look(1280, "light")
    tab.open(f"{address}{BASE}/clips/film0")
    played = tab.ask(PLAY)
    assert isinstance(played, list), played
    ready, at_s, length_s = played
    assert ready >= 2 and at_s >= 0.25 and length_s > 0.4
    assert tab.complaints() == []


def test_a_sound_plays_and_a_picture_is_seen(address: str, tab: WatchedTab) -> None:
    tab.open(f"{address}{BASE}/clips/pair")
    ready = tab.ask(PLAY.replace("'video'", "'audio'"))
    assert isinstance(ready, list) and ready[0] >= 2, ready
    assert tab.ask("document.querySelector('img.pic').decode().then(() => 1, () => 0)") == 1


def test_a_form_of_a_page_asks_what_it_says(address: str, tab: WatchedTab) -> None:
    tab.open(f"{address}{BASE}")
    tab.ask("document.querySelector('select[name=state]').value = 'missing'")
    tab.ask("document.querySelector('form button').click()")
    tab.await_true("location.search.includes('state=missing')")
    assert tab.ask("document.querySelectorAll('.grid-of tbody tr').length") == 1
    assert tab.complaints() == []


def test_a_report_is_opened_and_cannot_reach_the_app(address: str, tab: WatchedTab) -> None:
    tab.open(f"{address}/reports/street-{DT}.html")
    assert tab.ask("document.body.innerText") == "a report"
    assert tab.ask("window.origin") == "null"
    assert tab.ask(f"fetch('{address}/').then(() => 'read', () => 'refused')") == "refused"
