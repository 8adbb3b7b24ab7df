"""One feature of what a model is asked about: values are held in memory, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.extractor import Extractor, feature_name, fingerprint, micro_batch_of
from mmpipe.features.naming import make_feature
from mmpipe.features.prepared import Rendition
from mmpipe.media.filters import FilterStep
from mmpipe.steps.ask.ask_work import AskWork
from mmpipe.steps.extract.clip_rows import make_drop, place_of
from mmpipe.steps.extract.growing_shard import should_reach
from mmpipe.steps.extract.micro_batch import BatchComputer, Computed, Gathered, fault_of
from mmpipe.steps.extract.shard_meter import ShardMeter
from mmpipe.steps.extract.shard_parts import Parts
from mmpipe.steps.plan.renditions import Preparation, filter_steps
from mmpipe.steps.plan.shard_work import AssetWork, ClipWork, FeatureWork
from mmpipe.steps.workers.compute import open_computer
from mmpipe.store.layout import StoreLayout
from mmpipe.types import ClipMedia, Drop, FeatureValue, Stream


@dataclass(slots=True, kw_only=True)
class HeldFeature:
    """Takes the clips of an asset as a shard does, and keeps what comes of them."""

    extractor: Extractor  # not set up
    batches: BatchComputer
    staging: Path
    preparation: Preparation | None = None
    values: dict[int, FeatureValue] = field(default_factory=dict)  # by ordinal
    drops: list[Drop] = field(default_factory=list)
    settled: set[int] = field(default_factory=set)  # known, or waiting for its batch

    @property
    def filters(self) -> tuple[FilterStep, ...]:
        """Return the filters that the media must go through before they are decoded."""
        return filter_steps(self.preparation.rendition) if self.preparation else ()

    def has_done(self, asset: AssetWork) -> bool:
        """Say that every asset is decoded: nothing is known from before."""
        return False

    def waits_for(self, clip: ClipWork) -> bool:
        """Say whether nothing is known of a clip yet."""
        return clip.ordinal not in self.settled

    def settle_known(self, asset: AssetWork, clip: ClipWork) -> bool:
        """Say whether a clip needs decoding: where its asset has none of the modality, it has no value."""
        return asset.stream(self.extractor.modality) is not None

    def settle_media(self, asset: AssetWork, clip: ClipWork, media: ClipMedia | None) -> None:
        """Take what the decoder gave for a clip; its value comes with its micro-batch."""
        stream = asset.stream(self.extractor.modality)
        assert stream is not None
        if media is None:
            if should_reach(asset, stream, clip):
                self.settle_fault(
                    asset, clip, SampleError("no_media", f"the {stream.modality} does not reach this clip")
                )
            self.settled.add(clip.ordinal)
            return
        if self.preparation:
            try:
                media = self.preparation.apply(media, " ".join(map(str, place_of(stream, clip))))
            except Exception as error:  # noqa: BLE001 - as of an extractor: one clip is dropped with the reason
                self.settle_fault(asset, clip, fault_of(feature_name(self.extractor), error))
                return
        self.settled.add(clip.ordinal)
        for batch in self.batches.add(Gathered(asset=asset, clip=clip, media=media)):
            self._keep(batch)

    def settle_fault(self, asset: AssetWork, clip: ClipWork, fault: SampleError) -> None:
        """Settle a clip that cannot be used, with the reason."""
        if not self.waits_for(clip):
            return
        self.settled.add(clip.ordinal)
        self._drop(asset, clip, fault)

    def note_damage(self, asset: AssetWork, stream: Stream, share: float) -> None:
        """Take a damaged stream as it is: within what the settings allow, it is answered about."""

    def end_pass(self, asset: AssetWork) -> None:
        """Keep nothing of an asset but its values."""

    def compute_rest(self) -> None:
        """Compute the clips that still wait."""
        for batch in self.batches.rest():
            self._keep(batch)

    def _keep(self, batch: list[Computed]) -> None:
        for each in batch:
            if each.value is not None:
                self.values[each.clip.clip.ordinal] = each.value
            elif each.fault is not None:
                self._drop(each.clip.asset, each.clip.clip, each.fault)

    def _drop(self, asset: AssetWork, clip: ClipWork, fault: SampleError) -> None:
        stream = asset.stream(self.extractor.modality)
        self.drops.append(make_drop(asset, stream, clip, feature_name(self.extractor), fault.code, fault.detail))


def hold_feature(work: AskWork, feature: FeatureWork, parts: Parts, meter: ShardMeter) -> HeldFeature:
    """Set an extractor up, or take the one that is; ConfigError where it is not the one that was planned."""
    rendition = Rendition.model_validate_json(feature.rendition_json) if feature.rendition_json else None
    extractor = make_feature(feature.name, json.loads(feature.table_json), rendition)
    if fingerprint(extractor) != feature.fingerprint:
        raise ConfigError(
            f"{feature.feature} is not what the model was loaded with: its weights have changed since. Start again."
        )
    preparation = None
    if rendition:  # it draws nothing from a store: what spoils media is left out when a model is asked
        layout = StoreLayout(work.staging)
        preparation = Preparation(layout=layout, corpus="", rendition=rendition, needs=extractor.needs)
    batches = BatchComputer(
        bounds=micro_batch_of(extractor),
        schema=extractor.schema,
        computer=open_computer(extractor, work.device, work.encoders, parts.go_on),
        parts=parts,
        meter=meter,
    )
    return HeldFeature(extractor=extractor, batches=batches, staging=work.staging, preparation=preparation)


def values_of(features: Mapping[str, HeldFeature], ordinal: int) -> dict[str, FeatureValue]:
    """Return what there is of a clip, by feature."""
    return {name: held.values[ordinal] for name, held in features.items() if ordinal in held.values}
