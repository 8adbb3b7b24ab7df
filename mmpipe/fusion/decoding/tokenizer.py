"""The tokenizer of a model of transformers: texts as the numbers that the model knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mmpipe.config.generating import GenerateOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.decoding.kinds import SEQ2SEQ, TABLE, find_writer, network_kind
from mmpipe.fusion.decoding.vocabulary import padded_ids, rows_before_end
from mmpipe.weights.folder import ModelFolder
from mmpipe.weights.loading import CLOSED, quiet_transformers

OF_A_MODEL = "<tokens of a model>"  # the first name of a network whose tokens are a model's; the second says which


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The numbers that begin a text, end it, and fill up behind the end."""

    begin: int
    end: int
    pad: int

    @classmethod
    def of(cls, folder: ModelFolder, tokenizer: Any = None) -> Self:
        """Return a model's marks; raise ConfigError where its texts have no end."""
        tokenizer = tokenizer or load_tokenizer(folder)
        end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
        if end is None:
            raise ConfigError(f"{TABLE}.model = {folder.name!r}: its tokenizer has no end token (eos_token)")
        pad = end if pad is None else pad
        told = {**folder.read_json("config.json"), **folder.read_json("generation_config.json")}
        begins = [told.get(key) for key in ("decoder_start_token_id", "bos_token_id")]
        begin = next((number for number in begins if number is not None), pad)
        return cls(begin=int(begin), end=int(end), pad=int(pad))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTokens:
    """The tokens of a model of transformers, in place of a vocabulary of our own."""

    options: GenerateOptions  # with the digest of the model's files
    tokenizer: Any = field(compare=False)
    marks: Marks
    is_seq2seq: bool

    @classmethod
    def of(cls, options: GenerateOptions) -> Self:
        """Load a model's tokenizer; raise ConfigError where there is none, or another than it was."""
        folder = find_writer(options)
        tokenizer = load_tokenizer(folder)
        known = options.model_copy(update={"sha256": folder.sha256})
        marks = Marks.of(folder, tokenizer)
        return cls(options=known, tokenizer=tokenizer, marks=marks, is_seq2seq=network_kind(folder) == SEQ2SEQ)

    @classmethod
    def named(cls, names: Sequence[str]) -> Self:
        """Load the tokenizer that `names` says."""
        return cls.of(named_options(names))

    @property
    def names(self) -> tuple[str, ...]:
        """Return what stands in a network's spec: which model's tokens its numbers are."""
        found = self.options.model_dump(mode="json", include={"model", "revision", "offline", "sha256"})
        return OF_A_MODEL, json.dumps(found, sort_keys=True)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the numbers of texts, int64 [N, T], each with its end.

        An encoder-decoder is taught a text with the marks that its tokenizer puts around one; a model of pictures,
        which writes behind what it saw, without the one at the beginning.
        """
        clean = [" ".join(text.split()) for text in texts]
        rows = [list(ids) for ids in self.tokenizer(clean, add_special_tokens=self.is_seq2seq)["input_ids"]]
        return padded_ids([ids if ids[-1:] == [self.marks.end] else [*ids, self.marks.end] for ids in rows])

    def decode(self, ids_NT: np.ndarray) -> tuple[str, ...]:
        """Return the texts of numbers: what is before the end, without marks."""
        rows = rows_before_end(ids_NT, self.marks.end)
        return tuple(self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows)


def named_options(names: Sequence[str]) -> GenerateOptions:
    """Return where the model lies that `names` says, and its digest; raise ConfigError where they say none."""
    if len(names) != 2 or names[0] != OF_A_MODEL:
        raise ConfigError(f"a network whose tokens are a model's has {OF_A_MODEL!r} as first name, got {names[:1]}")
    return GenerateOptions(**json.loads(names[1]))


def load_tokenizer(folder: ModelFolder) -> Any:
    """Return the model's own tokenizer; raise ConfigError where it has none."""
    with quiet_transformers():
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder.folder, **CLOSED)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ConfigError(f"{TABLE}.model = {folder.name!r} has no tokenizer that can be read: {error}") from error
