from __future__ import annotations

import pytest

from mmpipe.errors import SampleError
from mmpipe.sources.safe_names import NameBook, safe_name


@pytest.mark.parametrize(("name", "safe"), [(b"a.wav", b"a.wav"), (b"././a/b", b"a/b"), (b"\xff..\\x", b"\xff..\\x")])
def test_plain_names_stay(name, safe):
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    "name", [b"", b"/abs", b"../x", b"a/../../x", b"a//b", b"a/.", b"a/", b"a\0b", b"x" * 300, b"a/" * 1600 + b"a"]
)
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(SampleError, match="unsafe_name"):
        safe_name(name)


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a"), ("a.jpg", "A.JPG"), ("é", "e\u0301"), ("a/b", "a"), ("a", "A/b/c")]
)
def test_twins_are_refused(first, second):
    book = NameBook()
    book.add(first.encode())
    book.add(b"another/a")
    with pytest.raises(SampleError, match="name_twice"):
        book.add(second.encode())
