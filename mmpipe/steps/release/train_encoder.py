"""Train an experimental encoder on the train split of a stored feature, and publish it as a release."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import ValidationError

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config, explain_validation
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor, extractor_behind, feature_name, fingerprint
from mmpipe.features.pinned import PinnedFeature
from mmpipe.features.trained.spec import AUDIO_SPEECH2VEC, EXPERIMENTAL, KINDS, TEXT_LSTM, EncoderSpec
from mmpipe.io import canonical_json
from mmpipe.registry.versions import Version, list_versions, publish_version
from mmpipe.steps.plan.feature_set import resolve_feature
from mmpipe.steps.release.encoder_card import render_encoder_card
from mmpipe.steps.release.lineage import trace_code, trace_settings, trace_snapshot
from mmpipe.steps.release.sign import sign_if_asked
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.lease import Lease
from mmpipe.store.redaction import redactions_of
from mmpipe.store.snapshot import Snapshot, pinned_manifest, save_snapshot, take_snapshot
from mmpipe.train.fit_settings import FitReport, FitSettings
from mmpipe.types import FeatureKind, Modality, Split, digest_of
from mmpipe.words import counted

ENCODER_TRAINING_VERSION = 1  # part of every recipe: raise it when training gives other numbers for the same input
USUAL_INPUT = {TEXT_LSTM: "text-tokens", AUDIO_SPEECH2VEC: "audio-mfcc"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOrder:
    """Which encoder to train, on what, and how."""

    kind: str
    corpus: str
    name: str = ""  # of the release; "": the kind
    input: str = ""  # the feature that it reads; "": the usual one
    width: int = 128
    cell: str = "lstm"
    segment_rows: int = 50
    fit: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderReport:
    """What was published."""

    name: str
    version: str
    is_new: bool  # False: this very recipe was trained before
    num_clips: int
    num_val_clips: int
    losses: tuple[float, ...]  # one per epoch; () on a dry run

    def table(self) -> list[dict[str, Any]]:
        """Return one row."""
        row = {
            "release": f"{self.name}@{self.version}" if self.version else self.name,
            "status": EXPERIMENTAL,
            "new": self.is_new,
            "train clips": self.num_clips,
            "validation clips": self.num_val_clips,
        }
        if self.losses:
            row |= {"loss at first": round(self.losses[0], 4), "loss in the end": round(self.losses[-1], 4)}
            row |= {"extractor": f"release:{self.name}@{self.version}"}
        return [row]


def train_encoder(config: Config, order: EncoderOrder, dry_run: bool = False) -> EncoderReport:
    """Train and publish; return at once where this very recipe was published before, or on a dry run.

    Raise ConfigError where the input is missing, stale, or no sequence of the right kind.
    """
    layout = open_store(config.store, to_write=True)
    extractor = _input_of(config, order)
    snapshot = take_snapshot(layout, order.corpus, (feature_name(extractor),))
    _require_fresh(layout, snapshot, extractor)
    name = order.name or order.kind
    if name in config.models:
        raise ConfigError(f"{name!r} is a model of the config: an encoder beside its versions would be taken for one")
    training = _Training(config, layout, order, extractor, snapshot)
    if dry_run:
        return training.find(name) or training.report(name, "", (), is_new=True)
    with Lease.acquire(layout, f"train-encoder-{name}"):
        return training.find(name) or training.run(name)


class _Training:
    """One recipe."""

    def __init__(
        self, config: Config, layout: StoreLayout, order: EncoderOrder, extractor: Extractor, snapshot: Snapshot
    ) -> None:
        self.config, self.layout, self.order, self.snapshot = config, layout, order, snapshot
        self.feature = feature_name(extractor)
        self.fingerprint = fingerprint(extractor)
        self.reader = AlignedReader(layout, snapshot, (self.feature,))
        self.forgotten = redactions_of(layout, snapshot)
        self.spec = _spec_of(order, extractor, self.feature)
        has_N = self.reader.lengths(self.feature) > 0
        splits_N = np.array(self.reader.spine["split"].to_list(), object)
        self.rows_N, self.val_rows_N = (np.flatnonzero(has_N & (splits_N == part)) for part in (Split.TRAIN, Split.VAL))
        if not len(self.rows_N):
            raise ConfigError(f"no clip of the train split of {order.corpus!r} has {self.feature}. See: mmpipe status")
        self._require_neighbours()

    def _require_neighbours(self) -> None:
        """Refuse clips that are all too short to hold two segments: nothing could be predicted from them."""
        longest = int(self.reader.lengths(self.feature)[self.rows_N].max())
        if self.spec.kind != AUDIO_SPEECH2VEC or longest >= 2 * self.spec.segment_rows:
            return
        fewer = f"say --segment-rows {longest // 2} or less, or " if longest > 1 else ""
        raise ConfigError(
            f"the clips of {self.order.corpus!r} are too short for {self.spec.kind}: it learns from two segments of "
            f"{self.spec.segment_rows} rows, and the longest train clip has {counted(longest, 'row')} of "
            f"{self.feature}. To go on, {fewer}cut longer clips (`corpora.{self.order.corpus}.clips`)"
        )

    def find(self, name: str) -> EncoderReport | None:
        """Return what this very recipe was published as."""
        recipe = self._recipe()
        for version in list_versions(self.layout.models, name):
            if version.recipe_digest == recipe:
                return self.report(name, version.label, _losses_of(version), is_new=False)
        return None

    def run(self, name: str) -> EncoderReport:
        """Train and publish."""
        recipe = self._recipe()
        from mmpipe.features.trained.files import encoder_files, make_encoder
        from mmpipe.train.encoder_fit import fit_encoder

        network = make_encoder(self.spec, self.order.fit.seed)
        fitted = fit_encoder(network, network, self.reader, self.feature, self.rows_N, self.val_rows_N, self.order.fit)
        save_snapshot(self.layout, self.snapshot)
        files = {**encoder_files(network), **self._papers(name, recipe, fitted)}
        version = publish_version(self.layout.models, name, files, status=EXPERIMENTAL, recipe_digest=recipe)
        sign_if_asked(self.config, version)
        return self.report(name, version.label, fitted.train_losses, is_new=True)

    def _recipe(self) -> str:
        """Return the digest of everything that decides the weights."""
        return digest_of(
            "encoder",
            ENCODER_TRAINING_VERSION,
            self.snapshot.digest,
            self.fingerprint,
            self.spec.model_dump_json(),
            canonical_json(asdict(self.order.fit)),
            *self._rows_digests(),
            *self.forgotten,
        )

    def _rows_digests(self) -> tuple[str, str]:
        """Return the digests of the keys of the training and of the validation clips: a split may change."""
        keys = self.reader.spine["key"]
        return tuple(digest_of(*keys[rows.tolist()].to_list()) for rows in (self.rows_N, self.val_rows_N))  # type: ignore[return-value]

    def _papers(self, name: str, recipe: str, fitted: FitReport) -> dict[str, bytes]:
        """Return what says where it comes from, in the files that every release has."""
        train_rows, val_rows = self._rows_digests()
        lineage = {
            **trace_snapshot(self.layout, self.snapshot),
            "recipe": recipe,
            "kind": self.spec.kind,
            "fingerprints": {self.feature: self.fingerprint},
            "rows": {
                "train": {"clips": len(self.rows_N), "keys_sha256": train_rows},
                "val": {"clips": len(self.val_rows_N), "keys_sha256": val_rows},
            },
            "fit": asdict(self.order.fit),
            "code": trace_code(),
        }
        sentence = (
            "Experimental: trained without labels on the train split, and judged by no gate. What it is worth, a model "
            "that reads it shows."
        )
        metrics = {
            "train_losses": _finite(fitted.train_losses),
            "val_losses": _finite(fitted.val_losses),
            "kept_epoch": fitted.kept_epoch,
        }
        input_name = self.feature.rpartition("@")[0]
        return {
            "metrics.json": canonical_json(metrics),
            "verdict.json": canonical_json({"status": EXPERIMENTAL, "sentence": sentence}),
            "lineage.json": canonical_json(lineage),
            "extraction.json": canonical_json(trace_settings(self.config, self.order.corpus, (input_name,))),
            "README.md": render_encoder_card(name, self.order.corpus, self.spec, lineage, metrics).encode(),
        }

    def report(self, name: str, label: str, losses: tuple[float, ...], *, is_new: bool) -> EncoderReport:
        """Say what was published, or would be."""
        return EncoderReport(
            name=name,
            version=label,
            is_new=is_new,
            num_clips=len(self.rows_N),
            num_val_clips=len(self.val_rows_N),
            losses=losses,
        )


def _input_of(config: Config, order: EncoderOrder) -> Extractor:
    if order.kind not in KINDS:
        raise ConfigError(f"no encoder named {order.kind!r}; there are: {', '.join(KINDS)}")
    wanted = order.input or USUAL_INPUT[order.kind]
    extractor = resolve_feature(config, wanted, order.corpus)
    schema = extractor.schema
    told = f"{order.kind} cannot read {wanted!r}"
    if isinstance(extractor, PinnedFeature):
        raise ConfigError(f"{told}, which another team publishes: from new media nothing here can compute it")
    if order.kind == TEXT_LSTM:
        if schema.modality is not Modality.TEXT or not schema.dtype.startswith("int") or schema.dim != 1:
            raise ConfigError(f"{told}: it needs token ids, as text-tokens gives them")
    elif schema.modality is not Modality.AUDIO or schema.kind is not FeatureKind.SEQUENCE:
        raise ConfigError(f"{told}: it needs a sequence made from sound, as audio-mfcc or audio-logmel")
    return extractor


def _spec_of(order: EncoderOrder, extractor: Extractor, feature: str) -> EncoderSpec:
    try:
        return EncoderSpec.model_validate(
            {
                "kind": order.kind,
                "input": feature,
                "input_dim": extractor.schema.dim,
                "num_ids": getattr(extractor_behind(extractor), "num_ids", 0) if order.kind == TEXT_LSTM else 0,
                "width": order.width,
                "cell": order.cell,
                "segment_rows": order.segment_rows,
            }
        )
    except ValidationError as error:
        raise ConfigError(explain_validation(error, order.kind)) from error


def _require_fresh(layout: StoreLayout, snapshot: Snapshot, extractor: Extractor) -> None:
    """Refuse values that new media would not get: an encoder must be asked what it was taught."""
    feature = feature_name(extractor)
    dataset = layout.dataset(snapshot.corpus, feature)
    for entry in snapshot.of(feature):
        if pinned_manifest(dataset, entry).fingerprint != fingerprint(extractor):
            raise ConfigError(
                f"{feature} of {entry.partition} was made with other parameters than it has now. Run: mmpipe extract "
                f"--corpus {snapshot.corpus}"
            )


def _finite(losses: tuple[float, ...]) -> list[float | None]:
    """Return losses as JSON has them."""
    return [loss if np.isfinite(loss) else None for loss in losses]


def _losses_of(version: Version) -> tuple[float, ...]:
    losses = json.loads(version.read("metrics.json"))["train_losses"]
    return tuple(float("nan") if loss is None else loss for loss in losses)
