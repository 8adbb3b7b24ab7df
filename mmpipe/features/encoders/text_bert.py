"""`text-bert`: BERT as everybody knows it; `text-hf` with the model named."""

from __future__ import annotations

from pydantic import Field

from mmpipe.features.encoders.text_hf import TextHf, TextHfParams


class TextBertParams(TextHfParams):
    """Which BERT, and what is kept of it."""

    model: str = Field(
        "google-bert/bert-base-uncased", exclude=True, description="hub id, or a folder: ./NAME or an absolute path"
    )
    revision: str | None = Field(
        "86b5e0934494bd15c9632b12f734a8a67f723594", exclude=True, description="40 hex digits, for a hub id"
    )


class TextBert(TextHf):
    """Embeddings of a text by BERT, as `text-hf` makes them."""

    name = "text-bert"
    Params = TextBertParams
