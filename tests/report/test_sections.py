"""What the sections show: pure functions from small arrays to values and pictures."""

from __future__ import annotations

import io
import math
from importlib.util import find_spec
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from test_page import picture

from mmpipe.errors import ConfigError
from mmpipe.report.axis import number_axis
from mmpipe.report.coverage import CoverageCell, CoverageRow, fold_rows
from mmpipe.report.drift import Drift, DriftRow, DriftShown, drift_of, shift_of
from mmpipe.report.embedding import (
    NO_LABEL,
    OTHERS,
    MapPoint,
    MapShown,
    groups_of,
    map_svg,
    project_pca,
    project_umap,
    standardise,
)
from mmpipe.report.heat import fold_vector, heat_png, scale, shrink
from mmpipe.report.histograms import BINS, histogram_of, histogram_svg
from mmpipe.report.neighbours import agreement_of, nearest_of, similarities
from mmpipe.report.range import Range
from mmpipe.report.sprites import Sprites
from mmpipe.report.trend import MOST_DATES, trend_svg

SVG = "{http://www.w3.org/2000/svg}"


# --------------------------------------------------------------------------- histograms


def test_a_histogram_counts_what_there_is_and_tells_what_there_is_not() -> None:
    shown = histogram_of("loudness", "how loud", np.array([0.0, 0.0, 1.0, math.nan]), np.array([1.0]))
    assert shown is not None and len(shown.shares) == BINS
    assert shown.shares[0] == pytest.approx(2 / 3) and shown.shares[-1] == pytest.approx(1 / 3)
    assert shown.newest[-1] == 1.0 and (shown.num, shown.num_without, shown.median) == (3, 1, 0.0)
    assert histogram_of("loudness", "", np.array([math.nan])) is None
    assert "3 clips, median 0" in histogram_svg(shown, "one")


def test_one_wild_value_does_not_flatten_the_others() -> None:
    shown = histogram_of("duration", "", np.append(np.linspace(2.0, 4.0, 50), 6_000.0))
    assert shown is not None and shown.high == 4.0 and sum(share > 0 for share in shown.shares) == BINS
    assert sum(shown.shares) == pytest.approx(1.0)  # the wild one stands in the last bar


def test_equal_values_have_a_width() -> None:
    shown = histogram_of("shots", "", np.ones(5))
    assert shown is not None and shown.low < 1 < shown.high and max(shown.shares) == 1.0


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-70.0, -14.0), (1e-9, 3e-9), (5.0, 5.0), (0.0, 5e7)])
def test_an_axis_names_a_few_round_numbers_whatever_their_size(low: float, high: float) -> None:
    axis = number_axis(low, high)
    assert 2 <= len(axis.ticks) <= 7 and len({label for _, label in axis.ticks}) == len(axis.ticks)


# --------------------------------------------------------------------------- drift


def test_two_halves_of_one_whole_do_not_drift_and_another_loudness_does() -> None:
    values = np.random.default_rng(3).normal(size=400)
    same, moved = shift_of(values[:200], values[200:]), shift_of(values[:200], values[200:] + 1.0)
    assert same is not None and moved is not None
    assert same.drift is Drift.NONE and moved.drift is Drift.LARGE
    assert same.chance == pytest.approx(0.1) and moved.effect == pytest.approx(1.0, abs=0.2)


def test_a_vector_moves_as_a_whole() -> None:
    rows_ND = np.random.default_rng(3).normal(size=(300, 16))
    shift = shift_of(rows_ND[:150], rows_ND[150:] + 0.5)
    assert shift is not None and shift.effect == pytest.approx(0.5, abs=0.1)


def test_constants_that_differ_moved_infinitely_and_one_clip_says_nothing() -> None:
    shift = shift_of(np.zeros(5), np.ones(5))
    assert shift is not None and shift.effect == math.inf and shift.drift is Drift.LARGE
    assert shift_of(np.zeros(5), np.zeros(5)) is not None and shift_of(np.zeros(1), np.ones(5)) is None


