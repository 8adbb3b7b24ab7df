"""Ask a published model about raw files: through the very same ingest and extraction as a night, in a store of its own.

So what a file is told now is what the batch said of the same clip; but that what spoils media for training and tests
(noise, blur, blocks) is not done to what is asked.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import (
    ArraysConfig,
    ClipsConfig,
    Config,
    CorpusConfig,
    Goal,
    LimitsConfig,
    RenditionConfig,
    TextConfig,
    split_feature,
)
from mmpipe.errors import ConfigError
from mmpipe.evaluate.temperature import at_temperature
from mmpipe.features.extractor import fingerprint
from mmpipe.features.naming import table_name
from mmpipe.features.trained.spec import EXPERIMENTAL
from mmpipe.io import escape_name
from mmpipe.registry.aliases import find_version, parse_reference
from mmpipe.registry.taint import read_taint
from mmpipe.registry.versions import Version, local_version
from mmpipe.sources.listing import Listing, list_corpus
from mmpipe.sources.suffixes import split_suffix
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.ingest.ingest import ingest_listing
from mmpipe.steps.ingest.text_origin import ASR, SIDECAR
from mmpipe.steps.plan.feature_set import resolve_feature
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.plan.release_feature import find_release
from mmpipe.steps.release.lineage import trace_noiseless
from mmpipe.steps.release.sign import require_trusted
from mmpipe.steps.tell.progress import SILENT, Progress
from mmpipe.steps.workers.workers import shared_engine
from mmpipe.store.layout import StoreLayout
from mmpipe.store.quarantine import read_quarantine
from mmpipe.store.snapshot import take_snapshot

CORPUS = "asked"
PARTITION = "1970-01-01"  # the store is thrown away: its date means nothing
_SPOILING = ("noise", "degrade")  # of a rendition: for training and tests alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model says of one clip of a file."""

    source: str
    key: str
    start_s: float
    end_s: float
    said: Mapping[str, object]  # of classes: label, probability, probabilities

    def as_json(self) -> dict[str, object]:
        """Return it as plain values, what is said beside what it is about."""
        return {"source": self.source, "key": self.key, "start_s": self.start_s, "end_s": self.end_s, **self.said}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A file or clip that the model could not be asked about."""

    source: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictReport:
    """The answers of one version."""

    model: str
    version: str
    answers: tuple[Answer, ...]
    unanswered: tuple[Unanswered, ...]
    status: str  # of the version: "candidate" or "refused"
    tainted: str = ""  # why the version should no longer be used
    without_noise: tuple[str, ...] = ()  # inputs that it learnt from with noise mixed in, and is asked without
    without_degrading: tuple[str, ...] = ()  # inputs of pictures blurred or covered, and asked about as they are

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self) | {"answers": [answer.as_json() for answer in self.answers]}

    def table(self) -> list[dict[str, Any]]:
        """Return one row per clip."""
        return [
            {
                "file": answer.source,
                "start_s": round(answer.start_s, 3),
                "end_s": round(answer.end_s, 3),
                **{name: _short(value) for name, value in answer.said.items() if not isinstance(value, dict)},
            }
            for answer in self.answers
        ]


def predict_files(config: Config, files: Sequence[Path], reference: str, progress: Progress = SILENT) -> PredictReport:
    """Answer for every clip of raw files; a file's sidecars of the same stem belong to it.

    `reference` is NAME (what is in production) or NAME@VERSION. ConfigError: an installed extractor differs from the
    one that the model was trained with.
    """
    named = parse_reference(reference)
    version = find_version(StoreLayout(config.store).models, named.name, named.ref)
    require_trusted(config, version)
    if version.status == EXPERIMENTAL:
        raise ConfigError(
            f"{version.name}@{version.label} is an encoder: it answers nothing. Make a feature of it, with "
            f'extractor = "release:{version.name}@{version.number}"'
        )
    with tempfile.TemporaryDirectory(prefix="mmpipe-predict-") as folder:
        answers: list[Answer] = []
        unanswered: list[Unanswered] = []
        for number, (root, names) in enumerate(sorted(_by_folder(files).items())):
            asked = _config_of(version, config, Path(folder) / f"store-{number}", root)
            told, refused = _predict_folder(asked, version, root, names, progress)
            answers += told
            unanswered += refused
    return PredictReport(
        model=version.name,
        version=version.label,
        answers=tuple(answers),
        unanswered=tuple(unanswered),
        status=version.status,
        tainted=str(read_taint(StoreLayout(config.store).models, version.name, version.label) or ""),
        without_noise=_spoilt_inputs(version, "noise"),
        without_degrading=_spoilt_inputs(version, "degrade"),
    )


def _predict_folder(
    config: Config, version: Version, root: Path, names: frozenset[str], progress: Progress
) -> tuple[list[Answer], list[Unanswered]]:
    listing = list_corpus(root, recursive=False)
    with shared_engine(config):  # the workers of the ingest go on with the shards
        ingest_listing(config, CORPUS, PARTITION, pick_files(listing, names), progress)
        plan = plan_corpus(config, CORPUS)
        if not plan.is_empty:
            extract_plan(config, plan, progress)
    layout = StoreLayout(config.store)
    dropped = [
        Unanswered(source=row["file"] or row["source_id"], code=row["code"], detail=row["detail"])
        for row in read_quarantine(layout, CORPUS).iter_rows(named=True)
    ]
    dropped += [
        Unanswered(source=entry.name, code="filtered", detail=f"left out by rule: {entry.reason}")
        for entry in listing.filtered
        if entry.name in names
    ]
    return (_answer(config, version, layout) if plan.partitions else []), dropped


def _answer(config: Config, version: Version, layout: StoreLayout) -> list[Answer]:
    from mmpipe.train.weights import infer, load_model

    model = load_model(local_version(version))
    features = tuple(feature for feature in model.spec.features if layout.dataset(CORPUS, feature).partitions())
    if not features:
        return []
    reader = AlignedReader(layout, take_snapshot(layout, CORPUS, features), features)
    found = np.array([reader.lengths(name) > 0 for name in features]).any(axis=0)
    rows = np.flatnonzero(found)
    if not len(rows):
        return []
    answers_N = _calibrated(infer(model, reader, rows).answers_N, model.spec.goal, version)
    goal = steps_of(model.spec.goal)
    return [
        Answer(
            source=row["source_id"],
            key=row["key"],
            start_s=row["start_ns"] / 1e9,
            end_s=row["end_ns"] / 1e9,
            said=goal.answer(answer, model.spec.classes),
        )
        for row, answer in zip(reader.spine[rows.tolist()].iter_rows(named=True), answers_N, strict=True)
    ]


def _calibrated(answers_N: np.ndarray, goal: Goal, version: Version) -> np.ndarray:
    """Return answers at the temperature that the version was released with, which classes alone have."""
    if goal is not Goal.CLASSIFY:
        return answers_N
    return at_temperature(answers_N.astype(np.float64), float(json.loads(version.read("metrics.json"))["temperature"]))


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def pick_files(listing: Listing, names: frozenset[str]) -> Listing:
    """Return of a folder's listing only the named files and those of the same stems."""
    stems = {split_suffix(name)[0] for name in names}
    return Listing(
        files=tuple(file for file in listing.files if split_suffix(file.name)[0] in stems),
        drops=tuple(drop for drop in listing.drops if split_suffix(drop.file)[0] in stems),
        filtered=(),
    )


