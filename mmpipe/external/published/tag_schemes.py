"""How a tag says where an entity begins and ends: the scheme of a file is recognised, and brought to BIO.

A tag is O, or a letter and a type, as B-PER. IOB1 begins an entity with I and writes B only between two of one type
(Ramshaw and Marcus 1995); BIO, or IOB2, begins every one with B; BIOES (and its kin BILOU, BMES, BMEWO) also marks the
end and what is an entity of one word. Anything else, as parts of speech, is plain: every word has a tag of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

OUTSIDE = "O"
_MOST_STRANGE = 0.1  # share of tags without a letter in a file that has letters otherwise: they are slips
_ENTITY = re.compile(r"O|[BI]|[BIMELSUW]-.+")
_ONES, _ENDS = "SUW", "ELSUW"


class TagScheme(StrEnum):
    """What the letters of tags mean."""

    PLAIN = "plain"
    IOB1 = "iob1"
    BIO = "bio"
    BIOES = "bioes"


def find_scheme(sentences: Sequence[Sequence[str]]) -> TagScheme:
    """Return the scheme that the tags of a data set are in; where several fit, all of them say the same."""
    tags = [tag for sentence in sentences for tag in sentence]
    letters = {tag[0] for tag in tags if is_entity_tag(tag)} - {OUTSIDE}
    if not letters or sum(not is_entity_tag(tag) for tag in tags) > _MOST_STRANGE * len(tags):
        return TagScheme.PLAIN
    if letters - {"B", "I"}:
        return TagScheme.BIOES
    pairs = [pair for sentence in sentences for pair in pairwise((OUTSIDE, *sentence))]
    opened_by_i = any(tag[0] == "I" and not _goes_on(before, tag) for before, tag in pairs)
    return TagScheme.IOB1 if opened_by_i and all(_fits_iob1(*pair) for pair in pairs) else TagScheme.BIO


def is_entity_tag(tag: str) -> bool:
    """Say whether a tag is O or has a letter that says where in an entity it stands."""
    return bool(_ENTITY.fullmatch(tag))


def to_bio(tags: Sequence[str]) -> list[str]:
    """Return the tags of a sentence in BIO, from any of the schemes.

    An entity begins at B and at every tag that does not go on with the one before it: as conlleval reads an I or E
    after O, or after another type.
    """
    out = []
    for before, tag in pairwise((OUTSIDE, *tags)):
        letter = "I" if tag[0] not in "B" + _ONES and _goes_on(before, tag) else "B"
        out.append(OUTSIDE if tag == OUTSIDE else letter + tag[1:])
    return out


def _goes_on(before: str, tag: str) -> bool:
    return before != OUTSIDE and before[1:] == tag[1:] and before[0] not in _ENDS


def _fits_iob1(before: str, tag: str) -> bool:
    return tag[0] != "B" or _goes_on(before, tag)
