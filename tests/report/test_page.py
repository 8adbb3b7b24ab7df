from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from mmpipe.look.text import visible
from mmpipe.report.coverage import CoverageCell, CoverageRow, CoverageShown
from mmpipe.report.drift import Drift, DriftRow, DriftShown, Shift
from mmpipe.report.embedding import MapPoint, MapShown
from mmpipe.report.histograms import HistogramShown
from mmpipe.report.neighbours import Neighbour, NeighboursShown
from mmpipe.report.page import BOUNDS, MOST_BYTES, render_report, thin_map
from mmpipe.report.values import (
    CandidateScore,
    CheckShown,
    ClassResults,
    ClassScore,
    EvidenceShown,
    Fact,
    FeatureCounts,
    Funnel,
    GainShown,
    Headline,
    ModelResults,
    Mood,
    QuarantineReason,
    Range,
    ReportInput,
    SameShown,
    Source,
    Step,
    Tally,
    Thumbnail,
    TwinShown,
)

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    '" onmouseover="alert(1)" x=\'',
    "a\u202egnp.exe\u2066",
    "\x1b[2J\x07bell\x00nul",
    "{{ 7 * 7 }}{% raw %}",
    "</style><style>*{display:none}",
    "javascript:alert(1)",
    "]]><svg onload=alert(1)>",
    "&lt;b&gt; &amp;",
    "العربية עברית 日本語",
    "x" * 100_000,
    "<!-- --!> -->",
    "\ud800 lone",
)


def picture() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 6), (40, 90, 120)).save(sink, "PNG")
    return sink.getvalue()


HISTOGRAM = HistogramShown(
    name="loudness",
    meaning="how loud",
    low=0.0,
    high=1.0,
    shares=(0.5, 0.5),
    newest=(1.0, 0.0),
    median=0.5,
    num=2,
    num_without=0,
)


def report_of(text: str = "plain", num_classes: int = 3) -> ReportInput:
    """Return a report with every section, and the text wherever a text can stand."""
    each = Range(value=0.8, low=0.7, high=0.9)
    confusion = tuple(
        tuple(20 if row == column else (row + column) % 3 for column in range(num_classes))
        for row in range(num_classes)
    )
    scores = tuple(
        ClassScore(label=f"{text}{n}", precision=0.9, recall=0.8, f1=0.85, support=20) for n in range(num_classes)
    )
    candidates = tuple(
        CandidateScore(
            name=f"{text}{n}",
            fused=n == 0,
            chosen=n < 2,
            validation_score=0.8,
            worth=each,
            macro_f1=each,
            calibration_error=0.05,
        )
        for n in range(3)
    )
    return ReportInput(
        title=text,
        subtitle=text,
        headline=Headline(word=text, sentence=text, mood=Mood.GOOD),
        facts=(Fact(label=text, value=text),),
        next_steps=(Step(text=text, command=text),),
        funnel=Funnel(
            stages=(Tally(label=text, count=12, note=text), Tally(label="clips", count=9)),
            fates=(Tally(label=text, count=10), Tally(label="quarantined", count=2)),
        ),
        quarantine=(
            QuarantineReason(
                stage=text,
                code=text,
                count=2,
                example=text,
                detail=text,
                replay=text,
                evidence=EvidenceShown(picture="one", excerpt=text, note=text),
            ),
        ),
        twins=(
            TwinShown(kept=text, dropped=text, kept_picture="one", dropped_excerpt=text, distance=0.1, detail=text),
        ),
        num_twins=3,
        same=(SameShown(kept=text, dropped=text, detail=text),),
        num_same=4,
        histograms=(HISTOGRAM,),
        newest=text,
        coverage=CoverageShown(
            by="asset",
            features=(text,),
            rows=(CoverageRow(name=text, note=text, cells=(CoverageCell(written=1, missing=1),)),),
        ),
        drift=DriftShown(
            before=text,
            now=text,
            rows=(
                DriftRow(
                    name=text,
                    kind="signal",
                    before=text,
                    now=text,
                    shift=Shift(effect=0.9, chance=0.1, drift=Drift.LARGE),
                    num_before=9,
                    num_now=9,
                ),
            ),
        ),
        maps=(
            MapShown(
                feature=text,
                method=text,
                coloured_by=text,
                points=(
                    MapPoint(x=0.0, y=0.0, group=text, caption=text, picture="one"),
                    MapPoint(x=1.0, y=1.0, group=f"{text}!", caption=text),
                ),
                note=text,
            ),
        ),
        neighbours=(
            NeighboursShown(
                feature=text,
                asked=Neighbour(caption=text, label=text, picture="one"),
                nearest=(Neighbour(caption=text, label=text, similarity=0.5, is_same=True),),
                coloured_by=text,
                agreement=0.5,
                chance=0.25,
                num_clips=7,
            ),
        ),
        pictures={"one": picture()},
        features=(
            FeatureCounts(feature=text, shape=text, shards=1, written=8, absent=1, quarantined=0, nbytes=5_000_000),
        ),
        model=ModelResults(
            name=text,
            target=text,
            evaluation=text,
            confidence=0.95,
            measure=text,
            candidates=candidates,
            checks=(CheckShown(name=text, passed=False, value=0.1, limit=0.2, detail=text),),
            not_checked=(text,),
            notes=(text,),
            gain=GainShown(judged=text, reference=text, worth=each, margin=0.0, note=text),
            classes=ClassResults(scores=scores, confusion=confusion, counted=text, wholes=scores),
        ),
        thumbnails=(Thumbnail(caption=text, image=picture()),),
        lineage=(Source(kind=text, name=text, digest=text, note=text, href="../clips/a"),),
        links=(Step(text=text, command="beside.html"),),
        without=(text,),
    )


