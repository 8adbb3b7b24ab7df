"""The clips that a model may learn from: one frozen snapshot, read aligned, with a label, a group and a part each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import ClipRule, Config, CorpusConfig, ModelConfig, SplitConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.predictions import Predictions
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.features.naming import rendition_of
from mmpipe.features.pinned import PinnedFeature
from mmpipe.features.prepared import Prepared
from mmpipe.segment.split import deal_folds
from mmpipe.steps.arrays import refuse_own_numbers
from mmpipe.steps.external_pins import find_pinned
from mmpipe.steps.feature_set import resolve_feature
from mmpipe.steps.taught_inputs import refuse_taught_inputs
from mmpipe.steps.text_leak import refuse_label_texts
from mmpipe.store.identity import read_identity
from mmpipe.store.layout import BANKS, SIGNALS, DatasetLayout, StoreLayout, open_store
from mmpipe.store.redaction import redactions_of
from mmpipe.store.snapshot import Snapshot, load_snapshot, pinned_manifest, take_snapshot
from mmpipe.types import FeatureSchema, Modality, Split, fraction_of

CUE_TARGET = "cue"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """Row n of every array speaks of clip `keys[n]`, which is row `reader_rows_N[n]` of the reader."""

    snapshot: Snapshot
    reader: AlignedReader
    schemas: tuple[FeatureSchema, ...]  # of the model's inputs, sorted by feature
    fingerprints: tuple[str, ...]
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    texts: tuple[str, ...]  # what a text input reads; "" where no input is a text
    streams: tuple[tuple[str, ...], ...]  # digests of the tracks that the inputs read, texts left out
    labels_N: np.ndarray
    reader_rows_N: np.ndarray
    num_unlabelled: int
    forgotten: tuple[str, ...] = ()  # what is missing of the snapshot by now, by digest

    def present_schemas(self) -> tuple[FeatureSchema, ...]:
        """Return the inputs that at least one labelled clip has: silent films have no audio to learn from."""
        has = {name: self.reader.lengths(name)[self.reader_rows_N].any() for name in self.reader.features}
        present = tuple(schema for schema in self.schemas if has[schema.feature])
        if not present:
            raise ConfigError(
                f"no labelled clip has any of the inputs {[schema.feature for schema in self.schemas]}. "
                "See what the corpus has: mmpipe status"
            )
        return present

    def predictions(self, rows: np.ndarray, probabilities_NK: np.ndarray) -> Predictions:
        """Return answers about some rows, with the truth beside them."""
        return Predictions(
            keys=tuple(self.keys[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            labels_N=self.labels_N[rows],
            probabilities_NK=probabilities_NK,
            classes=self.classes,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One way to train and judge: rows of a training set."""

    number: int
    train_rows: np.ndarray
    val_rows: np.ndarray
    test_rows: np.ndarray


def open_training_set(config: Config, model: ModelConfig) -> TrainingSet:
    """Freeze a model's inputs, as they are now or as its snapshot has them; refuse a target that is its own input."""
    extractors = [resolve_feature(config, name, model.corpus) for name in model.inputs]
    _, source = config.corpus(model.corpus)
    if model.target == CUE_TARGET and source.clips.rule is not ClipRule.CUES:
        raise ConfigError(
            f"the target `cue` needs clips that are cut by cues, but corpora.{model.corpus}.clips.rule is "
            f"{source.clips.rule.value!r}. Set it to 'cues', or name a labels column as the target."
        )
    refuse_own_text(model, extractors)
    refuse_own_numbers(model, source, extractors)
    layout = open_store(config.store)
    refuse_taught_inputs(layout, model, extractors)
    snapshot = pin_training_data(layout, source, model, extractors)
    if model.snapshot:
        extractors = [_as_made_then(layout, model.snapshot, snapshot, extractor) for extractor in extractors]
    schemas = tuple(sorted((extractor.schema for extractor in extractors), key=lambda schema: schema.feature))
    reader = AlignedReader(layout, snapshot, tuple(schema.feature for schema in schemas))
    data = label_clips(model, snapshot, reader, schemas, extractors)
    refuse_label_texts(layout, model, reader.spine[data.reader_rows_N.tolist()], extractors)
    return replace(data, forgotten=redactions_of(layout, snapshot.core))


