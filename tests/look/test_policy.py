"""What a page may do: what it holds itself, and nothing else."""

from __future__ import annotations

import base64
import hashlib

import pytest

from mmpipe.look.pages import film_address, image_address, look_css, make_environment
from mmpipe.look.policy import content_policy


def test_nothing_is_let_in_but_what_is_named() -> None:
    assert content_policy() == (
        "default-src 'none'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )
    policy = content_policy(["a{}"], ["1"], images="'self'")
    digest = base64.b64encode(hashlib.sha256(b"a{}").digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy and "script-src 'sha256-" in policy and "img-src 'self';" in policy


def test_the_style_sheet_loads_nothing_and_cannot_end_its_element() -> None:
    assert not [word for word in ("url(", "@import", "http", "</", "expression(") if word in look_css()]


@pytest.mark.parametrize("data", [b"<svg onload=alert(1)>", b"", b"GIF89a"])
def test_only_pictures_become_addresses(data: bytes) -> None:
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        image_address(data)
    with pytest.raises(ValueError, match="MP4"):
        film_address(data, "video")


def test_a_template_escapes_cuts_and_shows_what_is_invisible() -> None:
    template = make_environment().from_string("{{ x }}|{{ x | code }}")
    assert template.render(x="<a>\u202e") == "&lt;a&gt;\\u{202e}|&lt;a&gt;\\u{202e}"
    shown, program = template.render(x="a\nb").split("|")
    assert shown == "a\\u{a}b" and program == "a\nb"
    assert len(template.render(x="x" * 9_999).split("|")[0]) == 400