class _Audit(HTMLParser):
    """Collect what could act, and check that tags close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.acting: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcset", "action", "formaction", "xlink:href", "data"):
                self.acting.append(f"{tag} {name}={value}")
            inner = {
                "use": ("#",),
                "a": ("#", "../", "beside.html"),
                "img": ("data:image/",),
                "image": ("data:image/",),
            }
            if name in ("src", "href") and not str(value).startswith(inner.get(tag, "nothing else")):
                self.acting.append(f"{tag} {name}={value}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "img", "br"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_inert(text: str) -> None:
    plain, page = _Audit(render_report(report_of())), render_report(report_of(text))
    hostile = _Audit(page)
    marks = ("text", "rect", "path")  # the lines of a caption on the map, and the room that they take
    assert [tag for tag in hostile.tags if tag not in marks] == [tag for tag in plain.tags if tag not in marks]
    assert not hostile.acting and not hostile.open
    assert not {"script", "iframe", "object", "link", "base", "form", "foreignobject"} & set(hostile.tags)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page)
    assert len(page.encode()) < 3_000_000


def test_the_page_needs_and_allows_nothing_from_elsewhere() -> None:
    page = render_report(report_of())
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; media-src data:")
    assert "unsafe" not in policy and "script-src" not in policy and " style=" not in page
    page = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http:" not in page and "https:" not in page and "@import" not in page and "url(" not in page


TITLES = (
    *("What to do next", "From files to features", "Quarantine", "Near duplicates", "Quality", "Coverage", "Features"),
    *(
        "Duplicates",
        "Drift",
        "Maps",
        "Nearest neighbours",
        "Candidates",
        "The gate",
        "Classes",
        "Some clips",
        "Made from",
    ),
)


def test_a_person_finds_the_numbers() -> None:
    text = " ".join(" ".join(_Audit(render_report(report_of())).text).split())
    for words in TITLES:
        assert text.count(words) >= 2  # once above its section, once in the list of all
    assert "50% of nearest clips have the same plain; by chance 25%." in text and "1/2" in text
    assert "0.800" in text and "0.700–0.900" in text and "4.8 MiB" in text and "83.3%" in text and "95 %" in text


def test_what_is_empty_is_left_out() -> None:
    audit = _Audit(render_report(ReportInput(title="Nothing yet")))
    assert "section" not in audit.tags and "Nothing yet" in audit.text


def test_the_same_values_give_the_same_bytes() -> None:
    assert render_report(report_of()) == render_report(report_of())


def test_many_classes_become_a_list_of_the_worst() -> None:
    assert 'class="heat"' in render_report(report_of(num_classes=30))
    page = render_report(report_of(num_classes=400))
    assert 'class="heat"' not in page and "400 classes are too many for a matrix" in page
    assert "and 300 more" in page and len(page.encode()) < 3_000_000


def test_pictures_stay_within_their_budget() -> None:
    large = Thumbnail(caption="large", image=picture() + bytes(BOUNDS[0].thumbnail_bytes // 4))
    page = render_report(replace(report_of(), thumbnails=(large,) * 10))
    assert page.count("<img") == 3 and "7 more do not fit" in page and len(page.encode()) < MOST_BYTES
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        render_report(replace(report_of(), thumbnails=(Thumbnail(caption="", image=b"<svg onload=x>"),)))


def test_a_picture_is_on_the_page_once_however_often_it_is_shown() -> None:
    page = render_report(report_of())
    assert page.count("<image ") == 1 and page.count('<use href="#s0"') == 4


@pytest.mark.parametrize("length", [40, 400])
def test_a_page_of_a_large_store_fits_whatever_its_names_are(length: int) -> None:
    many, text = 1_000, "\u202e" * length  # each is spelt out in eight characters
    base = report_of(text)
    (reason,), (twin,), (feature,), (shown,), (near,) = (
        base.quarantine, base.twins, base.features, base.maps, base.neighbours
    )  # fmt: skip
    assert base.coverage and base.drift
    points = tuple(replace(shown.points[0], x=float(n), picture=str(n)) for n in range(many))
    large = replace(
        base,
        quarantine=(reason,) * many,
        twins=(twin,) * many,
        same=base.same * many,
        features=(feature,) * many,
        histograms=(HISTOGRAM,) * 200,
        coverage=replace(base.coverage, rows=base.coverage.rows * 48),
        drift=replace(base.drift, rows=base.drift.rows * many),
        maps=(replace(shown, points=points),) * 4,
        neighbours=(replace(near, nearest=near.nearest * 5),) * many,
        pictures={str(n): picture() + bytes(20_000) for n in range(many)},
        lineage=base.lineage * many,
    )
    page = render_report(large)
    assert len(page.encode()) < MOST_BYTES
    assert "From files to features" in page and "more</td>" in page


def test_a_score_far_below_zero_does_not_fill_the_page() -> None:
    base = report_of()
    assert base.model and base.model.gain
    worth = Range(value=-9_000.0, low=-20_000.0, high=0.5)
    candidates = tuple(replace(row, worth=worth) for row in base.model.candidates)
    model = replace(base.model, candidates=candidates, gain=replace(base.model.gain, worth=worth))
    page = render_report(replace(base, model=model))
    assert len(page) < len(render_report(base)) + 10_000


def test_a_smaller_map_is_of_all_dates_and_says_how_many_it_shows() -> None:
    (shown,) = report_of().maps
    points = tuple(replace(shown.points[1], x=float(n), picture=f"p{n}") for n in range(1_000))
    thin = thin_map(replace(shown, points=points), 300, {"p5", "p999"})
    assert len(thin.points) == 300 and thin.points[0].x == 0 and thin.points[-1].picture == "p999"
    assert thin.points[1].picture == "p5", "of neighbours the one that has a picture"
    assert 140 <= sum(point.x < 500 for point in thin.points) <= 160
    assert "300 clips, evenly chosen from 1,000." in render_report(
        replace(report_of(), maps=(replace(shown, points=points),))
    )
    assert "2 clips." in render_report(report_of())


def test_invisible_characters_are_spelt_out() -> None:
    assert visible("a\u202eb\x1b") == "a\\u{202e}b\\u{1b}"
    assert visible("é 日本") == "é 日本" and len(visible("x" * 9999)) == 400
