"""Train what a verdict found weak: of a release all is frozen but what encodes its weakest modality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mmpipe.config import Config, FinetuneConfig, Focus, ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.features.released import PREFIX, parse_release
from mmpipe.registry.aliases import find_version, read_aliases
from mmpipe.registry.versions import Version, list_versions
from mmpipe.steps.release.examine import ABLATION_NAME, read_examination
from mmpipe.store.layout import StoreLayout, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakVerdict:
    """What a release's own ablation says of its modalities."""

    modality: str  # the feature that is clearly the weakest; "" where none is
    fusion: str  # of the model that was asked
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Focused:
    """A config whose model would begin from a release and better its weak modality."""

    config: Config | None  # None: the verdict names none, and there is nothing to do
    release: str  # NAME@LABEL
    modality: str
    sentence: str


def focus_model(config: Config, model: str) -> Focused:
    """Return the config under which a model betters the weak modality of the release that it has.

    The release is the one that the config begins from, else the one in production, else the newest that was judged:
    where the gate offered a single modality in place of a fused model, it is the fused one that was asked.
    """
    name, settings = config.model(model)
    version = _version_of(open_store(config.store), name, settings)
    label = f"{version.name}@{version.label}"
    verdict = read_verdict(version)
    if not verdict.modality:
        return Focused(config=None, release=label, modality="", sentence=f"{label}: {verdict.sentence}")
    _require_input(label, verdict.modality, settings)
    finetune = settings.finetune.model_copy(
        update={"begin_from": f"{PREFIX}{label}", "focus": Focus.WEAK, "freeze": (), "lora": None}
    )
    focused = settings.model_copy(update={"finetune": finetune, "fusions": (verdict.fusion,)})
    return Focused(
        config=config.model_copy(update={"models": {**config.models, name: focused}}),
        release=label,
        modality=verdict.modality,
        sentence=f"{label}: {verdict.sentence}",
    )


def read_verdict(version: Version) -> WeakVerdict:
    """Return what a version says of its weak modality."""
    examined = read_examination(version)
    if examined is None or examined.ablation is None or examined.ablation.weak is None:
        said = "what its modalities bring was not measured, so none of them is called weak"
        return WeakVerdict(modality="", fusion="", sentence=said)
    ablation, weak = examined.ablation, examined.ablation.weak
    modality = weak.modality if weak.is_clear else ""
    return WeakVerdict(modality=modality, fusion=ablation.model, sentence=weak.sentence)


def require_weak(version: Version, model: ModelConfig) -> WeakVerdict:
    """Return the verdict of a release that names a weak modality; raise ConfigError where it names none."""
    label = f"{version.name}@{version.label}"
    verdict = read_verdict(version)
    if not verdict.modality:
        raise ConfigError(f"focus = 'weak', and {label} names no weak modality: {verdict.sentence} Take focus out.")
    _require_input(label, verdict.modality, model)
    return verdict


def freeze_but(weak: str, model: ModelConfig) -> FinetuneConfig:
    """Return a table that freezes all but the encoder of one input and the head that it has of its own."""
    others = [name for name in model.inputs if name != weak.partition("@")[0]]
    freeze = tuple(f"{part}.{name}" for part in ("encoders", "unimodal_heads") for name in others)
    return model.finetune.model_copy(update={"freeze": (*freeze, "fusion", "head")})


def _version_of(layout: StoreLayout, name: str, settings: ModelConfig) -> Version:
    if settings.finetune.begin_from:
        return find_version(layout.models, *parse_release(settings.finetune.begin_from))
    candidates = list(_released(layout, name))
    if not candidates:
        raise ConfigError(f"{name} has no version whose weak modality could be bettered. Run: mmpipe publish")
    return next((version for version in candidates if ABLATION_NAME in version.files()), candidates[0])


def _released(layout: StoreLayout, name: str) -> Iterator[Version]:
    """Yield the version in production, then all from the newest on."""
    if read_aliases(layout.models, name).production:
        yield find_version(layout.models, name, "production")
    yield from reversed(list_versions(layout.models, name))


def _require_input(label: str, modality: str, model: ModelConfig) -> None:
    if modality.partition("@")[0] not in model.inputs:
        raise ConfigError(f"the weak modality of {label} is {modality}, and `inputs` are {list(model.inputs)} now")
