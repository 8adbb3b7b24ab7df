"""Texts of every kind and in every encoding: what they say, when, or the one reason why they say nothing."""

from __future__ import annotations

import json

import pytest

from mmpipe.config import LimitsConfig, TextConfig
from mmpipe.errors import SampleError
from mmpipe.media.captions import decode_text, parse_csv, parse_json, parse_jsonl, parse_vtt
from mmpipe.media.probe import probe_file
from mmpipe.types import RawFile


def spans(captions) -> list[tuple[float, float, str]]:
    return [(cue.start_ns / 1e9, cue.end_ns / 1e9, cue.text) for cue in captions.cues]


TIMED = [(0.5, 1.0, "one, two"), (62.25, 63.0, "three")]


@pytest.mark.parametrize(
    "table",
    [
        'start,end,text\n62.25,63,three\n0.5,1,"one, two"\n',
        "text;start_s;end_s\r\none, two;0.5;1.0\r\nthree;62.25;63.0\r\n",
        "\ufefftext\tstart\tend\none, two\t0.5\t1\nthree\t00:01:02.250\t01:03.0\n\t5\t6\n",
    ],
)
def test_a_row_of_a_table_is_a_cue(table):
    captions = parse_csv(table.encode())
    assert spans(captions) == TIMED
    assert captions.text == "one, two three"


def test_rows_without_times_are_lines():
    assert parse_csv(b'id,text\n1,"a <b>word</b>"\n2,\n3,"two\nlines"\n').text == "a word\ntwo lines"
    assert parse_csv(b"text\nalone\n").text == "alone"


def test_fields_are_named_by_the_config():
    config = TextConfig(fields=("title", "body"))
    assert parse_csv(b"title,body,text\nA,b c,no\n", config).text == "A b c"
    assert parse_jsonl(b'{"title": "A", "body": "b"}\n\n{"body": "c"}\n"alone"\n', config).text == "A b\nc\nalone"
    assert parse_json(b'{"title": "A", "body": "b", "text": "no"}', config).text == "A b"
    cues = parse_json(b'{"cues": [{"start": 0.5, "end": 1, "title": "one, two"}]}', config)
    assert spans(cues) == TIMED[:1]
    with pytest.raises(SampleError, match=r"decode_error: has no title or body, only \['text'\]: say text.fields"):
        parse_csv(b"text\nno\n", config)


def test_a_line_of_json_is_a_cue():
    lines = [{"start": start, "end": end, "text": text} for start, end, text in TIMED]
    assert spans(parse_jsonl("\n".join(json.dumps(line) for line in lines).encode())) == TIMED


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (parse_jsonl, b'{"text": "a"}\n{"text"\n'),
        (parse_jsonl, b'{"other": 1}\n'),
        (parse_jsonl, b"[" * 100_000),
        (parse_csv, b"a,b\n1,2\n"),
    ],
)
def test_other_records_are_refused(parse, data):
    with pytest.raises(SampleError, match="decode_error"):
        parse(data)


# --------------------------------------------------------------------------- encodings

SENTENCES = {
    "cp1252": "naïve – “Ärger” in the café",
    "latin-1": "Señor, ¿qué pasó? Grüße aus Köln",
    "cp1250": "Zażółć gęślą jaźń, proszę bardzo. Příliš žluťoučký kůň",
    "cp1254": "İstanbul'da bugün hava çok güzel, değil mi?",
    "shift-jis": "今日は天気がいいですね。明日も晴れるでしょう。",
    "euc-jp": "今日は天気がいいですね。",
    "gb18030": "今天天气很好，我们去公园散步吧。",
    "big5": "今天天氣很好，我們去公園散步吧。",
    "euc-kr": "오늘은 날씨가 좋네요. 공원에 갑시다.",
    "cp1251": "Привет, как дела?",
    "koi8-r": "Привет, как дела? Сегодня хорошая погода.",
    "cp1253": "Καλημέρα σε όλους, τι κάνετε σήμερα;",
    "cp1255": "שלום לכולם, מה שלומכם היום?",
    "cp1256": "مرحبا بالجميع، كيف حالكم اليوم؟",
}


@pytest.mark.parametrize("encoding", SENTENCES)
def test_text_without_a_mark_is_read_by_its_letters(encoding):
    assert decode_text(SENTENCES[encoding].encode(encoding)) == SENTENCES[encoding]
    subtitle = f"WEBVTT\n\n00:01.0 --> 00:02.0\n{SENTENCES[encoding]}\n".encode(encoding)
    assert parse_vtt(subtitle).cues[0].text == SENTENCES[encoding]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_is_marked_is_read_as_it_says(encoding):
    for sentence in SENTENCES.values():
        assert decode_text(sentence.encode(encoding)) == sentence


@pytest.mark.parametrize("mark", ["utf-16-be", "utf-32-be"])
def test_marks_of_the_other_end(mark):
    assert decode_text("\ufeffÄrger".encode(mark)) == "Ärger"


def test_text_that_was_decoded_wrongly_once_is_repaired_if_asked():
    once = "naïve – “Ärger”".encode().decode("cp1252", "ignore").encode()
    assert "naïve" in decode_text("naÃ¯ve words".encode())
    assert decode_text("naÃ¯ve words".encode(), repair=False) == "naÃ¯ve words"
    assert decode_text(once, repair=False) == once.decode()
    for sentence in SENTENCES.values():
        assert decode_text(sentence.encode()) == sentence


def test_text_is_nfc_with_plain_newlines():
    assert decode_text("Cafe\u0301\r\nau\rlait".encode()) == "Caf\u00e9\nau\nlait"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"a\x00b", "encoding"),
        (b'{"text": "\\ud800 alone"}', "encoding"),
        (b"\xff\xfe\x00\xd8\x41\x00", "encoding"),
        (b"\xff\xfe\x00", "encoding"),
        (b"\x81\x8d\xff\x9d", "encoding"),
    ],
)
def test_what_no_text_holds_is_refused(data, code):
    with pytest.raises(SampleError, match=code):
        parse_json(data) if data[:1] == b"{" else decode_text(data)


def test_large_texts_are_refused_before_they_are_read(tmp_path, probe):
    with open(tmp_path / "a.txt", "wb") as file:
        file.write(b"one line of 100 MB")
        file.truncate(100 << 20)
    for name in ("a.csv", "a.jsonl", "a.vtt"):
        (tmp_path / name).write_bytes(b"x" * (5 << 20))
    assert [drop.code for name in ("a.csv", "a.jsonl", "a.vtt") for drop in probe(name).drops] == ["limit_text"] * 3
    (drop,) = probe("a.txt").drops
    assert drop.code == "not_media"  # what is full of NUL is no text, whatever its name


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.json", "a.srt"])
def test_text_with_nul_is_refused_in_words(name, tmp_path, probe):
    (tmp_path / name).write_bytes(b"text\nwords\x00 and words\n")
    (drop,) = probe(name).drops
    assert drop.code == "encoding"
    assert drop.detail == "holds a NUL (U+0000), which text does not: remove it; UTF-16 is read with a byte-order mark"


def test_other_fields_are_another_stream(tmp_path):
    (tmp_path / "a.csv").write_text("text,title\nx,y\n")
    (tmp_path / "a.txt").write_text("x")

    def digest(name: str, *fields: str) -> str:
        status = (tmp_path / name).stat()
        file = RawFile(name=name, nbytes=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)
        return probe_file(tmp_path, file, LimitsConfig(), text=TextConfig(fields=fields)).streams[0].digest

    assert digest("a.csv") != digest("a.csv", "title")
    assert digest("a.txt") == digest("a.txt", "title")
