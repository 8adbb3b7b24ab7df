"""What a report shows: plain values, each section of which may be absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mmpipe.report.coverage import CoverageShown
from mmpipe.report.drift import DriftShown
from mmpipe.report.embedding import MapShown
from mmpipe.report.examined import Examined
from mmpipe.report.histograms import HistogramShown
from mmpipe.report.neighbours import NeighboursShown
from mmpipe.report.range import Range as Range


class Mood(StrEnum):
    """How a headline is meant."""

    GOOD = "good"
    BAD = "bad"
    WEAK = "weak"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The answer, first: one word and one sentence."""

    word: str  # "candidate", "refused", "ingested"
    sentence: str
    mood: Mood = Mood.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing to know at a glance."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do next; the command may be empty."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """So many of something."""

    label: str
    count: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """What went in and what came out.

    `fates` share out the files: used, quarantined, duplicate, left out; they sum to the files.
    `stages` are the numbers on the way: files, assets, clips, feature values.
    """

    stages: tuple[Tally, ...]
    fates: tuple[Tally, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceShown:
    """What can be seen of something that was put aside: a picture of the page by its name, or an excerpt."""

    picture: str = ""
    excerpt: str = ""
    note: str = ""  # which it is


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineReason:
    """One reason why files or clips were put aside."""

    stage: str
    code: str
    count: int
    example: str = ""  # one file or clip
    detail: str = ""
    replay: str = ""  # the command that tries it again
    evidence: EvidenceShown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinShown:
    """Two things of nearly the same content: one is in the store, the other was left out."""

    kept: str
    dropped: str
    kept_picture: str = ""
    dropped_picture: str = ""
    kept_excerpt: str = ""
    dropped_excerpt: str = ""
    distance: float = 0.0  # 0 for equal prints, at most 1
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SameShown:
    """Two things of the very same content: nothing of one can be seen that is not in the other."""

    kept: str
    dropped: str
    detail: str = ""  # what is the same: bytes, or streams in other files


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCounts:
    """What one feature holds of the clips."""

    feature: str
    shape: str  # "sequence, 64 wide"
    shards: int
    written: int
    absent: int  # clips without that modality
    quarantined: int
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScore:
    """How one trained candidate fared; validation chooses, the test measures."""

    name: str
    fused: bool
    chosen: bool
    validation_score: float
    worth: Range  # in the measure of `ModelResults`
    macro_f1: Range | None = None  # this and the next: of classes alone
    calibration_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GainShown:
    """What the judged model has over its reference."""

    judged: str
    reference: str
    worth: Range
    margin: float
    note: str = ""  # groups, evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckShown:
    """One check of the gate."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class against all others."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResults:
    """How the judged model treats each class; `confusion` is [true][predicted], in the order of `scores`."""

    scores: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    counted: str = "clips"  # what is of a class
    wholes: tuple[ClassScore, ...] = ()  # what classes of words spell together: entities, by type


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResults:
    """The whole evaluation of a model."""

    name: str
    target: str
    evaluation: str  # "6 folds by speaker, 3,000 clips"
    confidence: float
    measure: str  # "accuracy", "R2": more is better
    candidates: tuple[CandidateScore, ...]
    checks: tuple[CheckShown, ...]
    not_checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what was seen and decides nothing
    gain: GainShown | None = None
    classes: ClassResults | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateShown:
    """Clips a second: what was achieved, or what a stage alone would reach."""

    label: str
    clips_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareShown:
    """A use of the workers' time."""

    label: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedShown:
    """How close the newest extraction came to what its machine can do."""

    sentence: str
    rates: tuple[RateShown, ...]
    shares: tuple[ShareShown, ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One thing that the result was made from."""

    kind: str  # "manifest", "shard", "config", "checkpoint"
    name: str
    digest: str
    note: str = ""
    href: str = ""  # where it lies, from the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture of a clip: PNG, JPEG or WebP bytes."""

    caption: str
    image: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """Everything on the page; what is empty is left out."""

    title: str
    subtitle: str = ""
    headline: Headline | None = None
    facts: tuple[Fact, ...] = ()
    next_steps: tuple[Step, ...] = ()
    funnel: Funnel | None = None
    quarantine: tuple[QuarantineReason, ...] = ()
    features: tuple[FeatureCounts, ...] = ()
    speed: SpeedShown | None = None
    model: ModelResults | None = None
    examined: Examined | None = None
    twins: tuple[TwinShown, ...] = ()
    num_twins: int = 0  # of which `twins` are some
    same: tuple[SameShown, ...] = ()
    num_same: int = 0  # of which `same` are some
    histograms: tuple[HistogramShown, ...] = ()
    newest: str = ""  # the date that the histograms single out
    coverage: CoverageShown | None = None
    drift: DriftShown | None = None
    maps: tuple[MapShown, ...] = ()
    neighbours: tuple[NeighboursShown, ...] = ()
    thumbnails: tuple[Thumbnail, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)  # by the names under which the sections mean them
    lineage: tuple[Source, ...] = ()
    links: tuple[Step, ...] = ()  # pages beside this one: text, and its name
    without: tuple[str, ...] = ()  # which sections are missing, and why
