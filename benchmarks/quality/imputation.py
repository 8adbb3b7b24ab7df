"""Does the adversarial imputer guess a missing modality better than the mean, ridge and the nearest clips?

benchmarks/quality/imputation.py            AV digits, leave one speaker out
benchmarks/quality/imputation.py --quick    every fourth clip and two speakers: shows that it runs

The sound of a spoken digit is guessed from the picture of a written one and the other way round, both as the networks
see them: features, standardised, turned into principal components on the clips that are learnt from. Each speaker is
judged once, by imputers that never heard him; what they may choose was chosen on another speaker that was held back.
A picture and a recording share their digit and nothing else, so most of what is missing cannot be known from the other
side: an error of 1 is that of knowing nothing, and far below it nobody can come. Intervals are over speakers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.quality.av_digits import CORPUS, Digits, read_digits
from mmpipe.config import EncoderConfig, Imputation
from mmpipe.fusion.preprocess import Prepared, Preprocess, PreprocessFit
from mmpipe.fusion.spec import InputSpec
from mmpipe.train.deterministic import on_threads
from mmpipe.train.imputation.choose import GAN_CHOICES, fit_chosen
from mmpipe.train.imputation.compare import RIVALS, gains_over, reason_of
from mmpipe.train.imputation.error import HeldOut, Range, clustered_range, held_out_errors, join_errors
from mmpipe.train.imputation.gan import GanSettings, fit_gan
from mmpipe.train.imputation.observed import Observed, observe
from mmpipe.types import FeatureKind

SOUND, PICTURE = "audio-mfccseg@1", "image-hogdct@1"
METHODS = (*RIVALS[Imputation.GAN], Imputation.GAN)
QUICK = (GanSettings(steps=80),)
GOAL = 1.0  # the best simple imputer's error over the generator's; it must beat it, so the low end is above


def main() -> None:
    """Run the comparison and print it, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path, default=CORPUS, help="the corpus' folder")
    parser.add_argument("--seed", type=int, default=0, help="of the generator")
    parser.add_argument("--quick", action="store_true", help="every fourth clip, two of the speakers judged")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    started = time.perf_counter()
    digits = read_digits(arguments.folder, every=4 if arguments.quick else 1)
    with on_threads(1):
        result = measure(digits, arguments.seed, quick=arguments.quick)
    result |= {"quick": arguments.quick, "seconds": round(time.perf_counter() - started, 1)}
    print(json.dumps(result, indent=1)) if arguments.json else print_result(result)


def measure(digits: Digits, seed: int, *, quick: bool = False) -> dict[str, Any]:
    """Judge every imputer on every speaker, and return errors, gains and what was aimed at."""
    errors: dict[Imputation, list[HeldOut]] = {method: [] for method in METHODS}
    without_game: list[HeldOut] = []
    chosen: dict[str, dict[str, Any]] = {}
    for speaker in np.unique(digits.speakers_N)[: 2 if quick else None].tolist():
        is_judged_N = digits.speakers_N == speaker
        train, judged = prepare(digits, np.flatnonzero(~is_judged_N), np.flatnonzero(is_judged_N))
        for method in METHODS:
            fitted = fit_chosen(method, train, seed, QUICK if quick else GAN_CHOICES)
            errors[method].append(held_out_errors(fitted.imputer, judged))
            chosen.setdefault(speaker, {})[method.value] = dict(fitted.settings)
        assert fitted.game, "the last method is the generator"
        alone = fit_gan(train, replace(fitted.game, game_weight=0.0), seed)
        without_game.append(held_out_errors(alone, judged))
        said = {method.value: round(float(errors[method][-1].squared_E.mean()), 4) for method in METHODS}
        print(f"{speaker}: {said}", file=sys.stderr)
    return report({method: join_errors(parts) for method, parts in errors.items()}, join_errors(without_game), chosen)


