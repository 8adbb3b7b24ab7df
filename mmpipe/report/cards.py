"""The pages of what is handed to others: a dataset, a release, and a look at some clips of a feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from mmpipe.look.pages import make_environment, render_page
from mmpipe.report.examined import Examined
from mmpipe.report.histograms import HistogramShown, histogram_svg
from mmpipe.report.page import BOUNDS, MOST_BYTES, ROOM, Bounds, charts_of, draw_plots
from mmpipe.report.range import Range
from mmpipe.report.sprites import Sprites
from mmpipe.report.trend import trend_svg
from mmpipe.report.values import Fact, Headline, ModelResults, Source, Step

MOST_SAMPLE_BYTES = 16_000_000  # of a page of clips that can be played


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnShown:
    """A column of a dataset's files."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DateShown:
    """What one date of a dataset holds."""

    date: str
    revision: int
    shards: int
    written: int
    absent: int
    quarantined: int
    num_nan: int
    num_constant: int
    norm: Range  # mean, smallest and largest norm of a clip's value


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitShown:
    """The clips of one split that have a value."""

    name: str
    clips: int
    groups: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A program for those who read the dataset."""

    tool: str
    program: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleShown:
    """A clip with its value, and what can be seen and heard of it."""

    key: str
    caption: str
    facts: tuple[Fact, ...] = ()
    text: str = ""
    heat: bytes = b""  # a PNG of the value
    shape: str = ""
    kind: str = ""  # of the media: "picture", "video", "audio"
    media: bytes = b""
    note: str = ""  # why there is nothing to play


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """All that a stranger must know of a dataset before reading it."""

    title: str
    subtitle: str
    headline: Headline | None = None
    facts: tuple[Fact, ...] = ()
    contract: tuple[Fact, ...] = ()
    columns: tuple[ColumnShown, ...] = ()
    dates: tuple[DateShown, ...] = ()  # oldest first
    splits: tuple[SplitShown, ...] = ()
    norms: HistogramShown | None = None  # of the clips that were looked at
    rights: tuple[Fact, ...] = ()
    samples: tuple[SampleShown, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    snippets: tuple[Snippet, ...] = ()
    files: tuple[Step, ...] = ()  # beside it: what they are, and where from the page


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCard:
    """All that a stranger must know of a published model before using it."""

    title: str
    subtitle: str
    headline: Headline
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    model: ModelResults | None = None  # what no gate has judged has no results
    examined: Examined | None = None
    limits: tuple[str, ...] = ()
    loading: tuple[Snippet, ...] = ()
    files: tuple[Fact, ...] = ()
    moves: tuple[Fact, ...] = ()  # of the aliases, newest first
    lineage: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePage:
    """Clips of a feature to browse."""

    title: str
    subtitle: str
    facts: tuple[Fact, ...] = ()
    samples: tuple[SampleShown, ...] = ()


def render_dataset_card(card: DatasetCard) -> str:
    """Return the page of a dataset; under 3 MB."""
    return _first_that_fits(lambda bounds: _dataset(card, bounds))


def render_release_card(card: ReleaseCard) -> str:
    """Return the page of a release; under 3 MB."""
    return _first_that_fits(lambda bounds: _release(card, bounds))


def render_sample(page: SamplePage, most_bytes: int = MOST_SAMPLE_BYTES) -> str:
    """Return the page of some clips; media that do not fit are left out, and it says so."""
    left = int(most_bytes * 0.7)  # base64 takes a third more
    samples = []
    for sample in page.samples:
        fits = len(sample.media) <= left
        left -= len(sample.media) if fits else 0
        samples.append(sample if fits else replace(sample, media=b"", kind="", note=_TOO_MUCH))
    return render_page(make_environment(ROOM), "sample.html.j2", page=page, samples=samples)


_TOO_MUCH = "Left out: the page holds enough to play. Ask for fewer clips with -n."


def _first_that_fits(render: Callable[[Bounds], str]) -> str:
    for bounds in BOUNDS:
        page = render(bounds)
        if len(page.encode()) < MOST_BYTES:
            break
    return page


def _dataset(card: DatasetCard, bounds: Bounds) -> str:
    filled = [date for date in card.dates if date.written]
    trend = ""
    if len(filled) > 1:
        trend = trend_svg(
            [date.date for date in filled],
            [date.norm for date in filled],
            title="Norm of the values over dates",
            up="norm",
            name="trend",
        )
    return render_page(
        make_environment(ROOM, bounds.rows),
        "dataset.html.j2",
        card=card,
        sprites=Sprites(card.pictures, bounds.picture_bytes),
        trend=Markup(trend),
        norms=Markup(histogram_svg(card.norms, "norms")) if card.norms else "",
    )


def _release(card: ReleaseCard, bounds: Bounds) -> str:
    plots = draw_plots(card.examined) if card.examined else {}
    return render_page(
        make_environment(ROOM, bounds.rows),
        "release.html.j2",
        card=card,
        model=card.model,
        found=card.examined,
        charts=charts_of(card.model) if card.model else None,
        plots={name: Markup(svg) for name, svg in plots.items()},
    )