def pin_training_data(
    layout: StoreLayout, source: CorpusConfig, model: ModelConfig, extractors: Sequence[Extractor]
) -> Snapshot:
    """Return the snapshot that a model's config names, or one of the heads, with what its clips and values rest on."""
    features = tuple(sorted(feature_name(extractor) for extractor in extractors))
    if not model.snapshot:
        has_noise = any((made := rendition_of(extractor)) and made.bank for extractor in extractors)
        tables = [name for name, is_used in ((BANKS, has_noise), (SIGNALS, source.filters)) if is_used]
        return take_snapshot(layout, model.corpus, features, tables=tables)
    snapshot = load_snapshot(layout, model.snapshot)
    missing = sorted(set(features) - set(snapshot.features))
    if snapshot.corpus != model.corpus or missing:
        raise ConfigError(
            f"the snapshot {model.snapshot!r} is of {snapshot.corpus!r} with {list(snapshot.features)}; the model "
            f"needs {list(features)} of {model.corpus!r}. Name another: mmpipe snapshot ls"
        )
    return snapshot


def pin_snapshot(config: Config, model: str, snapshot: str | None) -> Config:
    """Return the config with a model on a snapshot; without one as it was."""
    if not snapshot:
        return config
    name, settings = config.model(model)
    pinned = settings.model_copy(update={"snapshot": snapshot})
    return config.model_copy(update={"models": {**config.models, name: pinned}})


def _as_made_then(layout: StoreLayout, name: str, snapshot: Snapshot, extractor: Extractor) -> Extractor:
    """Return what made the values of a snapshot: of another team's dataset the pin of that time, of ours what is, but
    that noise may have been drawn from another bank, which a file that is asked about never hears.

    Values of ours that new files would not get are refused: a model must be asked what it was taught.
    """
    feature = feature_name(extractor)
    dataset = layout.dataset(snapshot.corpus, feature)
    made = {pinned_manifest(dataset, entry).fingerprint: entry.partition for entry in snapshot.of(feature)}
    if made.keys() <= {fingerprint(extractor)}:
        return extractor
    if len(made) == 1 and (with_bank := _with_bank_then(dataset, extractor, *made)):
        return with_bank
    if isinstance(extractor, PinnedFeature):
        if len(made) == 1 and (then := find_pinned(layout, snapshot.corpus, extractor.name, *made)):
            return then
        raise ConfigError(
            f"the snapshot {name!r} has {feature} from {len(made)} pins, where one that the store knows is needed: a "
            "refresh was copied for some of its dates only. Name another: mmpipe snapshot ls"
        )
    partition = next(partition for mark, partition in made.items() if mark != fingerprint(extractor))
    raise ConfigError(
        f"the snapshot {name!r} has {feature} of {partition} made with other parameters than "
        f"features.{extractor.name} has now. Give it those again, or name another: mmpipe snapshot ls"
    )


def _with_bank_then(dataset: DatasetLayout, extractor: Extractor, mark: str) -> Extractor | None:
    """Return an extractor whose noise is of the bank that a fingerprint was made with; None where more differs."""
    identity = read_identity(dataset, mark)
    if identity is None or not isinstance(extractor, Prepared) or not extractor.rendition.bank:
        return None
    bank = {"bank_sha256": str(identity.rendition.get("bank_sha256", ""))}
    then = replace(extractor, rendition=extractor.rendition.model_copy(update=bank))
    return then if fingerprint(then) == mark else None


def label_clips(
    model: ModelConfig,
    snapshot: Snapshot,
    reader: AlignedReader,
    schemas: tuple[FeatureSchema, ...],
    extractors: Sequence[Extractor],
) -> TrainingSet:
    """Join the clips of a snapshot with their labels; clips without one are left out and counted."""
    labels = target_values(reader.spine, model.target)
    rows_N = np.array([row for row, label in enumerate(labels) if label], dtype=np.int64)
    _require_labels(model, reader.spine, len(labels), rows_N)
    spine = reader.spine[rows_N.tolist()]
    kept = [labels[row] for row in rows_N]
    classes = tuple(sorted(set(kept)))
    if len(classes) < 2:
        raise ConfigError(
            f"the target {model.target!r} has one class only ({classes[0]!r}, {len(kept)} clips): nothing to tell "
            "apart. Choose another `target`, or label more."
        )
    reads_text = any(schema.modality is Modality.TEXT for schema in schemas)
    columns = sorted({schema.modality.value for schema in schemas if schema.modality is not Modality.TEXT})
    return TrainingSet(
        snapshot=snapshot,
        reader=reader,
        schemas=schemas,
        fingerprints=tuple(fingerprint(extractor) for extractor in sorted(extractors, key=feature_name)),
        classes=classes,
        keys=tuple(spine["key"]),
        groups=tuple(spine["group"]),
        splits=tuple(spine["split"]),
        texts=tuple(spine["text"]) if reads_text else ("",) * len(kept),
        streams=tuple(tuple(digest for digest in row if digest) for row in spine.select(columns).iter_rows()),
        labels_N=np.array([classes.index(label) for label in kept], dtype=np.int64),
        reader_rows_N=rows_N,
        num_unlabelled=len(labels) - len(kept),
    )


