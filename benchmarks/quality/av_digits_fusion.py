"""Does fusion of spoken and written digits beat plain models on speakers that it never heard?

benchmarks/quality/av_digits_fusion.py             2,000 pairs, 3 seeds, one of four speakers out at a time
benchmarks/quality/av_digits_fusion.py --quick     160 pairs, 2 epochs, 1 seed: shows that it runs, no more

The corpus is ingested and extracted into a new store, its pictures as the rendition `faded`; then for every seed
`mmpipe train` and the gate run on four folds, a speaker each. Beside the contenders stand plain linear models on the
same features and folds, and a small network that sums its two encodings with learned weights (two layers each, width
64, 8 epochs), trained by the same pipeline. Goal: the fused model that validation likes best is above all of them.

A network chooses how long to learn by one of the three other speakers, and then learns anew from all three (`refit`),
as the linear models do; linear models of the training clips alone are shown, too.

Four speakers are too few for evidence: the gate must say so, and `gate.few_groups` says what may be published. An
interval over four groups is shown, and proves nothing.

`faded` blurs a picture and covers half of it with gray blocks. Elsewhere pictures of such pairs are made harder by
removing the principal components that hold 75 % of their energy, which needs a fit; the same linear model on pictures
treated so, fitted on the training speakers of each fold alone, is printed for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.quality.folds import (
    Difference,
    LinearModels,
    Trial,
    case_table,
    compare,
    difference,
    linear_probabilities,
    print_case,
    print_goals,
    run_trial,
)
from mmpipe.config import Config, FewGroups, parse_config
from mmpipe.features.image_hogdct import ImageHogDct, ImageHogDctParams
from mmpipe.fusion.registry import fusion_names
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.types import ImageClip

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "av_digits"
DT = "2020-01-01"
AUDIO, IMAGE = "audio-mfccseg", "image-hogdct"
FADED = {"modality": "image", "degrade": {"blur_px": 8.0, "block_share": 0.5}}
SPEAKERS = 4
FUSIONS = ("reliability", "early_weighted")
# All dimensions: with 128 principal components the fused models are weaker, on validation and test clips alike.
ENCODER = {"components": 0}
SMALL_NET = "small network, weighted sum"
SMALL_NET_MODEL = {
    "fusions": ["early_weighted"],
    "encoder": {"hidden_layers": 1, "width": 64, "components": 0},
    "train": {"learning_rate": 4e-3, "batch_clips": 128, "epochs": 8},
}
# Audio, image and weighted sum with six speakers, of which four are here, and pictures of the other treatment.
README_FIGURES = {"audio": 71.7, "image": 66.2, "weighted sum": 84.2}
ENERGY = 0.75
QUICK_EVERY, QUICK_EPOCHS = 12, 2
GAIN = "fused - strongest plain model"
HONEST = "share of seeds with insufficient groups and nothing out"


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder with raw/ID.wav, raw/ID.png, labels.jsonl")
    parser.add_argument("--seeds", type=int, default=3, help="trainings")
    parser.add_argument("--fusions", default=",".join(FUSIONS), help="that compete, by name, with commas between")
    parser.add_argument("--quick", action="store_true", help="a few pairs, two epochs, one seed")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    fusions = tuple(arguments.fusions.split(","))
    if not (arguments.corpus / "labels.jsonl").is_file():
        parser.error(f"no AV digits at {arguments.corpus}: give their folder with --corpus")
    if arguments.seeds < 1 or set(fusions) - set(fusion_names()):
        parser.error(f"--seeds 1 at least, and --fusions of {', '.join(fusion_names())}")
    seeds = 1 if arguments.quick else arguments.seeds
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as name:
        os.environ["MMPIPE_CACHE"] = str(Path(name) / "cache")  # nothing of an earlier run counts
        result = measure(Path(name), arguments.corpus, fusions, seeds, arguments.quick)
    print(json.dumps(result, indent=1)) if arguments.json else print_result(result)


def measure(folder: Path, corpus: Path, fusions: Sequence[str], seeds: int, quick: bool) -> dict[str, Any]:
    """Build the store, train with every seed, judge."""
    corpus = few_pairs(corpus, folder / "few") if quick else corpus
    config = settings(folder, corpus, fusions, quick)
    ingest_corpus(config, "digits", DT)
    extract_plan(config, plan_corpus(config, "digits"))
    draws, iterations = (200, 30) if quick else (10_000, 1000)
    trials, nets = [], []
    for seed in range(seeds):
        print(f"training with seed {seed}", file=sys.stderr)
        trials.append(run_trial(config, "digits", seed))
        nets.append(run_trial(config, "small_net", seed))
    linear = LinearModels(iterations).correct(config, "digits", trials[0].keys)
    same = LinearModels(iterations, validation=False).correct(config, "digits", trials[0].keys)
    policies = {
        str(policy): run_trial(with_policy(config, policy), "digits", 0).released for policy in FewGroups
    }  # trained already: the gate alone is asked again
    return report(trials, nets, linear, same, policies, removed_components(corpus, iterations), draws, quick)


def settings(folder: Path, corpus: Path, fusions: Sequence[str], quick: bool) -> Config:
    """Return the config of the corpus, of the contenders' model and of the small network's."""
    common = {"corpus": "digits", "target": "digit", "inputs": [AUDIO, f"{IMAGE}.faded"], "folds": SPEAKERS}
    # As the plain models do, ours learn from the validation voice too, once it has chosen how long.
    train = {"refit": True, **({"epochs": QUICK_EPOCHS} if quick else {})}
    return parse_config(
        {
            "store": str(folder / "store"),
            "corpora": {
                "digits": {
                    "root": str(corpus / "raw"),
                    "labels": {"file": str(corpus / "labels.jsonl"), "group": "speaker"},
                    "renditions": {"faded": FADED},
                    "features": [AUDIO, f"{IMAGE}.faded"],
                }
            },
            "models": {
                "digits": {**common, "fusions": list(fusions), "encoder": ENCODER, "train": train},
                "small_net": {**common, **SMALL_NET_MODEL},
            },
        }
    )


def with_policy(config: Config, policy: FewGroups) -> Config:
    """Return the config with another answer to what too few groups may publish."""
    return config.model_copy(update={"gate": config.gate.model_copy(update={"few_groups": policy})})


def few_pairs(corpus: Path, folder: Path) -> Path:
    """Return a corpus of every n-th pair."""
    (folder / "raw").mkdir(parents=True)
    lines = (corpus / "labels.jsonl").read_text("utf-8").splitlines()[::QUICK_EVERY]
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    for line in lines:
        for path in (corpus / "raw").glob(f"{json.loads(line)['id']}.*"):
            shutil.copyfile(path, folder / "raw" / path.name)
    return folder


def removed_components(corpus: Path, iterations: int) -> float:
    """Return in percent how often a linear model knows a digit whose picture lost its leading components.

    They are fitted on the pictures of the training speakers of each fold, as is the linear model.
    """
    rows = [json.loads(line) for line in (corpus / "labels.jsonl").read_text("utf-8").splitlines()]
    speakers_N = np.array([row["speaker"] for row in rows])
    labels_N = np.array([int(row["digit"]) for row in rows])
    pictures_NHW = np.stack([read_gray(corpus / "raw" / f"{row['id']}.png") for row in rows])
    pixels_NP = pictures_NHW.reshape(len(rows), -1).astype(np.float64)
    right = []
    for speaker in sorted(set(speakers_N)):
        train_N = speakers_N != speaker
        left_NP = without_leading(pixels_NP, train_N, ENERGY)
        gray_NHW = np.clip(left_NP + 128, 0, 255).astype(np.uint8).reshape(pictures_NHW.shape)
        x_NF = describe_pictures(gray_NHW)
        said_NK = linear_probabilities(x_NF, labels_N, 10, train_N, ~train_N, iterations)
        right.append(said_NK.argmax(1) == labels_N[~train_N])
    return 100 * float(np.concatenate(right).mean())


def read_gray(file: Path) -> np.ndarray:
    """Return a picture's gray values [H, W]."""
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture.convert("L"))


