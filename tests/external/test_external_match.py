"""Whose row is whose."""

from __future__ import annotations

import pytest

from mmpipe.errors import ConfigError
from mmpipe.external.match import ClipName, choose_match, match_keys
from mmpipe.external.pin import MatchBy, MatchRule
from mmpipe.types import FeatureKind

CLIPS = [
    ClipName(key="k1", asset_id="1", source_id="day/a"),
    ClipName(key="k2", asset_id="1", source_id="day/a"),
    ClipName(key="k3", asset_id="2", source_id="day/b"),
    ClipName(key="k4", asset_id="3", source_id="night/b"),
    ClipName(key="k5", asset_id="4", source_id="night/c"),
    ClipName(key="k6", asset_id="5", source_id="night/c", superseded=True),
]
VECTOR, SEQUENCE = FeatureKind.VECTOR, FeatureKind.SEQUENCE


@pytest.mark.parametrize(
    ("by", "pattern", "kind", "keys", "rows", "ambiguous"),
    [
        (MatchBy.CLIP, "", VECTOR, ["k1", "k6"], {"k1": "k1", "k6": "k6"}, ()),
        (MatchBy.SOURCE, "", VECTOR, ["day/a"], {"k1": "day/a", "k2": "day/a"}, ()),
        (MatchBy.SOURCE, "", SEQUENCE, ["day/a", "day/b"], {"k3": "day/b"}, ("day/a",)),
        (MatchBy.STEM, "", VECTOR, ["b", "c"], {"k5": "c"}, ("b",)),
        (MatchBy.STEM, r"(?P<key>\w)\.\d", VECTOR, ["c.1"], {"k5": "c.1"}, ()),
        (MatchBy.STEM, r"(?P<key>\w)\.\d", VECTOR, ["c.1", "c.2", "c"], {}, ("c.1", "c.2")),
    ],
)
def test_rows_find_their_clips(by, pattern, kind, keys, rows, ambiguous):
    match = match_keys(keys, CLIPS, MatchRule(by=by, pattern=pattern), kind)
    assert (dict(match.rows), match.ambiguous) == (rows, ambiguous)


def test_what_has_no_partner_is_named_on_both_sides():
    match = match_keys(["k1", "zz"], CLIPS, MatchRule(by=MatchBy.CLIP), VECTOR)
    assert match.keys_without == ("zz",)
    assert match.clips_without == ("day/a", "day/b", "night/b", "night/c")


def test_the_rule_that_fits_most_is_chosen_and_none_is_refused():
    assert choose_match(["k1", "k3"], CLIPS, "", VECTOR).by is MatchBy.CLIP
    assert choose_match(["day/a", "day/b"], CLIPS, "", VECTOR).by is MatchBy.SOURCE
    assert choose_match(["a"], CLIPS, "", VECTOR).by is MatchBy.STEM
    with pytest.raises(ConfigError, match=r"none of their 1 keys .* names a clip of ours"):
        choose_match(["zz"], CLIPS, "", VECTOR)
