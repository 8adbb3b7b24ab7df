"""Names, texts and tags of an attacker: data in every output, and never more than that."""

from __future__ import annotations

import json
import struct
from html.parser import HTMLParser
from pathlib import Path

import mutants
import pytest
from corpus_maker import CORPUS, DT, drops, make_config, write_text, write_tone

from mmpipe.cli.show import plain
from mmpipe.config import Config
from mmpipe.steps.ground.markdown import as_block, inert
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.tell.report import write_report
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")


PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    "<\\script>alert(1)",
    "<\u2215script><script>alert(1)<\u2215script>",
    "=cmd|' -C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\tTAB",
    "\u202egpj.exe",
    "\x1b[2J\x1b[31m",
    "a\rb",
    "a\nb",
    "\x07bell",
    "\u2066iso",
    '" onmouseover="x',
    "' or 1=1 --",
    "{{7*7}}",
    "${7*7}",
    "$(id)",
    "`id`",
    "%s%n%x",
    "x\u2215..\u2215..\u2215etc\u2215passwd",
    "|pipe|",
    "[link](javascript:alert(1))",
    "![img](x)",
    "# heading",
    "&lt;b&gt;",
    "\x01start",
    "\u200bzero",
    "😀\u0301é",
)


_NO_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32)))  # a text with these is no text


class Seen(HTMLParser):
    """Counts what a page runs."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.handlers = 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count scripts, and attributes that run something."""
        self.scripts += tag == "script"
        self.handlers += sum(name.startswith("on") for name, _ in attrs)
        self.handlers += sum("javascript:" in (value or "") for name, value in attrs if name in ("href", "src"))


@pytest.fixture(scope="module")
def hostile_names(tmp_path_factory, warm_workers) -> Config:
    """Return the config of a corpus whose good and bad files have the names, texts and tags of an attacker."""
    folder = tmp_path_factory.mktemp("names")
    root = folder / "media"
    root.mkdir()
    assert len(PAYLOADS) == 30
    for number, payload in enumerate(PAYLOADS):
        write_tone(root / f"{payload}{number}.wav", 300 + 40 * number)
        write_text(root / f"{payload}{number}.txt", f"{payload.translate(_NO_CONTROLS)} said {number}")
        write_text(root / f"{payload}bad{number}.mp4", f"no film {number}\n")
    title = (PAYLOADS[0] + PAYLOADS[9]).encode()
    text = b"TIT2" + struct.pack(">I", len(title) + 1) + b"\x00\x00\x03" + title
    id3 = b"ID3\x03\x00\x00" + bytes((len(text) >> shift) & 0x7F for shift in (21, 14, 7, 0)) + text
    write_text(root / "tagged.mp3", id3 + mutants.film("mp3", None, "libmp3lame", {}))
    config = make_config(folder, max_quarantined=1)
    ingest_corpus(config, CORPUS, DT)
    return config


def test_every_hostile_name_is_plain_data(hostile_names):
    spine = read_spine(StoreLayout(hostile_names.store), CORPUS)
    assert spine.height == len(PAYLOADS) + 1
    assert sum(code == "not_media" for code in drops(hostile_names).values()) == len(PAYLOADS)
    controls = {chr(code) for code in (*range(32), 127)}
    assert not any(controls & set(name) for name in spine["source_id"])


def test_a_report_of_hostile_names_runs_nothing(hostile_names):
    page = Path(write_report(hostile_names, CORPUS, DT, "", "")).read_text(encoding="utf-8")
    seen = Seen()
    seen.feed(page)
    harmless = Seen()
    harmless.feed(page.replace("onerror", "").replace("onmouseover", ""))
    assert (seen.scripts, seen.handlers) == (harmless.scripts, harmless.handlers) and seen.handlers == 0
    assert "default-src 'none'" in page and "\x1b" not in page and "<img src=x" not in page


def test_a_terminal_is_not_steered_by_names(hostile_names):
    for row in read_quarantine(StoreLayout(hostile_names.store), CORPUS).to_dicts():
        for value in row.values():
            shown = plain(value)
            assert shown.isprintable() and not any(character in shown for character in "\x1b\r\n\u202e\u2066")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_name_in_markdown_is_only_text(payload):
    shown = inert(payload)
    assert "\n" not in shown and "<" not in shown and "](" not in shown and "\x1b" not in shown
    block = as_block(f"{payload}\n```\n# {payload}")
    assert all(line.startswith("    ") for line in block.splitlines())


def test_rows_with_hostile_names_are_plain_json(hostile_names):
    rows = read_quarantine(StoreLayout(hostile_names.store), CORPUS).to_dicts()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert all(json.loads(row["facts"])["bytes"] for row in rows)
