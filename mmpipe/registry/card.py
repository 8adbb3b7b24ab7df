"""The model card: what a stranger must know before using a version, generated from plain values."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$]|^[-+#=>]|(?<=:)/|(?<=www)\.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMetric:
    """One measured number with its interval; `low` and `high` equal `value` where there is none."""

    name: str  # as the hub spells it: "accuracy", "f1"
    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CardContribution:
    """What a candidate reached; `low` and `high` equal `worth` where no interval was measured."""

    name: str
    kind: str  # "fused", "single modality", "without it", ...
    worth: float
    low: float
    high: float
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCheck:
    """One row of the gate's verdict."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSource:
    """One thing that the model was made from, by digest."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardGraph:
    """The network as a file that runs without mmpipe; `why_not` where it was not made."""

    file: str
    max_difference: float = 0.0  # from the network, over all that it says
    tolerance: float = 0.0
    asked: str = ""  # the sizes that it was asked about: "1 x 2, 5 x 13"
    made_by: str = ""  # packages with their versions
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Everything that the card says; nothing in it depends on a clock or a version number."""

    name: str
    corpus: str
    aim: str  # "classification of word"
    says: str  # what it does, as the beginning of a sentence: "Names one of 51 classes of word"
    named: str  # what `classes` are: "Classes", "Quantities"
    always: str  # what it says even where it should not; "" where there is nothing to warn of
    classes: tuple[str, ...]
    inputs: tuple[str, ...]  # "audio-logmel@1"
    architecture: str  # the fusion's name, or "single modality"
    status: str
    sentence: str  # the verdict in a person's words
    evaluation: str  # how it was measured: "5 folds by speaker", "held-out test split"
    num_clips: int
    num_groups: int
    confidence: float
    measure: str  # what candidates are compared by: "accuracy", "R2"
    metrics: tuple[CardMetric, ...]
    contributions: tuple[CardContribution, ...] = ()
    checks: tuple[CardCheck, ...] = ()
    not_checked: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    weak: str = ""  # which modality brings least, with its interval; "" where that was not measured
    rights: str = ""  # of the clips that it was made from, in a person's words
    sources: tuple[CardSource, ...] = ()
    files: tuple[str, ...] = ()
    graphs: tuple[CardGraph, ...] = ()


def render_card(card: ModelCard) -> str:
    """Return the README.md of a version: front matter that the Hugging Face hub reads, then Markdown for people."""
    parts = [
        _front_matter(card),
        f"# {_text(card.name)}\n",
        _opening(card),
        _measured(card),
        _contributions(card),
        _gate(card),
        _limits(card),
        _loading(card),
        _graphs(card),
        _rights(card),
        _sources(card),
    ]
    return "\n".join(part for part in parts if part)


# --------------------------------------------------------------------------- front matter


def _front_matter(card: ModelCard) -> str:
    """Return YAML whose every scalar is a JSON string or number, and so safe whatever a name holds."""
    lines = [
        "---",
        "library_name: mmpipe",
        "pipeline_tag: other",
        "tags:",
        *(f"- {_scalar(tag)}" for tag in ("multimodal", f"mmpipe-{card.status}", *card.inputs)),
        "model-index:",
        f"- name: {_scalar(card.name)}",
        "  results:",
        "  - task:",
        '      type: "other"',
        f"      name: {_scalar(card.aim)}",
        "    dataset:",
        f"      type: {_scalar(card.corpus)}",
        f"      name: {_scalar(card.corpus)}",
        f"      split: {_scalar(card.evaluation)}",
        "    metrics:",
    ]
    for metric in card.metrics:
        lines += [
            f"    - type: {_scalar(metric.name)}",
            f"      name: {_scalar(metric.label)}",
            f"      value: {metric.value:.6g}",
        ]
    return "\n".join([*lines, "---", ""])


def _scalar(text: str) -> str:
    return json.dumps(_visible(text), ensure_ascii=False)


# --------------------------------------------------------------------------- sections


def _opening(card: ModelCard) -> str:
    why = "refused by the gate" if card.status == "refused" else f"not let through by the gate: {_text(card.status)}"
    warning = f"> **This version was {why}.** It is kept for its report, not for use.\n>\n"
    withheld = card.status not in ("candidate", "experimental")
    return (
        f"{warning if withheld else ''}> {_text(card.sentence)}\n\n"
        f"{_text(card.says)} for a clip of the corpus "
        f"*{_text(card.corpus)}*. It reads {_list(card.inputs)} and joins them by {_text(card.architecture)}.\n\n"
        + (f"{card.named}, in the order of the outputs: {_list(card.classes)}.\n" if card.classes else "")
    )


