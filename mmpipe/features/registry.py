"""Extractors by name: the built-in ones, and those of other packages by the entry point `mmpipe.extractors`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from pydantic import ValidationError

from mmpipe.config import Table, fault_text
from mmpipe.errors import ConfigError, MmpipeError
from mmpipe.features.array_raw import ArrayRaw
from mmpipe.features.array_stats import ArrayStats
from mmpipe.features.audio_logmel import AudioLogMel
from mmpipe.features.audio_mfcc import AudioMfcc
from mmpipe.features.audio_mfccseg import AudioMfccSeg
from mmpipe.features.encoders.audio_hf import AudioHf
from mmpipe.features.encoders.classic import ImageResNet50, ImageVgg16, VideoResNet50, VideoVgg16
from mmpipe.features.encoders.text_bert import TextBert
from mmpipe.features.encoders.text_hf import TextHf
from mmpipe.features.encoders.text_tokens import TextTokens
from mmpipe.features.encoders.vision_hf import ImageHf, VideoHf
from mmpipe.features.encoders.vision_timm import ImageTimm, VideoTimm
from mmpipe.features.extractor import Extractor
from mmpipe.features.image_hogdct import ImageHogDct
from mmpipe.features.pixels import ImagePixels, VideoPixels
from mmpipe.features.released import Released
from mmpipe.features.text_ngrams import TextNgrams
from mmpipe.features.text_words import TextWords
from mmpipe.features.video_hogdct import VideoHogDct
from mmpipe.plugins import Plugin, PluginKind, find_plugin, plugin_names


class ExtractorClass(Protocol):
    """What an entry point must load: the class of the parameters, and a call that makes an extractor of them."""

    @property
    def Params(self) -> type[Table]:
        """Return the class of the parameters."""

    def __call__(self, params: Any) -> Extractor:
        """Make the extractor."""


_BY_DEFAULT: Mapping[str, ExtractorClass] = {
    kind.name: kind for kind in (ArrayRaw, ArrayStats, AudioLogMel, AudioMfccSeg, ImageHogDct, TextNgrams, VideoHogDct)
}
_BY_NAME_ONLY: Mapping[str, ExtractorClass] = {
    kind.name: kind
    for kind in (
        AudioHf,
        AudioMfcc,
        ImageHf,
        ImagePixels,
        ImageResNet50,
        ImageTimm,
        ImageVgg16,
        TextBert,
        TextHf,
        TextTokens,
        TextWords,
        VideoHf,
        VideoPixels,
        VideoResNet50,
        VideoTimm,
        VideoVgg16,
    )
}
_BUILT_IN: Mapping[str, ExtractorClass] = {**_BY_DEFAULT, **_BY_NAME_ONLY}
_OF_RELEASES: Mapping[str, ExtractorClass] = {Released.name: Released}  # a config names the release, not this
_MEMBERS = ("name", "version", "modality", "params", "needs", "schema", "weights_sha256", "setup", "extract")
_OF_ARRAYS = (ArrayRaw.name, ArrayStats.name)


def make_extractor(name: str, params: Mapping[str, Any] | None = None, table: str = "") -> Extractor:
    """Return an extractor with the given parameters, the rest at their defaults; raise ConfigError naming the fault.

    `table` is the name under which the config has the parameters, where it is another.
    """
    plugin, kind, checked = _plugin(name), _extractor_class(name), check_params(name, params, table)
    if plugin is None:
        return kind(checked)
    with _answering(plugin):
        made = kind(checked)
        _require_kept(plugin, made)
        return made


def check_params(name: str, params: Mapping[str, Any] | None = None, table: str = "") -> Table:
    """Return the parameters of an extractor, the rest at their defaults; raise ConfigError naming the fault."""
    plugin, kind = _plugin(name), _extractor_class(name)
    with _answering(plugin) if plugin else nullcontext():
        try:
            return kind.Params(**(params or {}))
        except ValidationError as error:
            raise ConfigError(_explain(error, table or name, kind.Params)) from error


def params_of(name: str) -> type[Table]:
    """Return the class of an extractor's parameters."""
    return _extractor_class(name).Params


