"""Make the object that MMSA pickles for CMU-MOSI, tiny: the sign of the score shows in every modality, more or less."""

from __future__ import annotations

from typing import Any

import numpy as np

STEPS, TEXT, AUDIO, VISION = 12, 24, 5, 20  # of theirs: 50 steps (500 and 375 unaligned), 768, 5, 20 numbers
CLIPS = {"train": 40, "valid": 12, "test": 20}


def mosi_table(clips: dict[str, int] | None = None, *, aligned: bool = True, seed: int = 0) -> dict[str, Any]:
    """Return the table of thuiar/MMSA@a94e65d, README.md: splits of columns; two clips per video, the first neutral."""
    rng = np.random.default_rng(seed)
    return {split: _part(rng, split, count, aligned) for split, count in (clips or CLIPS).items()}


def _part(rng: np.random.Generator, split: str, count: int, aligned: bool) -> dict[str, Any]:
    scores = np.where(rng.random(count) < 0.5, -1, 1) * rng.uniform(0.2, 3, count)
    scores[0] = 0.0
    lengths = rng.integers(3, STEPS + 1, count)
    audio_steps = STEPS if aligned else 3 * STEPS

    def steps(width: int, num_steps: int, lengths: np.ndarray, strength: float) -> np.ndarray:
        values = rng.normal(size=(count, num_steps, width)).astype(np.float32)
        values[:, :, 0] += strength * np.sign(scores)[:, None]
        values[np.arange(num_steps)[None] >= lengths[:, None]] = 0
        return values

    bert = np.zeros((count, 3, STEPS), dtype=np.float32)
    bert[:, 1] = np.arange(STEPS)[None] < lengths[:, None]
    part = {
        "raw_text": np.array(["GOOD" if score > 0 else "WELL" for score in scores], dtype=object),
        "audio": steps(AUDIO, audio_steps, lengths if aligned else lengths * 3, 0.5),
        "vision": steps(VISION, STEPS, lengths, 0.5),
        "id": [f"_{split}-video{row // 2}$_${row % 2 + 1}" for row in range(count)],
        "text": steps(TEXT, STEPS, lengths, 2.0),
        "text_bert": bert,
        "annotations": ["Neutral" if not s else "Positive" if s > 0 else "Negative" for s in scores],
        "classification_labels": np.sign(scores) + 1,
        "regression_labels": scores,
    }
    if not aligned:
        part |= {"audio_lengths": (lengths * 3).tolist(), "vision_lengths": lengths.tolist()}
    return part
