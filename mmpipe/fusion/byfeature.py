"""A network's parts by feature: torch allows no dot in a part's name, and `audio-logmel.clean@1` has one."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView

from torch import nn


class ByFeature(nn.ModuleDict):
    """A ModuleDict whose keys are names of features; parts without a dot are held under their own names."""

    def __setitem__(self, feature: str, module: nn.Module) -> None:
        """Hold a part."""
        super().__setitem__(held_name(feature), module)

    def __getitem__(self, feature: str) -> nn.Module:
        """Return a part."""
        return super().__getitem__(held_name(feature))

    def __contains__(self, feature: str) -> bool:
        """Say whether there is such a part."""
        return super().__contains__(held_name(feature))

    def __iter__(self) -> Iterator[str]:
        """Yield the features."""
        return iter(self.keys())

    def keys(self) -> KeysView[str]:
        """Return the features."""
        return self._told().keys()

    def items(self) -> ItemsView[str, nn.Module]:
        """Return the features with their parts."""
        return self._told().items()

    def _told(self) -> dict[str, nn.Module]:
        return {name.replace(":", "."): module for name, module in super().items()}


def held_name(feature: str) -> str:
    """Return the name under which torch holds the part of a feature."""
    return feature.replace(".", ":")