def _measured(card: ModelCard) -> str:
    rows = [(_text(m.label), f"{m.value:.3f}", _range(m.low, m.high, m.value)) for m in card.metrics]
    return (
        "## Measured\n\n"
        f"On {card.num_clips} clips of {card.num_groups} groups that the model had not learnt from "
        f"({_text(card.evaluation)}). Intervals hold {card.confidence:.0%} and resample groups, not clips.\n\n"
        + _table(("measure", "value", "interval"), rows)
    )


def _contributions(card: ModelCard) -> str:
    if not card.contributions:
        return ""
    rows = [
        (
            _text(c.name) + (" (chosen)" if c.chosen else ""),
            _text(c.kind),
            f"{c.worth:.3f}",
            _range(c.low, c.high, c.worth),
        )
        for c in card.contributions
    ]
    return (
        "## What each modality brings\n\nChosen by validation; the numbers are those of the clips above.\n\n"
        + _table(("model", "kind", card.measure, "interval"), rows)
    )


def _gate(card: ModelCard) -> str:
    if not card.checks:
        return ""
    rows = [
        (_text(c.name), "holds" if c.passed else "**fails**", f"{c.value:.4g}", f"{c.limit:.4g}", _text(c.detail))
        for c in card.checks
    ]
    skipped = "".join(f"- Not checked: {_text(reason)}\n" for reason in card.not_checked)
    return (
        f"## The gate: {_text(card.status)}\n\n"
        + _table(("check", "result", "measured", "limit", "meaning"), rows)
        + (f"\n{skipped}" if skipped else "")
    )


def _limits(card: ModelCard) -> str:
    weakest = min(card.contributions, key=lambda c: c.worth, default=None)
    said = ([card.weak] if card.weak else []) + list(card.limits)
    if not card.weak and weakest and weakest.kind == "single modality":
        said.append(f"The weakest modality is {weakest.name}: alone it reaches {weakest.worth:.3f}.")
    if card.num_groups < 10:
        said.append(f"Only {card.num_groups} group(s) were tested: expect other groups to differ more than shown.")
    said.append("It was measured on this corpus alone; other recordings, languages or devices were not tested.")
    said += [card.always] if card.always else []
    return "## Limits\n\n" + "".join(f"- {_text(line)}\n" for line in said)


def _loading(card: ModelCard) -> str:
    return (
        "## Loading it\n\nNothing here is pickled. Check the files, then read them with the `safetensors` package:\n\n"
        "```sh\nsha256sum -c SHA256SUMS\n```\n\n"
        "```python\nimport json\n\nfrom safetensors.numpy import load_file\n\n"
        'config = json.load(open("config.json"))\nweights = load_file("model.safetensors")  # name -> array\n```\n\n'
        f"With mmpipe: `mmpipe predict FILE --model {_code(card.name)}@NUMBER`, where this folder's name begins with "
        "the number.\n" + (f"\nFiles: {_list(card.files)}.\n" if card.files else "")
    )


def _graphs(card: ModelCard) -> str:
    if not card.graphs:
        return ""
    made = [
        (f"`{_code(g.file)}`", f"{g.max_difference:.1e}", f"{g.tolerance:.0e}", _text(g.asked), _text(g.made_by))
        for g in card.graphs
        if not g.why_not
    ]
    missing = "".join(f"\n- `{_code(g.file)}`: not made, {_text(g.why_not)}\n" for g in card.graphs if g.why_not)
    return (
        "## Without mmpipe\n\nThe network as a graph, for any number of clips and frames. It reads features, each with "
        "its mask; standardising is inside (in `model.safetensors` as `preprocess.*`), and so are the weights. Their "
        "sizes, and the names of the outputs in their order, are in `config.json`. In figures: `parity.json`.\n\n"
        + _table(("file", "largest difference", "limit", "asked about (clips x frames)", "made with"), made)
        + missing
    )


def _rights(card: ModelCard) -> str:
    if not card.rights:
        return ""
    return f"## Whose data it was made from\n\n{_text(card.rights)}. In figures: `lineage.json`.\n"


def _sources(card: ModelCard) -> str:
    if not card.sources:
        return ""
    rows = [(_text(source.name), f"`{_code(source.digest)}`") for source in card.sources]
    return "## Made from\n\n" + _table(("what", "sha256"), rows)


# --------------------------------------------------------------------------- safe text


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _range(low: float, high: float, value: float) -> str:
    return "" if low == high == value else f"{low:.3f} to {high:.3f}"


def _list(names: tuple[str, ...], most: int = 30) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(_text(name) for name in names[:most]) + more


def _code(text: str) -> str:
    return _visible(text).replace("`", "'")


def _text(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no invisible characters."""
    return _MARKDOWN.sub(r"\\\1", html.escape(_visible(text), quote=False))


def _visible(text: str) -> str:
    """Return text whose control, bidirectional and other unprintable characters are spelt out."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)
