from __future__ import annotations

from xml.etree import ElementTree

import pytest
from test_page import HOSTILE, report_of

from mmpipe.report.examined import BinShown, ContributionShown, CurveShown, Examined, PointShown
from mmpipe.report.page import draw_plots, render_report
from mmpipe.report.plots import confusion_svg, contribution_svg, curves_svg, reliability_svg
from mmpipe.report.values import ClassResults, ClassScore, Range

SVG = "{http://www.w3.org/2000/svg}"
SOME = Range(value=0.6, low=0.5, high=0.7)


def curve(label: str, *heights: float) -> CurveShown:
    points = tuple(
        PointShown(at=n / (len(heights) - 1), value=Range(value=h, low=h - 0.05, high=h + 0.05))
        for n, h in enumerate(heights)
    )
    return CurveShown(label=label, points=points, area=SOME)


def examined(text: str = "audio") -> Examined:
    bins = tuple(
        BinShown(low=n / 15, high=(n + 1) / 15, num_clips=n, confidence=n / 15, accuracy=0.5) for n in range(15)
    )
    return Examined(
        model=text,
        measure="accuracy",
        weak=text,
        contributions=(
            ContributionShown(modality=text, shapley=SOME, alone=None, without=SOME, permuted=SOME),
            ContributionShown(
                modality="image", shapley=None, alone=SOME, without=Range(value=-0.1, low=-0.2, high=0.0), permuted=None
            ),
        ),
        missing=(curve(text, 0.9, 0.5, 0.3), curve("image", 0.9, 0.88, 0.85)),
        noise=(curve(text, 0.9, 0.7),),
        bins=bins,
        notes=(text,),
    )


def parse(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None and desc is not None and title.text and desc.text
    assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], desc.attrib["id"]]
    return root


def test_every_plot_is_a_file_of_its_own_with_title_and_description() -> None:
    plots = draw_plots(examined())
    assert sorted(plots) == ["contribution", "missing", "noise", "reliability"]
    for svg in plots.values():
        parse(svg)
    assert draw_plots(Examined(model="m", measure="accuracy")) == {}


@pytest.mark.parametrize("text", HOSTILE[:-1], ids=range(len(HOSTILE) - 1))
def test_hostile_names_are_inert_in_plots(text: str) -> None:
    plain, hostile = draw_plots(examined()), draw_plots(examined(text))
    for name, svg in hostile.items():
        tags = [element.tag for element in parse(svg).iter()]
        assert tags == [element.tag for element in parse(plain[name]).iter()]


def test_the_page_holds_the_plots_and_nothing_that_acts() -> None:
    from dataclasses import replace

    page = render_report(replace(report_of(), examined=examined("<script>alert(1)</script>")))
    assert page.count('<svg xmlns="http://www.w3.org/2000/svg" class="plot"') == 4 + 2 and "<script" not in page
    for title in ("What each modality brings", "Where it bends", "Every measure"):
        assert f"<h2>{title}</h2>" in page


def test_a_higher_value_is_drawn_higher_and_lines_differ_in_their_marks() -> None:
    root = parse(
        curves_svg(
            (curve("up", 0.1, 0.9), curve("down", 0.9, 0.1)), title="t", across="x", name="n", measure="accuracy"
        )
    )
    circles = [float(c.attrib["cy"]) for c in root.iter(f"{SVG}circle")]
    assert circles[0] > circles[1]  # y grows downwards; the third is in the legend
    assert len(circles) == 3 and len(list(root.iter(f"{SVG}rect"))) == 1 + 3  # white paper, and squares
    desc = root.find(f"{SVG}desc")
    assert desc is not None and desc.text == "up: 0.100 to 0.900; down: 0.900 to 0.100."


def test_bars_start_at_zero_whichever_way_they_go() -> None:
    root = parse(contribution_svg(examined().contributions, "accuracy"))
    (zero,) = [path.attrib["d"] for path in root.findall(f"{SVG}path")]
    x0 = float(zero[1:].split()[0])
    bars = [rect for group in root.findall(f"{SVG}g") for rect in group.findall(f"{SVG}rect")]
    ends = [(float(bar.attrib["x"]), float(bar.attrib["x"]) + float(bar.attrib["width"])) for bar in bars]
    assert [round(low - x0) == 0 for low, _ in ends] == [True, True, True, False]
    assert ends[3][1] == pytest.approx(x0, abs=0.2)


def test_empty_bins_are_not_drawn_and_the_largest_gap_is_told() -> None:
    root = parse(reliability_svg(examined().bins))
    assert len(root.findall(f"{SVG}g")) == 14
    desc = root.find(f"{SVG}desc")
    assert desc is not None and "Largest gap: confidence 0.07, right 0.50." in str(desc.text)


def test_a_confusion_matrix_is_drawn_until_it_cannot_be_read() -> None:
    def results(size: int) -> ClassResults:
        scores = tuple(ClassScore(label=f"c{n}", precision=1, recall=1, f1=1, support=3) for n in range(size))
        return ClassResults(
            scores=scores, confusion=tuple(tuple(3 * (a == b) for a in range(size)) for b in range(size))
        )

    svg = confusion_svg(results(4))
    assert svg and len(parse(svg).findall(f"{SVG}g")) == 16 and "12 of 12 clips are on the diagonal" in svg
    assert confusion_svg(results(60)) is None