@pytest.mark.parametrize(
    ("effect", "chance", "word"),
    [(0.1, 0.01, "small"), (0.1, 0.06, "none"), (0.6, 0.1, "medium"), (0.9, 0.1, "large"), (0.9, 0.5, "none")],
)
def test_a_shift_has_a_word(effect: float, chance: float, word: str) -> None:
    assert drift_of(effect, chance) == word


def test_the_answer_names_what_moved() -> None:
    shift = shift_of(np.arange(9.0), np.arange(9.0) + 50)
    assert shift is not None
    row = DriftRow(name="loudness", kind="signal", before="1", now="2", shift=shift, num_before=9, num_now=9)
    assert "in loudness" in DriftShown(before="a", now="b", rows=(row,)).sentence()
    assert "nothing moved" in DriftShown(before="a", now="b", rows=()).sentence()
    assert (
        DriftShown(before="a", now="b", rows=(row,), asked="c").sentence().startswith("c has no clips; before it, b ")
    )


# --------------------------------------------------------------------------- coverage


@pytest.mark.parametrize(
    ("cell", "level", "text"),
    [
        (CoverageCell(written=4), "lv4", "4/4"),
        (CoverageCell(absent=4), "lvx", "–"),
        (CoverageCell(written=9, missing=1), "lv3", "9/10"),
        (CoverageCell(written=1, quarantined=9), "lv1", "1/10"),
        (CoverageCell(missing=3, absent=1), "lv0", "0/3"),
    ],
)
def test_a_cell_counts_what_should_be_there(cell: CoverageCell, level: str, text: str) -> None:
    assert (cell.level, cell.text) == (level, text)


def test_old_rows_are_put_together_and_no_clip_is_lost() -> None:
    rows = [CoverageRow(name=str(n), note="", cells=(CoverageCell(written=n),)) for n in range(10)]
    folded = fold_rows(rows, most=4)
    assert [row.name for row in folded] == ["7 before", "7", "8", "9"]
    assert sum(row.cells[0].written for row in folded) == sum(range(10))
    assert fold_rows(rows, most=10) == tuple(rows)


# --------------------------------------------------------------------------- maps and neighbours


def clusters() -> tuple[np.ndarray, list[str]]:
    """Two groups of ten, far apart in 40 dimensions."""
    noise_ND = np.random.default_rng(7).normal(size=(20, 40))
    noise_ND[10:] += 8.0
    return standardise(noise_ND), ["left"] * 10 + ["right"] * 10


def test_two_clusters_lie_apart_on_the_map_and_always_in_the_same_place() -> None:
    x_ND, _ = clusters()
    placed = project_pca(x_ND)
    first_N = placed.xy_N2[:, 0]
    assert first_N[:10].max() < first_N[10:].min() or first_N[:10].min() > first_N[10:].max()
    assert np.array_equal(placed.xy_N2, project_pca(x_ND).xy_N2) and placed.method.startswith("PCA: 9")


def test_clips_that_are_all_alike_have_a_map() -> None:
    assert np.isfinite(project_pca(standardise(np.ones((4, 3)))).xy_N2).all()


def test_umap_is_there_or_says_how_to_get_it() -> None:
    assert project_umap(np.ones((3, 2))).method.startswith("PCA")  # three clips have no neighbourhood
    if find_spec("umap") is None:
        with pytest.raises(ConfigError, match=r"mmpipe\[umap\]"):
            project_umap(np.ones((5, 2)))


@pytest.mark.sweep
def test_umap_keeps_clusters_apart_and_is_the_same_every_time() -> None:
    if find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    x_ND, _ = clusters()
    xy_N2 = project_umap(x_ND).xy_N2
    middles = xy_N2[:10].mean(axis=0), xy_N2[10:].mean(axis=0)
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * xy_N2[:10].std()
    assert np.array_equal(xy_N2, project_umap(x_ND).xy_N2)


