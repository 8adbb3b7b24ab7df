"""What a text model's own files say: how wide its embeddings are, how long a text may be, how it pools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmpipe.errors import ConfigError
from mmpipe.weights.folder import ModelFolder

# Which class of transformers holds the text part alone; all others are what AutoModel makes of them.
_CLASSES: Mapping[str, str] = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "clap": "ClapTextModelWithProjection",
    "clap_text_model": "ClapTextModelWithProjection",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "siglip2": "Siglip2TextModel",
    "siglip2_text_model": "Siglip2TextModel",
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
}
_PROJECTED = ("CLIPTextModelWithProjection", "ClapTextModelWithProjection")
_FIXED_LENGTH = ("SiglipTextModel", "Siglip2TextModel")  # they were trained on padding, without a mask
_UNPOOLED = ("T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel", "LongT5EncoderModel")
# Positions that are counted on from the padding token's id, as RoBERTa does, leave so many less for tokens.
_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "clap", "clap_text_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPooling:
    """How a model makes one vector of a text."""

    how: str  # "output": the network gives it; else "cls" or "mean" of the last layer
    output: str = ""  # its name among what the network returns
    unit_length: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel:
    """A text model as its files describe it."""

    kind: str  # class of transformers
    hidden_dim: int
    pooled_dim: int  # of its own pooling
    max_tokens: int  # that its positions hold; 0: no bound is told
    fixed_length: int  # every text is padded to so many tokens, which count like its own; 0: to none
    own: OwnPooling | None  # None: it has no pooling of its own

    @property
    def is_joint(self) -> bool:
        """Return whether its own pooling lies in a space that it shares with pictures or sounds."""
        return self.kind in (*_PROJECTED, *_FIXED_LENGTH)


def read_text_model(model: ModelFolder, table: str) -> TextModel:
    """Read a model's files. Raise ConfigError where it reads no text, or needs what is not supported."""
    config = model.read_json("config.json")
    kind = _CLASSES.get(str(config.get("model_type")), "AutoModel")
    if kind == "AutoModel" and config.get("is_encoder_decoder"):
        known = ", ".join(sorted(name for name, found in _CLASSES.items() if found in _UNPOOLED))
        raise ConfigError(
            f"{table}.model = {model.name!r} is of type {config.get('model_type')!r}, an encoder with a decoder; the "
            f"encoder alone is taken of: {known}"
        )
    text = config.get("text_config") or config
    hidden = _number(text, "hidden_size", "d_model", "n_embd", "dim")
    if not hidden:
        raise ConfigError(f"{table}.model = {model.name!r}: its config.json names no hidden_size of a text encoder")
    positions = _number(text, "max_position_embeddings", "n_positions") if kind not in _UNPOOLED else 0
    if str(config.get("model_type")) in _POSITIONS_AFTER_PADDING and positions:
        positions -= int(text.get("pad_token_id") or 1) + 1
    projected = _number(config, "projection_dim") or _number(text, "projection_dim")
    pooled = (projected if kind in _PROJECTED else _number(text, "projection_size")) or hidden
    return TextModel(
        kind=kind,
        hidden_dim=hidden,
        pooled_dim=pooled,
        max_tokens=_sentence_tokens(model) or positions,
        fixed_length=positions if kind in _FIXED_LENGTH else 0,
        own=_own_pooling(model, kind, table),
    )


def _own_pooling(model: ModelFolder, kind: str, table: str) -> OwnPooling | None:
    """Return the pooling of a model: what sentence-transformers noted, else what the class gives."""
    modules = model.folder / "modules.json"
    if modules.is_file():
        return _sentence_pooling(model, table)
    if kind in _PROJECTED:
        return OwnPooling(how="output", output="text_embeds")
    return None if kind in _UNPOOLED else OwnPooling(how="output", output="pooler_output")


def _sentence_pooling(model: ModelFolder, table: str) -> OwnPooling:
    modules = json.loads((model.folder / "modules.json").read_bytes())
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    pooling = next((module for module in modules if str(module["type"]).endswith("Pooling")), None)
    if pooling is None or set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise ConfigError(
            f"{table}.model = {model.name!r}: of sentence models Transformer, Pooling and Normalize are supported, "
            f'this one has {kinds}. Ask for pool = "mean" or "cls" of a model without modules.json.'
        )
    settings = model.read_json(f"{pooling['path']}/config.json")
    modes = {name.removeprefix("pooling_mode_") for name, wanted in settings.items() if wanted is True}
    modes |= {str(settings[name]) for name in ("pooling_mode",) if isinstance(settings.get(name), str)}
    how = {"mean_tokens": "mean", "mean": "mean", "cls_token": "cls", "cls": "cls"}
    found = sorted({how[mode] for mode in modes if mode in how})
    if len(found) != 1 or (modes - set(how) - {"include_prompt"}):
        raise ConfigError(
            f"{table}.model = {model.name!r} pools by {sorted(modes)}; supported are mean and cls, one of them"
        )
    return OwnPooling(how=found[0], unit_length="Normalize" in kinds)


def _sentence_tokens(model: ModelFolder) -> int:
    """Return the length at which a sentence model cuts texts; 0 where none is noted."""
    return _number(model.read_json("sentence_bert_config.json"), "max_seq_length")


def _number(table: Mapping[str, Any], *names: str) -> int:
    return next((int(table[name]) for name in names if isinstance(table.get(name), int)), 0)
