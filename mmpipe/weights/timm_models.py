"""Load a network of timm from a model's folder, also beside a torchvision that does not fit this torch."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.weights.folder import ModelFolder

_OPERATORS = (  # that torchvision describes when it is imported; one built for another torch does not bring them
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []  # torch forgets operators with the library that defines them


def load_timm(model: ModelFolder, dtype: Any, device: str, table: str) -> Any:
    """Return a network of timm on a device, without its classifier. Raise ConfigError where it is none."""
    timm = import_timm()
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = model.read_json("config.json")
    try:
        network = timm.create_model(
            config["architecture"],
            pretrained=False,
            num_classes=config.get("num_classes", 1000),
            **(config.get("model_args") or {}),
        )
        found = load_file(model.folder / "model.safetensors")
    except (KeyError, OSError, RuntimeError, TypeError, SafetensorError) as error:
        raise ConfigError(f"{table}.model = {model.name!r} cannot be loaded by timm: {error}") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if wanted != given:
        name = min(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
        raise ConfigError(
            f"{table}.model = {model.name!r}: config.json says architecture = {config['architecture']!r}, and "
            f"model.safetensors holds the weights of another network: of {name} it has "
            f"{list(given[name]) if name in given else 'nothing'}, expected "
            f"{list(wanted[name]) if name in wanted else 'nothing'}"
        )
    network.load_state_dict(found)
    network.reset_classifier(0)
    return network.to(device=device, dtype=dtype).eval()


def import_timm() -> Any:
    """Import timm; raise ConfigError where it is not installed."""
    try:
        _import_torchvision()
        import timm
    except ImportError as error:
        raise ConfigError(f"{error}. Models of timm need: pip install 'mmpipe[timm]'") from error
    return timm


def _import_torchvision() -> None:
    """Import torchvision, which timm does for its pictures; its own operators, used by none of ours, may be missing."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            library.define(operator)
        _kept.append(library)
        importlib.import_module("torchvision")
