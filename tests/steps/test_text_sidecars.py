"""Tables of words beside media: read by the fields that the config names, from the ingest to the extraction."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_maker import CORPUS, drops, extract, ingest, make_config, write_text, write_tone

from mmpipe.steps.quarantine.probe_again import probe_again
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.spine import read_spine

pytestmark = pytest.mark.usefixtures("warm_workers")


def texts(config) -> dict[str, str]:
    spine = read_spine(StoreLayout(config.store), CORPUS)
    return {row["source_id"]: row["text"] for row in spine.to_dicts() if not row["superseded"]}


def test_fields_of_a_table_are_the_words_of_its_recording(tmp_path):
    root = tmp_path / "media"
    root.mkdir()
    for number, name in enumerate(("lines", "cues", "records")):
        write_tone(root / f"{name}.wav", 300 + 100 * number)
    write_text(root / "lines.csv", "speaker,said,noted\nA,hello,hm\nB,wörld,\n".encode("cp1252"))
    write_text(
        root / "cues.jsonl", '{"start": 0, "end": 0.2, "said": "first"}\n{"start": 0.2, "end": 0.4, "said": "second"}\n'
    )
    write_text(root / "records.json", '{"said": "alone", "text": "not asked for"}')
    write_text(root / "catalogue.csv", "id,said\nlines,no sidecar of anything\n")
    config = make_config(tmp_path, text={"fields": ["said"]}, max_quarantined=1.0)
    ingest(config)
    assert texts(config) == {"lines": "hello\nwörld", "cues": "first second", "records": "alone"}
    assert drops(config) == {"catalogue.csv": "unknown_type"}
    _, done = extract(config)
    assert [(one.written, one.absent, one.quarantined) for one in done.features] == [(3, 0, 0), (3, 0, 0)]

    both = make_config(tmp_path, text={"fields": ["said", "noted"]}, max_quarantined=1.0)
    ingest(both)
    assert texts(both)["lines"] == "hello hm\nwörld"
    report, _ = extract(both)
    assert report.reused >= 3  # the sounds, and what is said of them otherwise is computed


def test_lines_of_captions_that_nobody_understands_are_told_and_the_rest_is_used(tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    for number, name in enumerate(("mixed", "short", "words")):
        write_tone(root / f"{name}.wav", 300 + 100 * number, seconds=6.0)
    good = "1\n00:00:01,000 --> 00:00:02,000\ngood\n\n"
    write_text(root / "mixed.srt", good + "2\n0:0:bad --> x\nlost words\n\n3\n00:00:03 --> 00:00:04\nalso good\n")
    write_text(root / "short.srt", "1\n00:00:01:500 --> 00:00:02:500\nif a<b and b>c\n")
    write_text(root / "words.vtt", "no captions at all, just words\n")
    config = make_config(tmp_path, max_quarantined=1.0)
    (count,) = ingest(config).partitions
    assert texts(config) == {"mixed": "good also good", "short": "if a<b and b>c", "words": ""}
    rows = read_quarantine(StoreLayout(config.store), CORPUS).sort("file")
    assert rows.select("file", "source_id", "code", "detail", "kept").rows() == [
        (
            "mixed.srt",
            "mixed",
            "lines_not_understood",
            "1 line is not understood, line 6: '0:0:bad --> x'; the rest is used",
            True,
        ),
        (
            "words.vtt",
            "words",
            "no_streams",
            "no text in it; 1 line is not understood, line 1: 'no captions at all, just words'",
            False,
        ),
    ]
    assert (count.files, count.used, count.quarantined, count.clips) == (6, 5, 1, 3)
    told = {(row["file"], row["what"]) for row in probe_again(config, CORPUS, ["mixed.srt"])}
    assert told == {("mixed.srt", "lines_not_understood"), ("mixed.srt", "text")}
    write_text(root / "mixed.srt", good)
    ingest(config)
    assert list(drops(config)) == ["words.vtt"] and texts(config)["mixed"] == "good"
