"""`text-tokens`: a text as the ids of its tokens, for models that are trained on the words themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mmpipe.config import Flag, Table
from mmpipe.errors import ConfigError
from mmpipe.features.encoders.text_input import require_text
from mmpipe.features.extractor import MicroBatch, expect_media
from mmpipe.types import ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality, TextClip, TextNeeds
from mmpipe.weights.folder import find_model

BYTES = "bytes"
_TOKENIZER = "tokenizer.json"
_BYTE_SPECIALS = {"pad": 0, "end": 1, "unknown": 2}  # as ByT5 numbers them; a byte b is b + 3
_MICRO_BATCH = MicroBatch(max_clips=1_024)


class TextTokensParams(Table):
    """How a text is cut into tokens."""

    model: str = Field(
        BYTES, exclude=True, description="tokenizer: hub id, or a folder: ./NAME or absolute; bytes: UTF-8, needs none"
    )
    revision: str | None = Field(None, exclude=True, description="40 hex digits; required for a hub id")
    offline: Flag = Field(True, exclude=True, description="never ask the hub; false: download what is missing")
    max_tokens: int = Field(512, ge=1, le=131_072, description="longer texts are cut, special tokens counted")
    special: Flag = Field(True, description="with the tokens that the tokenizer puts around a text")


class TextTokens:
    """Token ids, int32 [T, 1], T the text's own length: readers pad, and give the mask. A token's time is its place."""

    name = "text-tokens"
    version = 1
    modality = Modality.TEXT
    micro_batch = _MICRO_BATCH
    Params = TextTokensParams

    def __init__(self, params: TextTokensParams) -> None:
        self.params = params
        self.needs = TextNeeds()
        self._file: Path | None = None
        self.weights_sha256 = ""
        named, specials, self.num_ids = "UTF-8 bytes", _BYTE_SPECIALS, 256 + len(_BYTE_SPECIALS)
        if params.model != BYTES:
            table = f"features.{self.name}"
            found = find_model(params.model, params.revision, offline=params.offline, table=table, with_weights=False)
            self._file = found.folder / _TOKENIZER
            if not self._file.is_file():
                raise ConfigError(
                    f"{table}.model = {params.model!r}: {found.folder} has no {_TOKENIZER}. Save it with the "
                    "save_pretrained of a fast tokenizer."
                )
            named, self.weights_sha256 = found.name, found.sha256
            specials, self.num_ids = _read_ids(self._file, found.sha256)
        told = ", ".join(f"{name} {number}" for name, number in sorted(specials.items(), key=lambda item: item[1]))
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE,
            dim=1,
            dtype="int32",
            description=f"token ids by {named}, {self.num_ids} in all; special ids: {told or 'none'}",
        )
        self._tokenizer: Any = None

    def setup(self, device: str) -> None:
        """Load the tokenizer, once; it runs on the CPU."""
        if self._file is None:
            return
        from tokenizers import Tokenizer  # without transformers, whose import takes seconds

        self._tokenizer = Tokenizer.from_file(str(self._file))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.params.max_tokens)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return the ids of each text; raise SampleError for a text without a character."""
        texts = [require_text(expect_media(media, TextClip, self.name).text) for media in batch]
        found = [self._bytes(text) for text in texts] if self._file is None else self._ids(texts)
        return [_value(ids) for ids in found]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        assert self._tokenizer, "setup comes first"
        found = self._tokenizer.encode_batch(texts, add_special_tokens=self.params.special)
        return [encoding.ids[: self.params.max_tokens] for encoding in found]

    def _bytes(self, text: str) -> list[int]:
        ids = [byte + len(_BYTE_SPECIALS) for byte in text.encode()]
        if not self.params.special:
            return ids[: self.params.max_tokens]
        return [*ids[: self.params.max_tokens - 1], _BYTE_SPECIALS["end"]]


def _value(ids: Sequence[int]) -> FeatureValue:
    array = np.array(ids or [0], np.int32)[:, None]  # a text of which a tokenizer makes nothing is one padding token
    return FeatureValue(array=array, times_ns=np.arange(len(array), dtype=np.int64))


@lru_cache(maxsize=8)
def _read_ids(file: Path, sha256: str) -> tuple[dict[str, int], int]:
    """Return the special tokens of a tokenizer by id, and how many ids it has. `sha256` says which file it is."""
    try:
        table = json.loads(file.read_bytes())
        added = table.get("added_tokens") or []
        special = {str(token["content"]): int(token["id"]) for token in added if token.get("special")}
        vocabulary = table["model"]["vocab"]  # words to ids, or for Unigram a list of [word, score]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        return special, 1 + max((*ids, *(int(token["id"]) for token in added)), default=0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is no tokenizer of the `tokenizers` library: {error!r}") from error
