"""The card of an experimental encoder: what it is, what it was trained on, how its values are had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmpipe.features.trained.spec import TEXT_LSTM, EncoderSpec

_WHAT = {
    True: "A recurrent language model over token ids. It learnt to name the next token; an embedding is what it has "
    "in mind, the mean over a text's tokens or each of them.",
    False: "A recurrent encoder-decoder after Speech2Vec (Chung & Glass 2018), on segments of equal length instead of "
    "words. It learnt to say how a segment's neighbours sound; an embedding stands for a segment, or is the mean of a "
    "clip's.",
}


def render_encoder_card(
    name: str, corpus: str, spec: EncoderSpec, lineage: Mapping[str, Any], metrics: Mapping[str, Any]
) -> str:
    """Return the README.md of an encoder's version: front matter that the Hugging Face hub reads, then Markdown."""
    rows = lineage["rows"]
    facts = [
        ("input", f"`{spec.input}`, fingerprint `{lineage['fingerprints'][spec.input][:16]}`"),
        ("width", str(spec.width)),
        ("cell", spec.cell),
        ("seed", str(lineage["fit"]["seed"])),
        ("train clips", f"{rows['train']['clips']}, keys `{rows['train']['keys_sha256'][:16]}`"),
        ("validation clips", f"{rows['val']['clips']}, keys `{rows['val']['keys_sha256'][:16]}`"),
        ("snapshot", f"`{lineage['snapshot'][:16]}`"),
        (
            "training loss",
            f"{_told(metrics['train_losses'][0])} at first, {_told(metrics['train_losses'][-1])} at last",
        ),
        ("validation loss", f"{_told(metrics['val_losses'][metrics['kept_epoch']])} in the epoch that is kept"),
    ]
    table = "".join(f"| {what} | {told} |\n" for what, told in facts)
    return (
        "---\nlibrary_name: mmpipe\npipeline_tag: feature-extraction\ntags:\n- mmpipe-experimental\n"
        f"- {json.dumps(spec.kind)}\n---\n\n"
        f"# {name}\n\n"
        "> **Experimental.** No gate has judged it: what it is worth, a model that reads it shows.\n\n"
        f"{_WHAT[spec.kind == TEXT_LSTM]} It was trained without labels on the train split of the corpus {corpus}.\n\n"
        f"| what | |\n|---|---|\n{table}\n"
        "## Using it\n\nAs a feature, with the number of this version:\n\n"
        f'```toml\n[features.my-{spec.kind}]\nextractor = "release:{name}@NUMBER"\n```\n\n'
        "Nothing here is pickled: `model.safetensors` and `config.json` are read with the `safetensors` package. In "
        "full, down to raw files: `lineage.json`.\n"
    )


def _told(loss: float | None) -> str:
    return "not measured" if loss is None else f"{loss:.4f}"
