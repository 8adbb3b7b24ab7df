"""Models of transformers with random weights and a tokenizer of a few words, saved as any model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mmpipe.weights.loading import quiet_transformers

WORDS = (
    *("<pad>", "<s>", "</s>", "<unk>", "<image>"),
    *("bin", "lay", "blue", "red", "at", "now", "soon", "low", "high", "and", "warm", "cold"),
)
MARKS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8}
_SIGHT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_PICTURE = {"image_size": 8, "patch_size": 4}


def save_writer(folder: Path, kind: str, seed: int = 0) -> Path:
    """Save a tiny `t5`, `bart`, `llava` or `paligemma`."""
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _network(kind).eval().save_pretrained(folder)
        _tokenizer().save_pretrained(folder)
    return folder


def _network(kind: str) -> Any:
    import transformers as t

    size = {"vocab_size": len(WORDS)}
    if kind == "t5":
        config = t.T5Config(
            **size, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0, **MARKS
        )
        return t.T5ForConditionalGeneration(config)
    if kind == "bart":
        layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        config = t.BartConfig(**size, d_model=16, **layers, **heads, decoder_start_token_id=2, **MARKS)
        return t.BartForConditionalGeneration(config)
    if kind == "llava":
        text = t.LlamaConfig(**size, **_TEXT, num_key_value_heads=2, **MARKS)
        config = t.LlavaConfig(
            vision_config=t.CLIPVisionConfig(**_SIGHT, **_PICTURE), text_config=text, image_token_id=4
        )
        return t.LlavaForConditionalGeneration(config)
    text = t.GemmaConfig(**size, **_TEXT, num_key_value_heads=1, **MARKS)
    config = t.PaliGemmaConfig(
        vision_config=t.SiglipVisionConfig(**_SIGHT, **_PICTURE), text_config=text, image_token_id=4, projection_dim=16
    )
    return t.PaliGemmaForConditionalGeneration(config)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