def without_leading(x_NP: np.ndarray, train_N: np.ndarray, energy: float) -> np.ndarray:
    """Return rows minus the mean and the leading components that hold a share of the training rows' energy."""
    mean_P = x_NP[train_N].mean(0)
    _, sizes_C, axes_CP = np.linalg.svd(x_NP[train_N] - mean_P, full_matrices=False)
    count = int(np.searchsorted(np.cumsum(sizes_C**2) / np.sum(sizes_C**2), energy)) + 1
    centred_NP = x_NP - mean_P
    return np.asarray(centred_NP - centred_NP @ axes_CP[:count].T @ axes_CP[:count])


def describe_pictures(gray_NHW: np.ndarray) -> np.ndarray:
    """Return the stored feature of gray pictures."""
    from PIL import Image

    params = ImageHogDctParams()
    size = (params.size_px, params.size_px)
    clips = [ImageClip(image=np.asarray(Image.fromarray(gray_HW).resize(size))) for gray_HW in gray_NHW]
    return np.stack([value.array for value in ImageHogDct(params).extract(clips)])


def report(
    trials: Sequence[Trial],
    nets: Sequence[Trial],
    linear: Mapping[str, np.ndarray],
    same: Mapping[str, np.ndarray],
    policies: Mapping[str, str],
    removed: float,
    draws: int,
    quick: bool,
) -> dict[str, Any]:
    """Return all of it as plain JSON values."""
    import torch

    means = {GAIN: _gain_over(trials, [strongest_plain(linear, net)[1] for net in nets], draws)}
    honest = [trial.status == "insufficient groups" and trial.released == "nothing" for trial in trials]
    ratios = {name: mean.points for name, mean in means.items()} | {HONEST: float(np.mean(honest))}
    goals = {GAIN: 0.0, HONEST: 1.0}
    return {
        "benchmark": "av_digits_fusion",
        "quick": quick,
        "goals": goals,
        "ratios": ratios,
        "spread": {name: [mean.low, mean.high] for name, mean in means.items()},
        "met": {name: None if quick else value >= goals[name] for name, value in ratios.items()},
        "strongest_plain": [strongest_plain(linear, net)[0] for net in nets],
        "linear_of_training_clips": {name: 100 * float(correct_N.mean()) for name, correct_N in same.items()},
        "cases": {"digits": case_table(trials, linear, compare(trials, linear, tuple(linear), draws))},
        "small_net": case_table(nets, {}, []),
        "few_groups": dict(policies),
        "image_without_components": removed,
        "readme": README_FIGURES,
        "setting": {
            "seeds": len(trials),
            "speakers": SPEAKERS,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "torch": torch.__version__,
        },
    }


