"""Refuse to train on a text that the label was read from: the model would read the answer."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mmpipe.config import ModelConfig
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import Extractor
from mmpipe.steps.ground.text_origin import TextOrigin
from mmpipe.store.assets import read_text_origins
from mmpipe.store.layout import StoreLayout
from mmpipe.types import Modality


def refuse_label_texts(
    layout: StoreLayout, model: ModelConfig, spine: pl.DataFrame, extractors: Sequence[Extractor]
) -> None:
    """Refuse text inputs where the texts of any of the clips are the target's own column of the labels table."""
    readers = [extractor.name for extractor in extractors if extractor.modality is Modality.TEXT]
    if not readers:
        return
    origins = read_text_origins(layout, model.corpus)
    told = {asset for asset, origin in origins.items() if TextOrigin.parse(origin).column == model.target}
    num_clips = spine.filter(pl.col("asset_id").is_in(list(told))).height
    if num_clips:
        raise ConfigError(
            f"leak: the text of {num_clips} clips is the labels column {model.target!r} (origin "
            f"'column:{model.target}'), and so is the target: {readers[0]!r} would read the answer. Leave "
            f"{readers[0]!r} out of `inputs`, choose another `target`, or another source in "
            f"corpora.{model.corpus}.text.sources."
        )
