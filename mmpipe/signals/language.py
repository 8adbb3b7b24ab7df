"""In what language a text is written, by py3langid: langid.py's model (Lui and Baldwin, ACL 2012) made fast."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MIN_CONFIDENCE = 0.5
MIN_LETTERS = 20  # shorter texts are guessed about as often wrong as right
_NO_LANGUAGE = "zxx"  # the model's class for what is no language: numbers, markup, noise


def identify_language(
    text: str, min_confidence: float = MIN_CONFIDENCE, min_letters: int = MIN_LETTERS
) -> tuple[str, float]:
    """Return the ISO 639-1 code and its probability; "" where the text is too short or the guess too unsure."""
    if sum(map(str.isalpha, text)) < min_letters:
        return "", 0.0
    code, probability = _identifier().classify(text)
    named = probability >= min_confidence and code != _NO_LANGUAGE
    return (str(code) if named else ""), float(probability)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Return the model, unpacked once a process: 0.4 s."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
