from __future__ import annotations

import pytest

from mmpipe.errors import SampleError
from mmpipe.media.captions import decode_text, parse_json, parse_srt, parse_txt, parse_vtt

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
