"""Does a trained shared space find a sentence by its sound better than linear CCA, and the sound by its sentence?

benchmarks/quality/grid_retrieval.py                   240 utterances and their 1,440 words, 3 seeds
benchmarks/quality/grid_retrieval.py --quick           40 utterances, 3 epochs, 1 seed: shows that it runs, no more
benchmarks/quality/grid_retrieval.py --lips            also: do lips beside the sound find more than the sound alone?

The GRID corpus is ingested whole and cut into words, and extracted into a new store. `mmpipe train` makes networks with
goal = "retrieve" on five folds over utterances: each clip is looked for among the clips of its own fold, by a network
that saw none of them. Linear CCA, which every such training makes as its bar, reads the same features on the same
folds: segments, ridge and size are chosen on each fold's validation clips, and then it learns from those too, which the
network never does. Ties count against both. Chance is exact, by the number of equal clips in each list.

A sentence is an input here, no label: it is embedded without the sound, as the sound is without it, and sentences
share words but no utterance is in two folds. Equal texts (the same word, said again) are right for each other.

Goals: with every seed the mean reciprocal rank of sentences and sounds is above that of CCA, by the lower end of the
paired interval over utterances. The networks' settings were chosen among a handful by hand, on other folds of the same
240 utterances; there is one speaker.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from mmpipe.config import Config, parse_config
from mmpipe.evaluate.answers.matches import SIDES, MatchAnswers
from mmpipe.evaluate.measures.retrieval import CUTOFFS
from mmpipe.evaluate.measures.statistic import estimates, interval, mean_of
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.ingest.ingest import ingest_corpus
from mmpipe.steps.plan.plan import plan_corpus
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.train.candidates import fit_folder, join_parts
from mmpipe.steps.train.linear_reference import REFERENCE
from mmpipe.steps.train.train import train_model
from mmpipe.store.layout import open_store

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "grid"
DT = "2020-01-01"
SOUND, LIPS, TEXT = "audio-logmel", "video-hogdct", "text-ngrams"
FOLDS = 5
CASES = {"sentences": "whole", "words": "cues"}
BOTH = "sentences, with lips"
STEPS = {"whole": 60, "cues": 30}  # of 50 ms and 25 ms: about a phone
QUICK_UTTERANCES, QUICK_EPOCHS = 40, 3
CHANCE = "chance"


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder with raw/ID.mpg, raw/ID.vtt, labels.jsonl")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of every case")
    parser.add_argument("--lips", action="store_true", help="also fuse sound and lips, and let the gate judge it")
    parser.add_argument("--quick", action="store_true", help="a few utterances and epochs, one seed")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    if not (arguments.corpus / "labels.jsonl").is_file():
        parser.error(f"no GRID corpus at {arguments.corpus}: give its folder with --corpus")
    if arguments.seeds < 1:
        parser.error("--seeds 1 at least")
    with tempfile.TemporaryDirectory(prefix="mmpipe-bench-") as name:
        os.environ["MMPIPE_CACHE"] = str(Path(name) / "cache")  # nothing of an earlier run counts
        seeds = 1 if arguments.quick else arguments.seeds
        result = measure(Path(name), arguments.corpus, seeds, lips=arguments.lips, quick=arguments.quick)
    print(json.dumps(result, indent=1)) if arguments.json else print_result(result)


def measure(folder: Path, corpus: Path, seeds: int, *, lips: bool, quick: bool) -> dict[str, Any]:
    """Build the store and measure every case."""
    config = settings(folder, few_utterances(corpus, folder / "few") if quick else corpus, seeds, quick)
    for name in config.corpora:
        ingest_corpus(config, name, DT)
        extract_plan(config, plan_corpus(config, name))
    cases = {}
    for model in (*CASES, *((BOTH,) if lips else ())):
        print(f"training on {model}", file=sys.stderr)
        cases[model] = measure_case(config, model_name(model), 200 if quick else 10_000)
    return report(cases, seeds, quick)


def settings(folder: Path, corpus: Path, seeds: int, quick: bool) -> Config:
    """Return the config: the corpus whole and by words, with a model each, and one of sound and lips."""
    train = {"epochs": QUICK_EPOCHS if quick else 80, "patience_epochs": 15, "seeds": list(range(seeds))}
    models = {model_name(name): _model(name, rule, train) for name, rule in CASES.items()}
    wider = {"inputs": [SOUND, LIPS, TEXT], "fusions": ["early_weighted", "concat"]}
    query = {"goal_options": {"query": [SOUND, LIPS]}}
    corpora = {
        name: {
            "root": str(corpus / "raw"),
            "labels": {"file": str(corpus / "labels.jsonl"), "group": "id"},
            "clips": {"rule": rule},
            "features": [SOUND, LIPS, TEXT],
        }
        for name, rule in CASES.items()
    }
    models[model_name(BOTH)] = _model("sentences", "whole", train) | wider | query
    return parse_config({"store": str(folder / "store"), "corpora": corpora, "models": models})


def _model(corpus: str, rule: str, train: Mapping[str, Any]) -> dict[str, Any]:
    sound = {"kind": "cnn", "steps": STEPS[rule], "components": 32, "layers": 2, "kernel": 5}
    return {
        "corpus": corpus,
        "goal": "retrieve",
        "target": "cue" if rule == "cues" else "text",
        "inputs": [SOUND, TEXT],
        "encoders": {SOUND: sound},
        "folds": FOLDS,
        "train": dict(train),
    }


def model_name(case: str) -> str:
    """Return what a case's model is called."""
    return case.replace(", ", "-").replace(" ", "-")


