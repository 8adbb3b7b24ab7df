from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mmpipe.errors import SampleError
from mmpipe.media.captions import Captions, decode_text, parse_json, parse_srt, parse_txt, parse_vtt
from mmpipe.media.cue_lines import tell_lost

Parse = Callable[[bytes], Captions]

VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE
a comment

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Anna>Hello &amp; <c.loud>welcome</c></v>
to <00:00:02.000>this

1
01:00:03.250 --> 01:00:04.000
later
"""


def spans(captions) -> list[tuple[float, float, str]]:
    return [(cue.start_ns / 1e9, cue.end_ns / 1e9, cue.text) for cue in captions.cues]


def test_vtt():
    captions = parse_vtt(VTT.encode())
    assert spans(captions) == [(1.0, 2.5, "Hello & welcome to this"), (3603.25, 3604.0, "later")]
    assert captions.text == "Hello & welcome to this later"


def test_srt_with_and_without_numbers_and_blank_lines():
    tidy = "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>one</i>\r\ntwo\r\n\r\n"
    tidy += "2\r\n00:00:02,5 --> 00:00:03,25\r\n{\\an8}three\r\n"
    rough = "00:00:01.000 --> 00:00:02.000\none\ntwo\n2\n00:00:02.500 --> 00:00:03.250\nthree"
    assert spans(parse_srt(tidy.encode())) == [(1.0, 2.0, "one two"), (2.5, 3.25, "three")]
    assert spans(parse_srt(rough.encode())) == spans(parse_srt(tidy.encode()))


def test_cues_are_in_the_order_of_time_and_never_empty():
    text = "00:05.0 --> 00:06.0\nlast\n\n00:01.0 --> 00:02.0\n \n\n00:01.0 --> 00:00.5\nfirst\n\nx --> y\nnone\n"
    assert spans(parse_vtt(text.encode())) == [(1.0, 0.5, "first"), (5.0, 6.0, "last")]


def lost(captions: Captions) -> list[tuple[int, str]]:
    return [(one.number, one.line) for one in captions.lost]


@pytest.mark.parametrize("times", ["00:00:01 --> 00:00:02", "00:00:01:000 --> 00:00:02:000", "0:1 -> 0:2"])
def test_times_without_a_fraction_or_behind_a_colon_are_understood(times: str) -> None:
    captions = parse_srt(f"1\n{times}\nhello\n\n2\n00:00:03,5 --> 00:00:04,000\nthere\n".encode())
    assert spans(captions) == [(1.0, 2.0, "hello"), (3.5, 4.0, "there")]
    assert captions.lost == () and captions.is_newly_read


@pytest.mark.parametrize(
    "times",
    [
        "0:0:bad --> x",
        "x --> y",
        "-00:00:01,000 --> 00:00:02,000",
        "99999:00:00,000 --> 99999:00:01,000",
        "00:00:01:12 --> 00:00:02:12",  # frames: how long one lasts, nobody says
    ],
)
@pytest.mark.parametrize("parse", [parse_srt, parse_vtt])
def test_times_that_are_not_understood_are_told_and_their_words_are_no_others(times: str, parse: Parse) -> None:
    before, after = "00:00:01,000 --> 00:00:02,000\ngood\n", "00:00:05.000 --> 00:00:06.000\nlast\n"
    captions = parse(f"1\n{before}\n2\n{times}\ntheir words\n\n3\n{after}".encode())
    assert spans(captions) == [(1.0, 2.0, "good"), (5.0, 6.0, "last")]
    told = lost(captions)
    assert (6, times) in told and {number for number, _ in told} <= {5, 6}
    assert "line 6" in tell_lost(captions.lost) or "line 5" in tell_lost(captions.lost)
    if times[-1].isdecimal():
        tight = parse(f"{before}{times}\ntheir words\n\n{after}".encode())
        assert spans(tight) == spans(captions) and lost(tight) == [(3, times)] and tight.is_newly_read


def test_a_blank_line_in_a_cue_of_subrip_ends_nothing() -> None:
    text = "1\n00:01,0 --> 00:02,0\nline with\n\nblank inside\n\n2\n\n00:03,0 --> 00:04,0\n\nB --> C\n42\n\n3\n"
    captions = parse_srt(text.encode())
    assert spans(captions)[0] == (1.0, 2.0, "line with blank inside")
    assert captions.is_newly_read


def test_a_block_of_webvtt_that_is_none_is_told() -> None:
    text = VTT + "\nblank inside\nand more\n\nid\n00:05.000 --> 00:06.000\nend\n"
    captions = parse_vtt(text.encode())
    assert [number for number, _ in lost(captions)] == [19, 20]
    assert tell_lost(captions.lost) == "2 lines are not understood, the first is line 19: 'blank inside'"
    assert parse_srt(text.encode()) == captions  # by what it says, not by its name
    plain = parse_vtt(b"not a vtt at all, just words\n")
    assert plain.text == "" and tell_lost(plain.lost).startswith("1 line is not understood, line 1: 'not a vtt")


def test_an_arrow_in_what_is_said_is_a_word() -> None:
    captions = parse_srt(b"1\n00:01,0 --> 00:02,0\nfrom A --> B\nthen -> C\n\n")
    assert spans(captions) == [(1.0, 2.0, "from A --> B then -> C")] and captions.lost == ()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("<i>I <3 you</i> if a<b and b>c", "I <3 you if a<b and b>c"),
        ("x <y> z <unknown> <2>", "x <y> z <unknown> <2>"),
        ("<v.loud Anna>Hi</v> <c.red.big>a</c> <lang en>b</lang> <ruby>c<rt>d</rt></ruby>", "Hi a b cd"),
        ('<FONT color="#fff">e</FONT> <B>f</B> <u>g</u> <00:01.500>h <01:00:01.5>i', "e f g h i"),
    ],
)
def test_only_tags_are_taken_out_of_what_is_said(written: str, words: str) -> None:
    captions = parse_vtt(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{written}\n".encode())
    assert captions.text == words
    assert captions.is_newly_read == ("<" in words)
    assert parse_json(json.dumps({"text": written}).encode()).text == words


def test_what_every_reader_read_alike_is_not_newly_read() -> None:
    tidy = (
        b"1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>one</i>\r\n\r\n2\r\n00:00:02,5 --> 00:00:03,25\r\ntwo\r\n\r\n3\r\n"
    )
    assert not parse_srt(tidy).is_newly_read and not parse_vtt(VTT.encode()).is_newly_read
    assert not parse_json(b'{"cues": [{"start": 1, "end": 2, "text": "<i>a</i>"}]}').is_newly_read


def test_txt_keeps_its_lines_and_is_nfc():
    assert parse_txt("  Cafe\u0301\r\nau lait \n".encode()).text == "Caf\u00e9\nau lait"


@pytest.mark.parametrize(
    ("data", "text", "cues"),
    [
        (b'"just words"', "just words", []),
        (b'{"text": " all  of it ", "other": 1}', "all of it", []),
        (b'{"segments": [{"start": 0.5, "end": 1, "text": "a"}, {"start": 0, "end": 0.5, "text": "b"}]}', "b a", None),
        (
            b'{"text": "t", "cues": [{"start_s": 1, "end_s": 2, "text": "c"}, '
            b'{"start_s": NaN, "end_s": 1, "text": "x"}]}',
            "t",
            [(1.0, 2.0, "c")],
        ),
        (b'[{"start": 1e300, "end": 2, "text": "no"}, {"start": true, "end": 2, "text": "no"}, 5]', "", []),
    ],
)
def test_json(data, text, cues):
    captions = parse_json(data)
    assert captions.text == text
    if cues is not None:
        assert spans(captions) == cues
    else:
        assert all(cue.end_ns > cue.start_ns for cue in captions.cues) and captions.cues


@pytest.mark.parametrize("data", [b"{", b"5", b'{"caption": "x"}', b"[" * 100_000])
def test_other_json_is_refused(data):
    with pytest.raises(SampleError, match="decode_error"):
        parse_json(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings(encoding):
    assert decode_text("naïve – “Ärger”".encode(encoding)) == "naïve – “Ärger”"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x81\x8d\xff", b"a\x00b", b"a\x1fb", b"\xff\xfe\x00\xd8\x41\x00"])
def test_what_is_no_text_is_refused(data):
    with pytest.raises(SampleError, match="encoding"):
        decode_text(data)


def test_numbers_that_are_said_stay_where_cues_have_none() -> None:
    parts = ("How many?", "42", "born in\n1984", "from 12 --> 14\nmeant", "end")
    text = "\n\n".join(f"00:00:{2 * n:02d},000 --> 00:00:{2 * n + 1:02d},000\n{said}" for n, said in enumerate(parts))
    captions = parse_srt(text.encode())
    assert [cue.text for cue in captions.cues] == [part.replace("\n", " ") for part in parts]
    assert not captions.lost
