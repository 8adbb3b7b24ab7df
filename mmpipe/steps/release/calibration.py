"""How a version's confidence was made honest: `calibration.json`, with the clips by count and digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.classes import ClassAnswers
from mmpipe.evaluate.measures.calibration import reliability
from mmpipe.evaluate.metrics import calibration_error, negative_log_likelihood
from mmpipe.evaluate.temperature import apply_temperature, choose_temperature
from mmpipe.io import canonical_json
from mmpipe.types import digest_of

CALIBRATION_NAME = "calibration.json"
_METHOD = "softmax(log(probabilities) / temperature), one temperature for all classes (Guo et al. 2017)"


def describe_calibration(validation: Sequence[Answers], test: Answers, temperature: float) -> bytes:
    """Return the file's bytes: each part's own fit on its validation clips, and what all do to clips of the test.

    Nothing of answers that are no classes: they have no temperature.
    """
    if not isinstance(test, ClassAnswers):
        return b""
    scaled = apply_temperature(test, temperature)
    table = {
        "method": _METHOD,
        "temperature": temperature,
        "chosen": "the median over the parts" if len(validation) > 1 else "fitted on the validation clips",
        "fitted_on": [_fit(part, number) for number, part in enumerate(validation) if isinstance(part, ClassAnswers)],
        "measured_on": _clips(test),
        "before": _measured(test),
        "after": _measured(scaled),
    }
    return canonical_json(table)


def _fit(part: ClassAnswers, number: int) -> dict[str, Any]:
    """Return what one part's validation clips ask for, and whether that helps groups that it was not fitted on."""
    return {"part": number, **_clips(part), **asdict(choose_temperature(part))}


def _measured(answers: ClassAnswers) -> dict[str, Any]:
    return {
        "expected_calibration_error": calibration_error(answers),
        "negative_log_likelihood": negative_log_likelihood(answers),
        "reliability": [asdict(entry) for entry in reliability(answers)],
    }


def _clips(answers: Answers) -> dict[str, Any]:
    """Return which clips these are: no key, for what is forgotten must be gone from here too."""
    return {
        "num_clips": len(answers.keys),
        "num_groups": len(set(answers.groups)),
        "clips_sha256": digest_of("clips", *sorted(answers.keys)),
    }
