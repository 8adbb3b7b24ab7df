"""The clips that a model may learn from: one frozen snapshot, read aligned, with a target, a group and a part each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import ClipRule, Config, CorpusConfig, Goal, ModelConfig, SplitConfig
from mmpipe.errors import ConfigError
from mmpipe.evaluate.answers.base import Answers
from mmpipe.features.extractor import Extractor, feature_name, fingerprint
from mmpipe.features.naming import rendition_of
from mmpipe.features.pinned import PinnedFeature
from mmpipe.features.prepared import Prepared
from mmpipe.segment.split import deal_folds
from mmpipe.steps.goals.base import LearnsFromSome, MatchesRows, Said
from mmpipe.steps.goals.column import CUE_TARGET
from mmpipe.steps.goals.joint import AlsoTargets, read_also
from mmpipe.steps.goals.registry import steps_of
from mmpipe.steps.ingest.arrays import refuse_own_numbers
from mmpipe.steps.plan.external_pins import find_pinned
from mmpipe.steps.plan.feature_set import resolve_feature
from mmpipe.steps.train.taught_inputs import refuse_taught_inputs
from mmpipe.steps.train.text_leak import refuse_label_texts
from mmpipe.store.identity import read_identity
from mmpipe.store.layout import BANKS, SIGNALS, DatasetLayout, StoreLayout, open_store
from mmpipe.store.redaction import redactions_of
from mmpipe.store.snapshot import Snapshot, load_snapshot, pinned_manifest, take_snapshot
from mmpipe.types import FeatureSchema, Modality, Split, fraction_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """Row n of every array speaks of clip `keys[n]`, which is row `reader_rows_N[n]` of the reader."""

    goal: Goal
    snapshot: Snapshot
    reader: AlignedReader
    schemas: tuple[FeatureSchema, ...]  # of the model's inputs, sorted by feature
    fingerprints: tuple[str, ...]
    classes: tuple[str, ...]  # names along an answer: classes, labels, quantities, tags, words
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    texts: tuple[str, ...]  # what a text input reads; "" where no input is a text
    told: tuple[str, ...]  # each clip's target as text, "" where it is none
    streams: tuple[tuple[str, ...], ...]  # digests of the tracks that the inputs read, texts left out
    targets_N: np.ndarray  # [N, ...], in the goal's own form
    reader_rows_N: np.ndarray
    also: Mapping[str, AlsoTargets] = field(default_factory=dict)  # more answers of the same networks, by name
    num_unlabelled: int
    forgotten: tuple[str, ...] = ()  # what is missing of the snapshot by now, by digest
    left_out: Mapping[str, int] = field(default_factory=dict)  # clips whose target cannot be used, by reason

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

    def taught(self, rows: np.ndarray) -> np.ndarray:
        """Return which of some rows a network is shown: all, but for goals that learn from some alone."""
        goal = steps_of(self.goal)
        return rows[goal.learns_from(self.targets_N[rows])] if isinstance(goal, LearnsFromSome) else rows

    def packed(self, targets_N: np.ndarray) -> np.ndarray:
        """Return what a network learns of each clip: targets, and those of its other answers beside them."""
        if not self.also:
            return targets_N
        columns = [targets_N.reshape(len(targets_N), -1).astype(np.float32)]
        return np.concatenate([*columns, *(one.packed() for one in self.also.values())], axis=1)

    def also_answers(self, rows: np.ndarray, said: Mapping[str, np.ndarray]) -> dict[str, Answers]:
        """Return the other answers about some rows, by name, those that have a target there."""
        found = {name: self.also[name].answers(rows, self.keys, self.groups, said_N) for name, said_N in said.items()}
        return {name: answers for name, answers in found.items() if answers is not None}

    def answers(self, rows: np.ndarray, answers_N: np.ndarray) -> Answers:
        """Return answers about some rows, with the truth beside them."""
        return steps_of(self.goal).answers(
            Said(
                keys=tuple(self.keys[row] for row in rows),
                groups=tuple(self.groups[row] for row in rows),
                targets_N=self.targets_N[rows],
                answers_N=answers_N,
                names=self.classes,
            )
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
    if model.goal is not Goal.RETRIEVE:  # whose target is no answer: it says which pairs are equal
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
    if model.goal is not Goal.RETRIEVE:
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
    """Join the clips of a snapshot with their targets; clips without one are left out and counted."""
    goal = steps_of(model.goal)
    targets = goal.read(model, reader.spine)
    if isinstance(goal, MatchesRows):
        targets = goal.match_rows(targets, model, schemas, reader.lengths)
    spine = reader.spine[targets.rows_N.tolist()]
    reads_text = any(schema.modality is Modality.TEXT for schema in schemas)
    columns = sorted({schema.modality.value for schema in schemas if schema.modality is not Modality.TEXT})
    return TrainingSet(
        goal=model.goal,
        snapshot=snapshot,
        reader=reader,
        schemas=schemas,
        fingerprints=tuple(fingerprint(extractor) for extractor in sorted(extractors, key=feature_name)),
        classes=targets.names,
        keys=tuple(spine["key"]),
        groups=tuple(spine["group"]),
        splits=tuple(spine["split"]),
        texts=tuple(spine["text"]) if reads_text else ("",) * len(spine),
        told=targets.told,
        streams=tuple(tuple(filter(None, row)) for _, *row in spine.select("key", *columns).iter_rows()),
        targets_N=targets.values_N,
        reader_rows_N=targets.rows_N,
        also=read_also(model, reader.spine, targets),
        num_unlabelled=len(reader.spine) - len(spine) - sum(targets.left_out.values()),
        left_out=targets.left_out,
    )


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
