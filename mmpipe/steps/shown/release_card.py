"""Say what a published model is worth, where it bends and how to use it: one page a version, from its own files alone.

A version is immutable and its checksums are of its files, so the page lies with the reports and is made when asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.config import Config
from mmpipe.io import make_directory, replace_bytes
from mmpipe.registry.aliases import find_version, parse_reference, read_aliases, read_events
from mmpipe.registry.taint import read_taint
from mmpipe.registry.versions import Version, list_versions
from mmpipe.report.cards import ReleaseCard, Snippet, render_release_card
from mmpipe.report.values import (
    CandidateScore,
    CheckShown,
    ClassResults,
    ClassScore,
    Fact,
    GainShown,
    Headline,
    ModelResults,
    Mood,
    Range,
    Source,
)
from mmpipe.steps.release.describe_examined import describe_examined, examined_limits
from mmpipe.steps.release.examine import read_examination
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.words import counted

_MOODS = {"candidate": Mood.GOOD, "experimental": Mood.WEAK}
_MOST_MOVES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the files of a version say."""

    verdict: Mapping[str, Any]
    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    config: Mapping[str, Any]
    training: Mapping[str, Any]  # empty where an older mmpipe published it

    @property
    def is_judged(self) -> bool:
        """Say whether a gate has judged it: of an encoder, which learns without labels, there are losses alone."""
        return "gain" in self.verdict


def release_card_path(layout: StoreLayout, version: Version, corpus: str) -> Path:
    """Return where the page of a version lies: with the reports of its corpus, so that `mmpipe forget` finds it."""
    return layout.reports / f"{corpus}-release-{version.name}@{version.label}.html"


def write_release_card(config: Config, reference: str) -> Path:
    """Write the page of a version: NAME, which is what is in production or else the newest, NAME@3, NAME@ALIAS."""
    layout = open_store(config.store)
    version = pick_release(layout, reference)
    told = _read(version)
    path = release_card_path(layout, version, told.lineage["corpus"])
    page = render_release_card(_describe(layout, version, told))
    make_directory(path.parent)
    replace_bytes(path, page.encode())
    return path


def find_release_card(config: Config, reference: str) -> Path:
    """Return where `write_release_card` would write."""
    layout = open_store(config.store)
    version = pick_release(layout, reference)
    return release_card_path(layout, version, _read(version).lineage["corpus"])


def pick_release(layout: StoreLayout, reference: str) -> Version:
    """Return the version that is meant; of a model with nothing in production the newest."""
    named = parse_reference(reference)
    ref = named.ref
    if "@" not in reference and not read_aliases(layout.models, named.name).production:
        versions = list_versions(layout.models, named.name)
        ref = versions[-1].label if versions else ref
    return find_version(layout.models, named.name, ref)


def _read(version: Version) -> _Told:
    there = set(version.files())
    names = ("verdict", "metrics", "lineage", "config", "training")
    return _Told(
        **{name: json.loads(version.read(f"{name}.json")) if f"{name}.json" in there else {} for name in names}
    )


def _describe(layout: StoreLayout, version: Version, told: _Told) -> ReleaseCard:
    examination = read_examination(version)
    aliases = read_aliases(layout.models, version.name).names
    names = [alias for alias, label in aliases.items() if label == version.label]
    return ReleaseCard(
        title=f"{version.name}@{version.number}",
        subtitle=f"a release of the corpus {told.lineage['corpus']}, version {version.label}",
        headline=Headline(
            word=version.status, sentence=told.verdict["sentence"], mood=_MOODS.get(version.status, Mood.BAD)
        ),
        facts=(
            Fact(label="is called", value=", ".join(names) or "by its number alone"),
            *(_judged_facts(told) if told.is_judged else _encoder_facts(told)),
            Fact(label="raw files", value=f"{len(told.lineage['raw_files']):,}"),
        ),
        warnings=tuple(_warnings(layout, version)),
        inputs=_inputs(told),
        model=results_of(version.name, _target(told), told.verdict, told.metrics) if told.is_judged else None,
        examined=describe_examined(examination) if examination else None,
        limits=examined_limits(examination) if examination else (),
        loading=tuple(_loading(version, told)),
        files=tuple(Fact(label=name, value=_size(version, name)) for name in version.files()),
        moves=tuple(_moves(layout, version.name)),
        lineage=tuple(_lineage(version, told)),
    )


def _inputs(told: _Told) -> tuple[str, ...]:
    spec = told.config["spec"]
    return tuple(entry["feature"] for entry in spec["inputs"]) if told.is_judged else (spec["input"],)


def _judged_facts(told: _Told) -> Iterator[Fact]:
    yield Fact(label="network", value=str(told.metrics["contender"]))
    yield Fact(label="clips tested", value=f"{_num_clips(told):,}" if _num_clips(told) else "see below")


def _encoder_facts(told: _Told) -> Iterator[Fact]:
    """Yield what is known of an encoder: how far it came in its own measure, which says nothing of its worth."""
    rows, metrics = told.lineage["rows"], told.metrics
    yield Fact(label="encoder", value=told.lineage["kind"])
    yield Fact(label="clips trained on", value=f"{rows['train']['clips']:,}")
    first, last = (_loss(metrics["train_losses"][at]) for at in (0, -1))
    yield Fact(label="training loss", value=f"{first} at first, {last} at last")
    yield Fact(label="validation loss", value=f"{_loss(metrics['val_losses'][metrics['kept_epoch']])} as it is kept")


