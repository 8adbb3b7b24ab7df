"""The small pictures of a page: each is in it once, however often it is shown."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup, escape

from mmpipe.look.pages import image_address
from mmpipe.look.text import visible

_WIDTH_PX, _HEIGHT_PX = 160, 120


class Sprites:
    """Pictures by name, as far as they fit; a name without one gives nothing to see."""

    def __init__(self, pictures: Mapping[str, bytes], most_bytes: int) -> None:
        """Take pictures in their order, until `most_bytes` are used."""
        self.ids: dict[str, str] = {}
        symbols = []
        for name, image in pictures.items():
            if len(image) <= most_bytes:
                most_bytes -= len(image)
                self.ids[name] = f"s{len(self.ids)}"
                symbols.append(_symbol(self.ids[name], image))
        self._symbols = Markup("").join(symbols)

    @property
    def sheet(self) -> Markup:
        """Return what stands once on the page, unseen."""
        return Markup('<svg class="sprites" aria-hidden="true">{}</svg>').format(self._symbols)

    def has(self, name: str) -> bool:
        """Return whether there is such a picture."""
        return name in self.ids

    def show(self, name: str, said: str) -> Markup:
        """Return a picture, or a place that says what would be seen there."""
        if name not in self.ids:
            return Markup('<span class="nopic">{}</span>').format(visible(said)[:60])
        return Markup('<svg class="pic" viewBox="0 0 {} {}" role="img" aria-label="{}"><use href="#{}"/></svg>').format(
            _WIDTH_PX, _HEIGHT_PX, visible(said), self.ids[name]
        )


def _symbol(name: str, image: bytes) -> Markup:
    return Markup('<symbol id="{}" viewBox="0 0 {w} {h}"><image width="{w}" height="{h}" href="{}"/></symbol>').format(
        name, escape(image_address(image)), w=_WIDTH_PX, h=_HEIGHT_PX
    )