def prepare(digits: Digits, train_rows: np.ndarray, judged_rows: np.ndarray) -> tuple[Observed, Observed]:
    """Return both lots of clips as networks see them; the preprocessing is fitted on the first."""
    prepared: list[dict[str, Prepared]] = [{}, {}]
    for name, x_NF in ((SOUND, digits.mfccseg_NF), (PICTURE, digits.hogdct_NF)):
        entry = InputSpec(feature=name, kind=FeatureKind.VECTOR, dim=x_NF.shape[1])
        preprocess = Preprocess(entry, EncoderConfig(), per_segment=False)
        values, masks = torch.from_numpy(x_NF)[:, None], torch.ones(len(x_NF), 1, dtype=torch.bool)
        fit = PreprocessFit(preprocess, len(train_rows))
        fit.add(values[train_rows], masks[train_rows])
        fit.finish()
        for part, rows in zip(prepared, (train_rows, judged_rows), strict=True):
            part[name] = preprocess(values[rows], masks[rows])
    rows_of = (train_rows, judged_rows)
    train, judged = (observe(p, digits.speakers_N[rows].tolist()) for p, rows in zip(prepared, rows_of, strict=True))
    return train, judged


def report(errors: Mapping[Imputation, HeldOut], without_game: HeldOut, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return all of it as plain JSON values: over both directions, and for each."""
    gains = gains_over(Imputation.GAN, errors)
    best = min(gains, key=lambda method: errors[method].squared_E.mean())
    mine, theirs = errors[Imputation.GAN].squared_E.mean(), errors[best].squared_E.mean()
    return {
        "benchmark": "imputation",
        "goals": {"best_simple_error_over_gan_error": GOAL, "low_end_of_every_gain_above": 0.0},
        "ratios": {"best_simple_error_over_gan_error": float(theirs / mine)},
        "gains": {method.value: asdict(gain) for method, gain in gains.items()},
        "kept": all(gain.low > 0 for gain in gains.values()),
        "reason": reason_of(Imputation.GAN, errors, gains),
        "errors": {method.value: of_method(one) for method, one in errors.items()},
        "without_game": of_method(without_game),
        "gain_by_game": asdict(
            clustered_range(without_game.squared_E - errors[Imputation.GAN].squared_E, without_game.groups_E)
        ),
        "gains_by_guessed": {feature: of_feature(errors, feature) for feature in (SOUND, PICTURE)},
        "chosen": dict(chosen),
        "clips": len(errors[Imputation.GAN].squared_E) // 2,
    }


def of_method(errors: HeldOut) -> dict[str, Any]:
    """Return an imputer's errors with intervals over speakers, and by speaker and what was guessed."""
    speakers: Sequence[str] = np.unique(errors.groups_E).tolist()
    return {
        "squared": asdict(clustered_range(errors.squared_E, errors.groups_E)),
        "absolute": asdict(clustered_range(errors.absolute_E, errors.groups_E)),
        "squared_by_guessed": {name: float(errors.of(name).squared_E.mean()) for name in (SOUND, PICTURE)},
        "squared_by_speaker": {name: float(errors.squared_E[errors.groups_E == name].mean()) for name in speakers},
    }


def of_feature(errors: Mapping[Imputation, HeldOut], feature: str) -> dict[str, Any]:
    """Return what the generator has over the others where one modality is guessed."""
    gains: Mapping[Imputation, Range] = gains_over(
        Imputation.GAN, {method: one.of(feature) for method, one in errors.items()}
    )
    return {method.value: asdict(gain) for method, gain in gains.items()}


def print_result(result: Mapping[str, Any]) -> None:
    """Print the four beside each other."""
    print(f"{'imputer':<8}{'squared error':>15}  {'interval':<18}{'absolute':>10}{'sound':>9}{'picture':>9}")
    for method, found in result["errors"].items():
        squared, by = found["squared"], found["squared_by_guessed"]
        interval = f"{squared['low']:.3f} to {squared['high']:.3f}"
        print(f"{method:<8}{squared['value']:>15.4f}  {interval:<18}{found['absolute']['value']:>10.4f}", end="")
        print(f"{by[SOUND]:>9.4f}{by[PICTURE]:>9.4f}")
    game = result["gain_by_game"]
    alone = result["without_game"]["squared"]["value"]
    print(f"\nThe generator's network without the game, its distance alone: {alone:.4f};")
    print(f"the game brings {game['value']:+.4f} [{game['low']:+.4f}, {game['high']:+.4f}]")
    print(f"\n{result['reason']}\n{result['clips']} clips, each in both directions; {result['seconds']} s")
    for name, gains in result["gains_by_guessed"].items():
        told = (f"{method} {g['value']:+.4f} [{g['low']:+.4f}, {g['high']:+.4f}]" for method, g in gains.items())
        print(f"guessing {name}, the generator has over {', '.join(told)}")
    if result["quick"]:
        print("A part of the clips: this shows that it runs.")


if __name__ == "__main__":
    main()