def extractor_names() -> tuple[str, ...]:
    """Return the names of all extractors that are installed, sorted."""
    return tuple(sorted({*_BUILT_IN, *plugin_names(PluginKind.EXTRACTOR)}))


def default_features(*, arrays: bool = False) -> tuple[str, ...]:
    """Return the extractors that run where a corpus names none: built-in ones that need no weights.

    Those of arrays are among them only for a corpus whose config says that it has `arrays`.
    """
    return tuple(name for name in sorted(_BY_DEFAULT) if arrays or name not in _OF_ARRAYS)


def _extractor_class(name: str) -> ExtractorClass:
    """Return the class by name; a built-in one cannot be replaced from outside."""
    plugin = _plugin(name)
    if kind := {**_BUILT_IN, **_OF_RELEASES}.get(name):
        return kind
    if plugin is None:
        raise ConfigError(
            f"no extractor named {name!r}; there are: {', '.join(extractor_names())}. "
            f"A name of your own says whose it is: [features.{name}] extractor = ...; "
            f"an extractor of your own is announced by an entry point of the group {PluginKind.EXTRACTOR.group}, "
            f"which this writes: mmpipe new extractor {name}"
        )
    found: ExtractorClass = plugin.load()
    params = getattr(found, "Params", None)
    if not (callable(found) and isinstance(params, type) and issubclass(params, Table)):
        raise ConfigError(f"{plugin.said} is no class with `Params`, a subclass of mmpipe.Table. {plugin.way_out}")
    return found


def _plugin(name: str) -> Plugin | None:
    return find_plugin(PluginKind.EXTRACTOR, name, is_built_in=name in _BUILT_IN or name in _OF_RELEASES)


@contextmanager
def _answering(plugin: Plugin) -> Iterator[None]:
    """Turn what a plug-in's own code raises into a ConfigError that says whose it is; a built-in one has no excuse."""
    try:
        yield
    except MmpipeError:
        raise  # it says itself what is wrong
    except (Exception, SystemExit) as error:
        fault = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ConfigError(f"{plugin.said} cannot be made: {fault}. {plugin.way_out}") from error


def _require_kept(plugin: Plugin, made: Extractor) -> None:
    """Refuse an extractor whose values would lie under another name than the one that was asked for."""
    if not isinstance(made, Extractor):
        lacks = [name for name in _MEMBERS if not hasattr(made, name)]
        raise ConfigError(f"{plugin.said} lacks {', '.join(lacks)}. {plugin.way_out}")
    if not (isinstance(made.version, int) and made.version >= 1):
        raise ConfigError(f"{plugin.said} has version = {made.version!r}, allowed are 1, 2, 3, ... {plugin.way_out}")
    feature = f"{plugin.name}@{made.version}"
    if made.name != plugin.name or made.schema.feature != feature:
        raise ConfigError(
            f"{plugin.said} calls itself {made.name!r}, and what it makes {made.schema.feature!r}; "
            f"they must be {plugin.name!r} and {feature!r}. {plugin.way_out}"
        )


def _explain(error: ValidationError, name: str, params: type[Table]) -> str:
    """Say for each fault of the parameters: the key, the value, and what is allowed."""
    lines = [f"features.{name}: {error.error_count()} fault(s)"]
    for fault in error.errors():
        key = ".".join(map(str, fault["loc"])) or "(together)"
        if fault["type"] == "extra_forbidden":
            allowed = ", ".join(sorted(params.model_fields))
            lines.append(f"  {key} = {fault['input']!r}: unknown parameter; allowed here: {allowed}")
        else:
            lines.append(f"  {key} = {fault['input']!r}: {fault_text(fault['msg'])}")
    return "\n".join(lines)
