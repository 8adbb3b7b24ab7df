"""Tables of words beside media: read by the fields that the config names, from the ingest to the extraction."""

from __future__ import annotations

import pytest
from corpus_maker import CORPUS, drops, extract, ingest, make_config, write_text, write_tone

from mmpipe.store.layout import StoreLayout
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
