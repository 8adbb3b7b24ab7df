"""Schemes of tags: which one a file is in, and the same entities in BIO."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpipe.external.published.tag_schemes import TagScheme, find_scheme, is_entity_tag, to_bio


def tags_of(written: str) -> list[str]:
    return written.split()


# The same entities, PER [0 1], PER [2], LOC [4], ORG [5 6 7], in every scheme.
BIO = tags_of("B-PER I-PER B-PER O B-LOC B-ORG I-ORG I-ORG O")
SAME = {
    TagScheme.BIO: BIO,
    TagScheme.IOB1: tags_of("I-PER I-PER B-PER O I-LOC I-ORG I-ORG I-ORG O"),
    TagScheme.BIOES: tags_of("B-PER E-PER S-PER O S-LOC B-ORG I-ORG E-ORG O"),
}
BILOU = tags_of("B-PER L-PER U-PER O U-LOC B-ORG I-ORG L-ORG O")
BMES = tags_of("B-PER E-PER S-PER O S-LOC B-ORG M-ORG E-ORG O")


@pytest.mark.parametrize("scheme", SAME)
def test_a_scheme_is_found_and_brought_to_bio(scheme: TagScheme) -> None:
    assert find_scheme([SAME[scheme], ["O"]]) is scheme
    assert to_bio(SAME[scheme]) == BIO


@pytest.mark.parametrize("tags", [BILOU, BMES])
def test_kin_of_bioes_are_read_alike(tags: list[str]) -> None:
    assert find_scheme([tags]) is TagScheme.BIOES and to_bio(tags) == BIO


def test_a_slip_in_bio_is_read_as_conlleval_reads_it() -> None:
    tags = ["B-PER", "O", "I-LOC", "I-LOC", "I-PER", "B-PER"]
    assert find_scheme([tags]) is TagScheme.BIO
    assert to_bio(tags) == ["B-PER", "O", "B-LOC", "I-LOC", "B-PER", "B-PER"]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["NOUN", "VERB", "O"], TagScheme.PLAIN),
        (["O", "O"], TagScheme.PLAIN),
        (["B-NP", "X", "Y", "Z"], TagScheme.PLAIN),
        (["B", "I", "O"], TagScheme.BIO),
        (["I-PER", "O"], TagScheme.IOB1),
        (["B-a-b", "I-a-b"], TagScheme.BIO),
        (["-LRB-", "NN", "S-BAR?"], TagScheme.PLAIN),
    ],
)
def test_what_is_no_entity_tag_is_plain(tags: list[str], scheme: TagScheme) -> None:
    assert find_scheme([tags]) is scheme


def test_a_slip_among_many_entity_tags_does_not_make_them_plain() -> None:
    assert find_scheme([["B-PER", "O", "O", "O"]] * 5 + [["OO"]]) is TagScheme.BIO
    assert not is_entity_tag("OO") and not is_entity_tag("b-per") and is_entity_tag("B-PER")


@given(st.lists(st.sampled_from(["B-X", "I-X", "B-Y", "I-Y", "E-X", "S-Y", "O"]), max_size=12))
def test_bio_is_what_every_i_goes_on_with_and_stays_as_it_is(tags: list[str]) -> None:
    made = to_bio(tags)
    assert to_bio(made) == made and len(made) == len(tags)
    for before, tag in zip(["O", *made], made, strict=False):
        assert tag[0] in "BIO" and (tag[0] != "I" or (before[1:] == tag[1:] and before != "O"))
