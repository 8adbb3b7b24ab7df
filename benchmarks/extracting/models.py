"""Models with random weights, as `save_pretrained` writes them, and a tokenizer made of letters."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers.common import MEAN, SIDE_PX, STD
from mmpipe.weights.loading import quiet_transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789'.,!?-"


def save_vision(folder: Path, small: bool, heads: int = 6) -> Path:
    """Save a vision transformer, seed 0: of ViT-S size with 6 heads, of ViT-Ti size with 3; small: two layers of it."""
    import torch

    with quiet_transformers():
        from transformers import ViTConfig, ViTModel

        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=64 * heads,
            intermediate_size=256 * heads,
            num_attention_heads=heads,
            num_hidden_layers=2 if small else 12,
            image_size=SIDE_PX,
            patch_size=16,
        )
        ViTModel(config).eval().save_pretrained(folder)
    size = {"height": SIDE_PX, "width": SIDE_PX}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size, "image_mean": MEAN, "image_std": STD}))
    return folder


def save_text(folder: Path) -> Path:
    """Save a text encoder of MiniLM-L6 size, seed 0, that reads letters."""
    import torch

    with quiet_transformers():
        from tokenizers import Regex, Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import Split
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        ids = {token: number for number, token in enumerate(["[PAD]", "[UNK]", *LETTERS, " "])}
        made = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
        made.pre_tokenizer = Split(Regex("."), "isolated")
        PreTrainedTokenizerFast(
            tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", model_max_length=256
        ).save_pretrained(folder)
        torch.manual_seed(0)
        size = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        BertModel(BertConfig(vocab_size=len(ids), max_position_embeddings=256, **size)).eval().save_pretrained(folder)
    return folder