def _gain_over(trials: Sequence[Trial], plain: Sequence[np.ndarray], draws: int) -> Difference:
    """Return what the judged models have over plain ones, the mean over seeds."""
    gains = [trial.correct[trial.judged].astype(float) - plain_N for trial, plain_N in zip(trials, plain, strict=True)]
    return difference("judged", "strongest plain", None, np.mean(gains, axis=0), trials[0].groups, draws)


def strongest_plain(linear: Mapping[str, np.ndarray], net: Trial) -> tuple[str, np.ndarray]:
    """Return the plain model that the test likes best, and where it is right."""
    plain = {**linear, SMALL_NET: net.correct[net.judged]}
    name = max(plain, key=lambda each: float(plain[each].mean()))
    return name, plain[name]


def print_result(result: dict[str, Any]) -> None:
    """Print the tables for a person."""
    print_case("digits, one speaker out", result["cases"]["digits"])
    print("\nthe small network of two layers an input, 8 epochs")
    for row in result["small_net"]["contenders"]:
        print(f"  {row['name']:32s}{row['kind']:8s}{row['accuracy']:7.2f}")
    print(f"  the strongest plain model by seed: {', '.join(result['strongest_plain'])}")
    for name, value in result["linear_of_training_clips"].items():
        print(f"  {name + ', training clips alone':56s}{value:7.2f}")
    for name, (low, high) in result["spread"].items():
        print(f"  {name}: [{low:+.2f}, {high:+.2f}] over {result['setting']['speakers']} speakers")
    print(f"  a linear model on pictures without their leading components: {result['image_without_components']:.2f}")
    told = ", ".join(f"{name} {value}" for name, value in result["readme"].items())
    print(f"  the corpora's README, six speakers, other pictures: {told}")
    print("\nwhat gate.few_groups lets out, seed 0")
    for policy, released in result["few_groups"].items():
        print(f"  {policy:28s}{released}")
    print_goals(result)
    if result["quick"]:
        print("\nA few pairs and two epochs: this shows that it runs, and nothing more.")


if __name__ == "__main__":
    main()
