"""The release that a training begins from: found by name, held against leaks, and told in the lineage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpipe.config import Config, ModelConfig, Singles
from mmpipe.errors import ConfigError
from mmpipe.features.released import WEIGHTS_NAME, parse_release
from mmpipe.fusion.spec import ModelSpec
from mmpipe.registry.aliases import find_version
from mmpipe.registry.sums import read_sums
from mmpipe.registry.taint import read_taint
from mmpipe.registry.versions import Version, local_version
from mmpipe.steps.train.candidates import Contender
from mmpipe.steps.train.finetune_focus import freeze_but, require_weak
from mmpipe.steps.train.finetune_leaks import Network, choose_networks
from mmpipe.steps.train.training_set import TrainingSet
from mmpipe.store.layout import open_store

_FUSED = "mmpipe-fusion"
_MOST_NAMES = 5  # of tensors that a line tells; all are in the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A release that was found, and which of its networks each part of a training begins from."""

    release: str  # NAME@LABEL
    sha256: str  # of the version as it was published
    weights_sha256: str
    corpus: str
    status: str  # what its gate said
    fusion: str  # of its network
    features: frozenset[str]  # whose values are made as they were then
    parts: tuple[Network, ...]  # that each part begins from: it learnt from nothing that the part tests
    last: Network  # that what would be released begins from
    weak: str = ""  # the input that its verdict calls weak, where that is to be bettered

    @property
    def marks(self) -> tuple[str, ...]:
        """Return what a recipe's digest has of it."""
        return ("begun", self.sha256, self.weights_sha256, *sorted(self.features))


def find_beginning(config: Config, model: ModelConfig, data: TrainingSet) -> Beginning | None:
    """Return where a model's training begins, None where that is at random weights.

    Raise ConfigError where the release is not there, tainted, no network of ours, or has learnt what is tested.
    """
    if not model.finetune.begin_from:
        return None
    try:
        return _find(config, model, data)
    except ConfigError as error:
        raise ConfigError(f"finetune.begin_from = {model.finetune.begin_from!r}: {error}") from error


class Beginnings:
    """What each contender of a training begins from, and what of it learns."""

    def __init__(self, model: ModelConfig, beginning: Beginning | None) -> None:
        self._model, self._beginning = model, beginning
        is_focused = beginning is not None and bool(beginning.weak)
        self._finetune = freeze_but(beginning.weak, model) if beginning and is_focused else model.finetune
        self._start: tuple[Path, Any] | None = None
        self._begun: dict[str, Any] = {}

    def check(self, contender: Contender, spec: ModelSpec) -> None:
        """Note what a contender will take over; raise ConfigError where nothing of it could learn. Reads no clip."""
        from mmpipe.fusion.model import FusionModel
        from mmpipe.train.begin import Begun, plan_begin
        from mmpipe.train.freeze import check_freezing

        if not self._is_meant(contender):
            return
        import torch

        start = self._load(self._beginning.last.folder) if self._beginning else None
        with torch.device("meta"):
            network = FusionModel(spec)
            begun = plan_begin(network, start, self._finetune.preprocessing) if start else Begun()
            check_freezing(network, self._finetune, begun)
        self._begun[contender.name] = {"taken": len(begun.taken), "new": dict(sorted(begun.new.items()))}

    def of_part(self, contender: Contender, part: int) -> Any:
        """Return how a contender's fit on a part goes on; None where it starts afresh."""
        return self._of(contender, self._beginning.parts[part] if self._beginning else None)

    def of_release(self, contender: Contender) -> Any:
        """Return the same of what would be released: after folds it learns from all clips, as the release did."""
        return self._of(contender, self._beginning.last if self._beginning else None)

    def table(self) -> dict[str, Any]:
        """Return what the table of a finished training says of it; nothing where every contender starts afresh."""
        if not self._model.finetune.is_used:
            return {}
        settings = self._finetune.model_dump(mode="json", exclude_defaults=True)
        release = told_release(self._beginning) if self._beginning else {}
        return {"finetuned": {**release, "settings": settings, "contenders": self._begun}}

    def _of(self, contender: Contender, network: Network | None) -> Any:
        from mmpipe.train.begin import Finetuning

        if not self._is_meant(contender):
            return None
        if network is None:
            return Finetuning(config=self._finetune)
        return Finetuning(config=self._finetune, start=self._load(network.folder), counts_start=network.counts)

    def _is_meant(self, contender: Contender) -> bool:
        """Say whether the table is about a contender."""
        if self._beginning and self._beginning.weak:
            return contender.fusion == self._beginning.fusion  # another would stay as random as it begins
        is_meant = contender.fused or self._finetune.singles is Singles.BEGUN or len(self._model.inputs) == 1
        return self._finetune.is_used and is_meant

    def _load(self, folder: Path) -> Any:
        from mmpipe.fusion.files import load_model
        from mmpipe.io import sha256_file
        from mmpipe.train.begin import Start

        assert self._beginning
        if self._start is None or self._start[0] != folder:
            network = load_model(folder)
            start = Start(
                spec=network.spec,
                tensors=network.state_dict(),
                sha256=sha256_file(folder / WEIGHTS_NAME),
                features=self._beginning.features,
            )
            self._start = folder, start
        return self._start[1]


