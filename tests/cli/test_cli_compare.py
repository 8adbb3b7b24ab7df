"""The verb that holds two features against each other, as a person types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed_projects import AUDIO, Type, write_sample_project

from mmpipe.store.sample import SampleFeature
from mmpipe.types import FeatureKind, FeatureSchema, Modality

WIDE = SampleFeature(
    schema=FeatureSchema(feature="audio-wide@1", modality=Modality.AUDIO, kind=FeatureKind.VECTOR, dim=9)
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_sample_project(tmp_path, AUDIO, WIDE)


def test_two_features_are_compared_over_the_newest_dates(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "feature", "compare", "audio-toy", "audio-wide", "--json").json()
    assert (told["old"], told["new"]) == ("audio-toy@1", "audio-wide@1")
    assert told["partitions"] == ["2026-11-20", "2026-11-19"]
    likeness = told["likeness"]
    assert likeness["clips"] > 0 and likeness["gained"] > 0, "four in ten clips have no toy"
    assert likeness["cosine_mean"] is None and 0 <= likeness["neighbours_kept"] <= 1
    one = mmpipe(project, "feature", "compare", "audio-toy", "audio-wide", "--dt", "2026-11-19", "--json").json()
    assert one["partitions"] == ["2026-11-19"] and one["likeness"]["clips"] < likeness["clips"]


def test_what_a_person_must_look_at_is_said_beside_the_table(project: Path, mmpipe: Type) -> None:
    told = mmpipe(project, "feature", "compare", "audio-wide", "audio-toy")
    assert told.code == 0 and "audio-toy@1 beside audio-wide@1, 2 dates of sample" in " ".join(told.out.split())
    assert "clips lose their value" in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("audio-toy", "audio-toy@1"), "itself"),
        (("audio-toy", "nobody"), "no feature 'nobody'"),
        (("audio-toy", "audio-wide", "--dt", "2020-01-01"), "not both committed on 2020-01-01"),
    ],
)
def test_what_cannot_be_compared_is_named(project: Path, mmpipe: Type, words: tuple[str, ...], said: str) -> None:
    refused = mmpipe(project, "feature", "compare", *words)
    assert refused.code == 3 and said in refused.err.replace("\n", " ")