def _loss(loss: float | None) -> str:
    return "not measured" if loss is None else f"{loss:.4f}"


def results_of(name: str, target: str, verdict: Mapping[str, Any], metrics: Mapping[str, Any]) -> ModelResults:
    """Return what was measured, from the verdict and the metrics of a version."""
    gain = verdict["gain"]
    checks = tuple(CheckShown(**{key: check[key] for key in _CHECK}) for check in verdict["checks"])
    measured = metrics["measured"].get(verdict["judged"]) or {}
    groups = gain["worth"]["num_groups"]
    clips = f"{measured['num_clips']} clips of " if "num_clips" in measured else ""
    return ModelResults(
        name=name,
        target=target,
        evaluation=f"Measured on {clips}{groups} groups",
        confidence=gain["worth"]["confidence"],
        measure=verdict["measure"],
        candidates=tuple(map(_candidate, verdict["standings"])),
        checks=checks,
        not_checked=tuple(verdict["not_checked"]),
        notes=tuple(verdict["notes"]),
        gain=GainShown(
            judged=verdict["judged"],
            reference=gain["reference"],
            worth=_range(gain["worth"]),
            margin=next((check.limit for check in checks if check.name == "gain"), 0.0),
            note=f"{groups} groups, {verdict['evidence']} evidence",
        ),
        classes=_classes(measured),
    )


_CHECK = ("name", "passed", "value", "limit", "detail")
_SCORE = ("label", "precision", "recall", "f1", "support")


def _candidate(standing: Mapping[str, Any]) -> CandidateScore:
    return CandidateScore(
        name=standing["name"],
        fused=standing["fused"],
        chosen=standing["chosen"],
        validation_score=standing["validation_score"],
        worth=_range(standing["worth"]),
        macro_f1=_range(standing["macro_f1"]) if standing.get("macro_f1") else None,
        calibration_error=standing.get("calibration_after"),
    )


def _classes(measured: Mapping[str, Any]) -> ClassResults | None:
    if "per_class" not in measured or "confusion" not in measured:
        return None
    return ClassResults(
        scores=tuple(ClassScore(**{key: row[key] for key in _SCORE}) for row in measured["per_class"]),
        confusion=tuple(tuple(row) for row in measured["confusion"]),
    )


def _range(found: Mapping[str, float]) -> Range:
    return Range(value=found["estimate"], low=found["low"], high=found["high"])


def _target(told: _Told) -> str:
    return str(told.training.get("model", {}).get("target", "its target"))


def _num_clips(told: _Told) -> int:
    measured = told.metrics["measured"].get(told.metrics["contender"]) or {}
    return int(measured.get("num_clips", 0))


def _warnings(layout: StoreLayout, version: Version) -> Iterator[str]:
    if version.status not in _MOODS:
        yield f"The gate said {version.status}: it is kept for its report, not for use."
    if taint := read_taint(layout.models, version.name, version.label):
        yield str(taint)
    if version.redaction:
        yield "Names and answers of what was forgotten were taken out of its files, which have new sums."


def _loading(version: Version, told: _Told) -> Iterator[Snippet]:
    name = f"{version.name}@{version.number}"
    if told.is_judged:
        yield Snippet(tool="on the command line", program=f"mmpipe predict FILE --model {name}")
    else:
        program = f'[features.my-{told.lineage["kind"]}]\nextractor = "release:{name}"'
        yield Snippet(tool="as a feature, in the config", program=program)
    program = (
        "import json\nfrom safetensors.numpy import load_file\n\n"
        'config = json.load(open("config.json"))\nweights = load_file("model.safetensors")  # name -> array'
    )
    yield Snippet(tool="without mmpipe, in the folder of the version", program=program)
    yield Snippet(tool="is it whole", program=f"cd {version.path}\nsha256sum -c SHA256SUMS")


def _size(version: Version, name: str) -> str:
    path = version.path / name
    return f"{path.stat().st_size:,} bytes" if isinstance(path, Path) and path.exists() else "in the object store"


def _moves(layout: StoreLayout, name: str) -> Iterator[Fact]:
    for alias, label in read_aliases(layout.models, name).names.items():
        yield Fact(label=alias, value=label or "nothing")
    for event in tuple(reversed(read_events(layout.models, name)))[:_MOST_MOVES]:
        who = f", by {event['who']}" if event["who"] else ""
        yield Fact(
            label=event["when"][:16].replace("T", " ") or "when is not known",
            value=f"{event['action']} {event['version']}{who}: {event['why']}",
        )


def _lineage(version: Version, told: _Told) -> Iterator[Source]:
    yield Source(kind="release", name=version.label, digest=version.digest)
    if told.is_judged:
        checkpoint = told.lineage["checkpoint"]
        yield Source(kind="checkpoint", name=checkpoint, digest=told.lineage["recipe"], note="its recipe")
    else:  # it is published as it is trained, and no checkpoint of it is kept
        yield Source(kind="recipe", name=told.lineage["kind"], digest=told.lineage["recipe"])
    yield Source(kind="snapshot", name=told.lineage["corpus"], digest=told.lineage["snapshot"])
    for entry in told.lineage["manifests"]:
        name, note = f"{entry['dataset']} dt={entry['partition']}", f"revision {entry['revision']}"
        yield Source(kind="manifest", name=name, digest=entry["sha256"], note=note)
    kept = f"{counted(len(told.lineage['shards']), 'shard')} and {counted(len(told.lineage['raw_files']), 'raw file')}"
    yield Source(kind="all others", name=kept, digest="", note="each with its digest in lineage.json")
