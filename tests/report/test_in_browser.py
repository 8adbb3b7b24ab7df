"""The pages in a real browser: nothing overflows a narrow screen, nothing complains or asks the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_cards import dataset_of, release_of, sample_page_of
from test_page import HOSTILE, report_of
from test_plots import examined

from mmpipe.report.cards import render_dataset_card, render_release_card, render_sample
from mmpipe.report.page import render_report
from tests.flows.browser import Tab, find_chromium, open_browser

LONG = "a_name_without_any_place_to_break_it_" * 8
PAGES = {
    "report": lambda text: render_report(replace(report_of(text), examined=examined(text[:60]))),
    "dataset": lambda text: render_dataset_card(dataset_of(text)),
    "release": lambda text: render_release_card(release_of(text)),
    "sample": lambda text: render_sample(sample_page_of(text)),
}
# What sticks out of the window, and not into a box of its own that scrolls.
STICKS_OUT = """[...document.querySelectorAll('body *')].filter(x => {
    const box = x.getBoundingClientRect()
    return box.width && box.right > innerWidth + 1 && !x.closest('.scroll, pre, svg')
}).map(x => x.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with open_browser(program, tmp_path_factory.mktemp("browser") / "home") as tab:
        tab.watch()
        yield tab


def show(tab: Tab, folder: Path, page: str) -> None:
    path = folder / "page.html"
    path.write_text(page, "utf-8")
    tab.open(path.as_uri())
    tab.await_true("document.readyState == 'complete' && document.querySelector('main')")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width_px", [390, 1280])
def test_a_page_fits_by_day_and_in_the_dark(tab: Tab, tmp_path: Path, name: str, width_px: int) -> None:
    colours = set()
    for is_dark in (False, True):
        tab.show_at(width_px, is_dark=is_dark)
        show(tab, tmp_path, PAGES[name](LONG))
        assert tab.ask("document.documentElement.scrollWidth") <= width_px
        assert not tab.ask(STICKS_OUT)
        colours.add(tab.ask("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
    assert not tab.complaints()
    assert {address.rpartition("/")[2] for address in tab.requests()} == {"page.html"}


@pytest.mark.parametrize("name", PAGES)
def test_hostile_names_do_nothing(tab: Tab, tmp_path: Path, name: str) -> None:
    for text in HOSTILE[:3]:
        show(tab, tmp_path, PAGES[name](text))
        assert tab.ask("document.querySelectorAll('script, [onerror], [onload], [onmouseover]').length") == 0
    assert not [said for said in tab.complaints() if "Content Security Policy" in said]


def test_the_style_of_a_page_is_let_in_by_its_own_policy(tab: Tab, tmp_path: Path) -> None:
    tab.show_at(1280)
    show(tab, tmp_path, PAGES["report"]("plain"))
    assert tab.ask("getComputedStyle(document.querySelector('.sprites')).position") == "absolute"
    assert tab.ask("document.querySelectorAll('nav.contents a').length") >= 15


def test_a_clip_on_the_map_is_shown_to_who_comes_by_key(tab: Tab, tmp_path: Path) -> None:
    tab.show_at(1280)
    show(tab, tmp_path, PAGES["report"]("plain"))
    hidden = "getComputedStyle(document.querySelector('.point[tabindex] .shown')).display"
    assert tab.ask(hidden) == "none"
    for _ in range(40):
        tab.press("Tab")
        if tab.ask("document.activeElement.classList.contains('point')"):
            break
    assert tab.ask(hidden) == "block"