def _by_folder(files: Sequence[Path]) -> dict[Path, frozenset[str]]:
    found: defaultdict[Path, set[str]] = defaultdict(set)
    for file in files:
        if not file.exists():
            raise ConfigError(f"no such file: {file}")
        if file.is_dir():
            raise ConfigError(f"{file} is a folder; name files in it, as in {file}/*")
        real = file.resolve()  # a link is answered as what it points to
        found[real.parent].add(escape_name(real.name))
    return {folder: frozenset(names) for folder, names in found.items()}


def _config_of(version: Version, config: Config, store: Path, root: Path) -> Config:
    """Return the settings that the model's own features were made with, over a folder of raw files."""
    made = json.loads(version.read("extraction.json"))
    lineage = json.loads(version.read("lineage.json"))
    trained = lineage["fingerprints"]
    spec = json.loads(version.read("config.json"))["spec"]
    needed = {entry["feature"].partition("@")[0]: entry["feature"] for entry in spec["inputs"]}
    for entry in lineage.get("external", ()):
        if entry["dataset"] in needed.values():
            raise ConfigError(
                f"{version.name}@{version.label} reads {entry['dataset']}, which another team publishes at "
                f"{entry['uri']}: it is copied for clips of a corpus, and nothing here can compute it from a raw file. "
                "Put the files into the corpus and ask them for rows, or train a model without this input."
            )
    source = CorpusConfig(
        root=root,
        clips=ClipsConfig(**made["clips"]),
        limits=LimitsConfig(**made["limits"]),
        text=_text_of(made.get("text", {}), config, str(lineage.get("corpus", ""))),
        arrays=ArraysConfig(**made.get("arrays", {})),
        max_quarantined=1.0,
    )
    renditions = {name: _unspoilt(table) for name, table in made.get("renditions", {}).items()}
    source = source.model_copy(update={"renditions": renditions, "features": tuple(sorted(needed))})
    # A copy, not a new Config: there the environment would win, and MMPIPE_STORE name the real store.
    asked = config.model_copy(
        update={
            "store": store,
            # A release that makes an input lies in the real store: it is found now, and told as found.
            "features": {
                table_name(name): find_release(StoreLayout(config.store), name, made["features"][name])
                for name in needed
            },
            "corpora": {CORPUS: source},
            "models": {},
            "watch": config.watch.logs_alone(),
        }
    )
    wanted = {**trained, **_noiseless(version, StoreLayout(config.store), str(lineage.get("corpus", "")), trained)}
    for name, feature in needed.items():
        if fingerprint(resolve_feature(asked, name, CORPUS)) != wanted[feature]:
            raise ConfigError(
                f"{version.name}@{version.label} was trained with another {feature} than the one installed. "
                "Use the mmpipe that trained it, or train and release again."
            )
    return asked