def few_utterances(corpus: Path, folder: Path) -> Path:
    """Return a corpus of a few utterances from all over its list, as links."""
    (folder / "raw").mkdir(parents=True)
    lines = (corpus / "labels.jsonl").read_text("utf-8").splitlines()
    lines = lines[:: max(1, len(lines) // QUICK_UTTERANCES)][:QUICK_UTTERANCES]
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    for line in lines:
        for path in (corpus / "raw").glob(f"{json.loads(line)['id']}.*"):
            os.link(path, folder / "raw" / path.name) if _same_disk(path, folder) else _copy(path, folder / "raw")
    return folder


def _same_disk(path: Path, folder: Path) -> bool:
    return path.stat().st_dev == folder.stat().st_dev


def _copy(path: Path, folder: Path) -> None:
    (folder / path.name).write_bytes(path.read_bytes())


# --------------------------------------------------------------------------- one case


def measure_case(config: Config, model: str, draws: int) -> dict[str, Any]:
    """Train a model's contenders and CCA on the same folds; return what all of them found."""
    settings = config.models[model]
    checkpoint = train_model(config, model).checkpoint
    evaluation = evaluate_checkpoint(config, model, checkpoint)
    folder = open_store(config.store).checkpoints / checkpoint
    cca = _answers(folder, REFERENCE, settings.train.seeds[0])
    found: dict[str, list[MatchAnswers]] = {}
    for name in evaluation.candidates:
        for seed in settings.train.seeds:
            found.setdefault(name, []).append(_answers(folder, name, seed).aligned_to(cca.keys))
    return {
        "clips": len(cca.keys),
        "groups": len(set(cca.groups)),
        "listed": [int(cca.listed_N.min()), int(cca.listed_N.max())],
        "rows": [
            *(row(name, answers) for name, answers in found.items()),
            row(REFERENCE, [cca]),
            {"name": CHANCE, **cca.chances()},
        ],
        "differences": [
            difference(name, measure, seed, answers, cca, draws)
            for name, answers in found.items()
            for measure in ("mrr", "r@1")
            for seed in (*range(len(answers)), None)
        ],
        "gate": {"status": str(evaluation.verdict.status), "sentence": evaluation.verdict.sentence},
    }


def _answers(checkpoint: Path, contender: str, seed: int) -> MatchAnswers:
    folders = [fit_folder(checkpoint, contender, part, seed) for part in range(FOLDS)]
    return cast(MatchAnswers, join_parts(folders, "test"))


# --------------------------------------------------------------------------- what is told


def row(name: str, seeds: Sequence[MatchAnswers]) -> dict[str, Any]:
    """Return the figures of one that finds, mean over seeds."""
    measured = [estimates(answers.statistics(), len(answers.keys)) for answers in seeds]
    wanted = [
        f"{side} {kind}" for side in SIDES for kind in (*(f"r@{k}" for k in CUTOFFS), "mrr", "median_rank", "map")
    ]
    return {
        "name": name,
        **{kind: float(np.mean([one[kind] for one in measured])) for kind in (*wanted, *(f"r@{k}" for k in CUTOFFS))},
        "mrr": float(np.mean([answers.worth for answers in seeds])),
        "mrr_by_seed": [answers.worth for answers in seeds],
    }


def difference(
    name: str, measure: str, seed: int | None, seeds: Sequence[MatchAnswers], cca: MatchAnswers, draws: int
) -> dict[str, Any]:
    """Return what a network has over CCA, clip by clip, with its interval over groups; no seed: the mean of all."""
    chosen = seeds if seed is None else [seeds[seed]]
    gain_N = np.mean([_of_clips(answers, measure) for answers in chosen], axis=0) - _of_clips(cca, measure)
    found = interval(mean_of(gain_N), cca.groups, draws=draws)
    assert found is not None, "every clip has a place"
    return {
        "name": name,
        "measure": measure,
        "seed": seed,
        "gain": found.estimate,
        "low": found.low,
        "high": found.high,
    }


def _of_clips(answers: MatchAnswers, measure: str) -> np.ndarray:
    return answers.worth_N if measure == "mrr" else np.asarray((answers.places_N2 <= 1).mean(axis=1))


def report(cases: Mapping[str, Any], seeds: int, quick: bool) -> dict[str, Any]:
    """Return all of it as plain JSON values."""
    import torch

    ratios = {
        f"{case}: {SOUND} - {REFERENCE}, lower end, worst seed": min(
            each["low"]
            for each in cases[case]["differences"]
            if each["name"].startswith(SOUND) and each["measure"] == "mrr" and each["seed"] is not None
        )
        for case in CASES
    }
    return {
        "benchmark": "grid_retrieval",
        "quick": quick,
        "goals": dict.fromkeys(ratios, 0.0),
        "ratios": ratios,  # of mean reciprocal rank
        "met": {name: None if quick else value > 0 for name, value in ratios.items()},
        "cases": dict(cases),
        "setting": {
            "seeds": seeds,
            "folds": FOLDS,
            "cpus": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "torch": torch.__version__,
        },
    }


def print_result(result: Mapping[str, Any]) -> None:
    """Print the tables for a person."""
    for name, case in result["cases"].items():
        first, last = case["listed"]
        print(f"\n{name}: {case['clips']} clips of {case['groups']} utterances, each among {first} to {last}")
        print(f"  {'':24s}{'finds its text: R@1   @5  @10':>32s}{'is found by it: R@1   @5  @10':>34s}{'MRR':>8s}")
        for each in case["rows"]:
            sides = [[each.get(f"{side} r@{k}", each[f"r@{k}"]) for k in CUTOFFS] for side in SIDES]
            shown = ["".join(f"{100 * value:7.1f}" for value in side) for side in sides]
            print(f"  {each['name']:24s}{shown[0]:>32s}{shown[1]:>34s}{each['mrr']:8.3f}")
        for each in case["differences"]:
            seed = "all seeds" if each["seed"] is None else f"seed {each['seed']}"
            interval_ = f"[{each['low']:+.3f}, {each['high']:+.3f}]"
            print(
                f"  {each['name']} - {REFERENCE}, {each['measure']}, {seed}".ljust(56)
                + f"{each['gain']:+.3f} {interval_}"
            )
        print(f"  gate: {case['gate']['status']}. {case['gate']['sentence']}")
    print("\nfigures and goals")
    for name, value in result["ratios"].items():
        met = {True: "met", False: "NOT MET", None: "no figure"}[result["met"][name]]
        print(f"  {name:64s}{value:+.3f}   goal > 0: {met}")
    if result["quick"]:
        print("\nA few utterances and epochs: this shows that it runs, and nothing more.")


if __name__ == "__main__":
    main()