def target_values(spine: pl.DataFrame, target: str) -> list[str]:
    """Return each clip's value of a target, "" where it has none."""
    if target == CUE_TARGET:
        return [text.strip() for text in spine["text"]]
    return [json.loads(labels).get(target, "").strip() for labels in spine["labels"]]


def refuse_own_text(model: ModelConfig, extractors: Sequence[Extractor]) -> None:
    """Refuse a text input where the label is that text."""
    texts = [extractor.name for extractor in extractors if extractor.modality is Modality.TEXT]
    if model.target == CUE_TARGET and texts:
        raise ConfigError(
            f"leak: the target `cue` is the text of the cue, and {texts[0]!r} reads that same text. "
            f"Leave {texts[0]!r} out of `inputs`, or choose another `target`."
        )


def plan_parts(model: ModelConfig, split: SplitConfig, data: TrainingSet) -> tuple[Part, ...]:
    """Return the fixed split as one part, or k folds in which every clip is tested once, whole groups each."""
    groups = np.array(data.groups)
    if model.folds:
        fold_of = deal_folds(data.groups, model.folds, split.salt)
        folds_N = np.array([fold_of[group] for group in data.groups])
        parts = tuple(
            _part(fold, folds_N == fold, hashed_share(groups, folds_N != fold, split, f"fold {fold}"))
            for fold in range(model.folds)
        )
    else:
        splits = np.array(data.splits)
        parts = (_part(0, splits == Split.TEST, splits == Split.VAL),)
    for part in parts:
        _require_rows(part, len(set(data.groups)))
    return parts


def plan_release_part(model: ModelConfig, split: SplitConfig, data: TrainingSet) -> Part:
    """Return the rows that the released weights learn from: after folds, everything but a validation share."""
    if not model.folds:
        return plan_parts(model, split, data)[0]
    every = np.ones(len(data.keys), dtype=bool)
    part = _part(0, ~every, hashed_share(np.array(data.groups), every, split, "release"))
    if not (len(part.train_rows) and len(part.val_rows)):
        _require_rows(part, len(set(data.groups)))
    return part


def hashed_share(groups_N: np.ndarray, among_N: np.ndarray, split: SplitConfig, purpose: str) -> np.ndarray:
    """Return which clips serve as validation: a share of the groups among some clips, drawn by hash."""
    names = sorted(set(groups_N[among_N].tolist()), key=lambda group: fraction_of("val", split.salt, purpose, group))
    chosen = names[: max(1, round(split.val * len(names)))]
    return np.isin(groups_N, chosen)


def _part(number: int, test_N: np.ndarray, val_N: np.ndarray) -> Part:
    val_N = val_N & ~test_N
    return Part(
        number=number,
        train_rows=np.flatnonzero(~test_N & ~val_N),
        val_rows=np.flatnonzero(val_N),
        test_rows=np.flatnonzero(test_N),
    )


def _require_rows(part: Part, num_groups: int) -> None:
    for name, rows in (("train", part.train_rows), ("val", part.val_rows), ("test", part.test_rows)):
        if not len(rows):
            raise ConfigError(
                f"no labelled clip is left for {name}: there are only {num_groups} groups. "
                "Set `folds` of the model, other shares in `split`, or a finer `labels.group`."
            )


def _require_labels(model: ModelConfig, spine: pl.DataFrame, num_clips: int, rows_N: np.ndarray) -> None:
    if not num_clips:
        raise ConfigError(f"the corpus {model.corpus!r} has no clips yet. Run: mmpipe ingest --corpus {model.corpus}")
    if len(rows_N):
        return
    known = sorted({name for labels in spine["labels"].head(1000) for name in json.loads(labels)})
    hint = f"known columns are: {known}" if known else "the corpus has no labels table: set `labels` of the corpus"
    raise ConfigError(f"none of {num_clips} clips has a value for the target {model.target!r}; {hint}")