def _unspoilt(table: dict[str, Any]) -> RenditionConfig:
    """Return how media are prepared when a model is asked: a file brings its own noise and blur, and its filters stay.

    A copy, not a new one: here a rendition need not do anything.
    """
    return RenditionConfig(**table).model_copy(update=dict.fromkeys(_SPOILING))


def _spoilt_inputs(version: Version, how: str) -> tuple[str, ...]:
    """Return the inputs of a version whose media were spoilt for training in one way, as NAME@VERSION."""
    renditions = json.loads(version.read("extraction.json")).get("renditions", {})
    spoilt = {name for name, table in renditions.items() if table.get(how)}
    inputs = json.loads(version.read("config.json"))["spec"]["inputs"]
    features = sorted(entry["feature"] for entry in inputs)
    return tuple(feature for feature in features if split_feature(feature.rpartition("@")[0])[1] in spoilt)


def _noiseless(version: Version, layout: StoreLayout, corpus: str, trained: dict[str, str]) -> dict[str, str]:
    """Return the fingerprints of spoilt inputs as they are asked: as the version says, or else the store's notes."""
    said = json.loads(version.read("extraction.json")).get("noiseless", {})
    spoilt = [feature for how in _SPOILING for feature in _spoilt_inputs(version, how)]
    known = {**trace_noiseless(layout, corpus, {feature: trained[feature] for feature in spoilt}), **said}
    if unknown := sorted(set(spoilt) - set(known)):
        what = "sound with noise mixed in" if unknown[0] in _spoilt_inputs(version, "noise") else "degraded pictures"
        raise ConfigError(
            f"{version.name}@{version.label} learnt from {unknown[0]}, {what}. A file is asked "
            "about as it is, and neither the version nor this store says what that feature is then. Ask in the store "
            f"that trained it, or train and release it again: mmpipe train --model {version.name}"
        )
    return known


def _text_of(made: dict[str, Any], config: Config, corpus: str) -> TextConfig:
    """Return from where a file's text comes: as in training, without columns, and speech where a model is known."""
    known = config.corpora.get(corpus)
    speech = known.text.asr if known else None
    sources = [name for name in made.get("sources", ()) if name == SIDECAR or (name == ASR and speech)]
    return TextConfig(**{**made, "sources": sources or [SIDECAR], "asr": speech if ASR in sources else None})