def point(group: str, x: float = 0.0, picture: str = "") -> MapPoint:
    return MapPoint(x=x, y=x, group=group, caption=f"clip of {group}", picture=picture)


def test_groups_beyond_the_colours_are_others_and_no_label_comes_last() -> None:
    few = [point("b"), point("a"), point(NO_LABEL)]
    assert groups_of(few) == ("a", "b", NO_LABEL)
    many = [point(f"g{n}") for n in range(20) for _ in range(20 - n)]
    assert groups_of(many)[-1] == OTHERS and len(groups_of(many)) == 7


def test_a_pictured_point_is_reached_by_key_and_shows_its_picture() -> None:
    shown = MapShown(feature="f", method="PCA", coloured_by="c", points=(point("a", 0.0, "one"), point("b", 1.0)))
    root = ElementTree.fromstring(map_svg(shown, "m", {"one": "s0"}))
    points = [group for group in root.iter(f"{SVG}g") if group.get("class") == "point"]
    assert [group.get("tabindex") for group in points] == [None, "0"]  # what has a picture is drawn last, on top
    assert [use.get("href") for use in root.iter(f"{SVG}use")] == ["#s0"]
    assert "2 clips" in str(root.findtext(f"{SVG}desc"))


def test_neighbours_are_those_of_the_same_cluster() -> None:
    x_ND, labels = clusters()
    likeness_NN = similarities(x_ND)
    assert all(near < 10 for near in nearest_of(likeness_NN, 0)) and 0 not in nearest_of(likeness_NN, 0)
    found = agreement_of(likeness_NN, labels)
    assert found is not None and found.share == 1.0 and found.chance == pytest.approx(9 / 19)
    assert agreement_of(likeness_NN, ["same"] * 20) is None and agreement_of(likeness_NN, [""] * 20) is None


# --------------------------------------------------------------------------- pictures


def test_a_value_is_a_small_picture_whatever_its_size() -> None:
    for shape in ((3_000, 500), (1, 1), (7, 2)):
        with Image.open(io.BytesIO(heat_png(np.random.default_rng(1).normal(size=shape)))) as made:
            assert made.width == min(shape[0], 160) and made.height == min(shape[1], 64)
    with Image.open(io.BytesIO(heat_png(np.arange(130.0)))) as made:
        assert made.size == (64, 3) and made.convert("RGB").getpixel((63, 2)) == (128, 128, 128)


def test_the_scale_forgives_a_few_and_lets_a_constant_be() -> None:
    assert np.allclose(scale(np.full((2, 2), 7.0)), 0.5)
    assert np.nanmax(scale(np.append(np.linspace(0, 1, 99), 1e9)[None])) == 1.0
    assert np.isnan(scale(np.full((1, 2), np.nan))).all()
    assert fold_vector(np.arange(3.0)).shape == (1, 3) and len(shrink(np.ones((100, 2)), 10)) == 10


def test_sprites_are_kept_until_there_is_no_room() -> None:
    sprites = Sprites({"a": picture(), "b": picture() + bytes(5_000), "c": picture()}, 1_000)
    assert sprites.has("a") and not sprites.has("b") and sprites.has("c")
    assert 'href="#s0"' in sprites.show("a", "said") and "&lt;i&gt;" in sprites.show("b", "<i>")
    assert sprites.sheet.count("<symbol") == 2


def test_a_trend_shows_the_last_dates_and_their_ranges() -> None:
    ranges = [Range(value=float(n), low=n - 1.0, high=n + 1.0) for n in range(MOST_DATES + 30)]
    root = ElementTree.fromstring(
        trend_svg([f"day {n}" for n in range(len(ranges))], ranges, title="t", up="u", name="n")
    )
    assert len(list(root.iter(f"{SVG}circle"))) == MOST_DATES
    assert "from 30 to 119" in str(root.findtext(f"{SVG}desc"))
    assert trend_svg(["a", "b"], [Range(value=1, low=1, high=1)] * 2, title="t", up="u", name="n")
