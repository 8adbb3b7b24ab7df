"""Check what other packages bring: whether each can be imported, and is the only one of its name."""

from __future__ import annotations

from mmpipe.errors import MmpipeError
from mmpipe.plugins import PluginKind, plugin_names


def check_plugins() -> tuple[str, str, str]:
    """Load every plug-in, and make what needs no config; a broken one is a weakness until a config asks for it."""
    good, faults = [], []
    for kind in PluginKind:
        for name in plugin_names(kind):
            try:
                _load(kind, name)
            except MmpipeError as error:
                faults.append(str(error))
            else:
                good.append(f"{kind} {name}")
    if faults:
        return "plug-ins", "weak", "; ".join(faults)
    return "plug-ins", "ok", ", ".join(good) or "none is installed"


def _load(kind: PluginKind, name: str) -> None:
    """Load one as a night would; the rooms that know how are heavy, and only imported where there is one."""
    match kind:
        case PluginKind.EXTRACTOR:
            from mmpipe.features.registry import make_extractor, params_of

            if not any(field.is_required() for field in params_of(name).model_fields.values()):
                make_extractor(name)
        case PluginKind.FUSION:
            from mmpipe.fusion.registry import fusion_class

            fusion_class(name)
        case PluginKind.SOURCE:
            from mmpipe.sources.plugged import source_params

            source_params(name)
