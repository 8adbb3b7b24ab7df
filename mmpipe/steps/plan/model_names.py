"""Find a fusion or an option of one that is not there before a night has begun: by name, without loading any."""

from __future__ import annotations

from mmpipe.config import Config
from mmpipe.fusion.option_names import check_names


def check_model_names(config: Config, corpus: str | None = None) -> None:
    """Raise ConfigError for a fusion or an option of one that is not there, of the models of a corpus or of all."""
    for name, model in sorted(config.models.items()):
        if corpus in (None, model.corpus):
            for fusion in model.fusions:
                check_names(fusion, frozenset(model.fusion_options.get(fusion, ())), f"models.{name}")