def told_release(beginning: Beginning) -> dict[str, str]:
    """Return what is kept of the release, by digest."""
    names = ("release", "sha256", "weights_sha256", "corpus", "status")
    return {name: getattr(beginning, name) for name in names}


def finetuned_lineage(table: Mapping[str, Any], contender: str) -> dict[str, Any]:
    """Return what a version's lineage says of where its contender began; nothing where it started afresh."""
    begun = table.get("finetuned", {})
    if contender not in begun.get("contenders", {}):
        return {}
    release = {name: value for name, value in begun.items() if name != "contenders"}
    return {**release, **begun["contenders"][contender]}


def finetuned_notes(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Say of each contender of a finished training what it took over, and what is new in it."""
    begun = table.get("finetuned", {})
    if "release" not in begun:
        return ()
    lines = [f"{name} begins from {begun['release']}: {_counted(one)}" for name, one in begun["contenders"].items()]
    if begun["status"] != "candidate":
        lines.append(f"{begun['release']}, from which this begins, was not let through by its gate: {begun['status']}")
    return tuple(lines)


def finetuned_limits(lineage: Mapping[str, Any]) -> list[str]:
    """Return what a card says of where the weights began, and of what that changed."""
    begun = lineage.get("finetuned")
    if not begun:
        return []
    settings = begun["settings"]
    said = []
    if "release" in begun:
        said.append(f"Its weights begin from {begun['release']}: {_counted(begun)}.")
    if settings.get("freeze"):
        thawed = settings.get("unfreeze", {})
        said.append(
            f"Frozen while it learnt: {', '.join(settings['freeze'])}"
            + "".join(f"; {group} learnt from epoch {epoch}" for group, epoch in thawed.items())
            + "."
        )
    if lora := settings.get("lora"):
        groups = ", ".join(lora["groups"])
        said.append(f"Low-rank adapters (rank {lora['rank']}) of {groups} learnt, and are merged into its weights.")
    said += [
        f"Against {begun['release']} on the same clips, {change['what']}: {_signed(change['change'])}."
        for change in begun.get("changes", ())
    ]
    return said


def finetuned_source(lineage: Mapping[str, Any]) -> dict[str, str]:
    """Return the release that the weights began from, with the digest of its own; nothing where they began afresh."""
    begun = lineage.get("finetuned", {})
    return {f"weights of {begun['release']}": begun["weights_sha256"]} if "release" in begun else {}


def _signed(interval: Mapping[str, float]) -> str:
    return f"{interval['estimate']:+.3f} [{interval['low']:+.3f}, {interval['high']:+.3f}]"


def _counted(begun: Mapping[str, Any]) -> str:
    """Say how many tensors were taken over, and name some of the others with the reason."""
    new: Mapping[str, str] = begun["new"]
    said = f"{begun['taken']} of {begun['taken'] + len(new)} tensors are taken over"
    if not new:
        return said
    told = ", ".join(f"{name} ({why})" for name, why in list(new.items())[:_MOST_NAMES])
    more = f" and {len(new) - _MOST_NAMES} more" if len(new) > _MOST_NAMES else ""
    return f"{said}; new are {told}{more}"


def _find(config: Config, model: ModelConfig, data: TrainingSet) -> Beginning:
    layout = open_store(config.store)
    version = find_version(layout.models, *parse_release(model.finetune.begin_from))
    label = f"{version.name}@{version.label}"
    if taint := read_taint(layout.models, version.name, version.label):
        raise ConfigError(f"{label} is {taint}")
    if json.loads(version.read("config.json")).get("model_type") != _FUSED:
        raise ConfigError(f"{label} is an encoder, not a model of several inputs: read it as a feature")
    lineage = json.loads(version.read("lineage.json"))
    _, source = config.corpus(model.corpus)
    parts, last = choose_networks(layout, version, local_version(version), lineage, model, source.split, data)
    return Beginning(
        release=label,
        sha256=version.digest,
        weights_sha256=read_sums(version.path, version.digest).now[WEIGHTS_NAME],
        corpus=lineage["corpus"],
        status=version.status,
        fusion=json.loads(version.read("config.json"))["spec"]["fusion"],
        features=_made_alike(version, lineage, data),
        parts=parts,
        last=last,
        weak=require_weak(version, model).modality if model.finetune.focus else "",
    )


def _made_alike(version: Version, lineage: Mapping[str, Any], data: TrainingSet) -> frozenset[str]:
    """Return the inputs whose values are made now as when the release learnt from them."""
    now = dict(zip((schema.feature for schema in data.schemas), data.fingerprints, strict=True))
    read = {entry["feature"] for entry in json.loads(version.read("config.json"))["spec"]["inputs"]}
    return frozenset(name for name in read if name in now and lineage["fingerprints"].get(name) == now[name])
