"""Tiny random text models with tokenizers made here, as save_pretrained writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmpipe.weights.loading import quiet_transformers

WORDS = (
    "a",
    "an",
    "and",
    "bin",
    "blue",
    "by",
    "green",
    "in",
    "lay",
    "now",
    "place",
    "please",
    "red",
    "set",
    "soon",
    "the",
    "to",
    "white",
    "with",
    "zero",
    "one",
    "two",
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


@quiet_transformers()
def make_tokenizer(folder: Path, max_length: int = 32) -> Any:
    """Save a word-level tokenizer that puts [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    ids = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=max_length,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


@quiet_transformers()
def save_model(folder: Path, network: Any, max_length: int = 32) -> Any:
    """Save a network with a tokenizer; return it ready to compute."""
    network.eval().save_pretrained(folder)
    make_tokenizer(folder, max_length)
    return network


@quiet_transformers()
def make_bert(folder: Path, max_length: int = 32, **settings: Any) -> Any:
    """Save a BERT of two layers."""
    from transformers import BertConfig, BertModel

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch_seed()
    config = BertConfig(vocab_size=64, max_position_embeddings=max_length, **size, **settings)
    return save_model(folder, BertModel(config), max_length)


def make_sentence_model(folder: Path) -> Any:
    """Save a BERT as sentence-transformers does: mean over tokens, then length one."""
    network = make_bert(folder)
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {"idx": number, "name": str(number), "path": "" if not number else f"{number}_{kind}", "type": f"x.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24}))
    return network


@quiet_transformers()
def make_clip_text(folder: Path) -> Any:
    """Save the text part of a CLIP whose end token is [SEP]."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch_seed()
    return save_model(
        folder,
        CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=64, max_position_embeddings=32, projection_dim=20, eos_token_id=3, bos_token_id=2, **size
            )
        ),
    )


@quiet_transformers()
def make_t5(folder: Path) -> Any:
    """Save a T5 of which the encoder is read."""
    from transformers import T5Config, T5EncoderModel

    torch_seed()
    size = {"d_model": 32, "d_kv": 16, "num_heads": 2, "num_layers": 2, "d_ff": 64}
    return save_model(folder, T5EncoderModel(T5Config(vocab_size=64, is_encoder_decoder=False, **size)))


@quiet_transformers()
def make_siglip_text(folder: Path) -> Any:
    """Save the text part of a SigLIP, which reads padding too."""
    from transformers import SiglipTextConfig, SiglipTextModel

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch_seed()
    return save_model(
        folder,
        SiglipTextModel(SiglipTextConfig(vocab_size=64, max_position_embeddings=16, projection_size=32, **size)),
    )


def torch_seed() -> None:
    """Draw the same weights every time."""
    import torch

    torch.manual_seed(0)
