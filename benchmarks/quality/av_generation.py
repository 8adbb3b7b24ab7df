"""Can one modality be made from another: a picture of a digit from its sound, and its name from a picture?

benchmarks/quality/av_generation.py --out FOLDER     AV digits, leave one speaker out; FOLDER gets a contact sheet
benchmarks/quality/av_generation.py --quick          one speaker, few steps: shows that it runs

Sound to picture: a generator is trained by the minimax game on pairs of clips, without labels, and draws 28 x 28
pictures from the cepstra of a speaker that it never heard. Whether they show the spoken digit is judged by a network
that was trained on real pictures alone; beside it stand what that network says of real pictures, and what a linear
classifier hears in the same sound, above which nothing that is made from it can be expected to come. Diversity is the
variance of a pixel within a class, over that of real pictures: 1 is as diverse, 0 one picture per class.
Picture to name: the digit's word is spelled from the picture's features, character by character; right is only the
whole word. Intervals are over speakers for what is heard, and over clips for pictures, which no speaker made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.quality.av_digits import CORPUS, WORDS, Digits, read_digits
from benchmarks.quality.contact_sheet import write_sheet
from mmpipe.config import EncoderConfig
from mmpipe.fusion.preprocess import Preprocess, PreprocessFit
from mmpipe.fusion.spec import InputSpec
from mmpipe.train.crossmodal.picture_gan import PictureGame, make_pictures, train_pictures
from mmpipe.train.crossmodal.spelling import SpellingSettings, spell, train_speller
from mmpipe.train.deterministic import deterministic, reseed
from mmpipe.train.imputation.error import clustered_range
from mmpipe.types import FeatureKind

CONDITIONS = 64  # principal components of a modality
CHANCE = 1 / len(WORDS)
GOALS = {"made_accuracy_over_chance": 4.0, "word_accuracy": 0.9}
SHEET = "digits.png"
QUICK_GAME, QUICK_SPELLING = PictureGame(steps=600), SpellingSettings(steps=200)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """What was made for the clips of one speaker that nobody learnt from; row n speaks of clip n."""

    speaker: str
    digits: Digits
    pictures_NHW: np.ndarray
    shows_N: np.ndarray  # whether the made picture shows the spoken digit
    real_shows_N: np.ndarray  # the same of the real picture
    heard_N: np.ndarray  # whether the linear classifier hears the digit
    words: Sequence[str]
    spelled_N: np.ndarray


def main() -> None:
    """Run the benchmark and print it, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path, default=CORPUS, help="the corpus' folder")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--steps", type=int, help=f"of the game; {PictureGame().steps} by default")
    parser.add_argument("--quick", action="store_true", help="one speaker and a few steps")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--out", type=Path, help=f"a folder for {SHEET}: real digits left, made ones right")
    arguments = parser.parse_args()
    started = time.perf_counter()
    digits = read_digits(arguments.folder)
    game, spelling = (QUICK_GAME, QUICK_SPELLING) if arguments.quick else (PictureGame(), SpellingSettings())
    game = replace(game, steps=arguments.steps or game.steps)
    speakers = np.unique(digits.speakers_N)[: 1 if arguments.quick else None].tolist()
    made = [make_for(digits, speaker, game, spelling, arguments.seed) for speaker in speakers]
    result = report(made, game) | {"quick": arguments.quick, "seconds": round(time.perf_counter() - started, 1)}
    if arguments.out:
        result["sheet"] = str(draw_sheet(arguments.out / SHEET, made))
    print(json.dumps(result, indent=1)) if arguments.json else print_result(result)


def make_for(digits: Digits, speaker: str, game: PictureGame, spelling: SpellingSettings, seed: int) -> Made:
    """Train everything without a speaker, and make his pictures and words."""
    is_his_N = digits.speakers_N == speaker
    train, his = digits.take(np.flatnonzero(~is_his_N)), digits.take(np.flatnonzero(is_his_N))
    sound_NC, his_sound_NC = conditions(train.mfccseg_NF, his.mfccseg_NF)
    generator, _ = train_pictures(sound_NC, torch.from_numpy(train.pixels_NHW), game, seed)
    pictures_NHW = make_pictures(generator, his_sound_NC, seed)
    judge = train_judge(torch.from_numpy(train.pixels_NHW), torch.from_numpy(train.digits_N), seed)
    picture_NC, his_picture_NC = conditions(train.hogdct_NF, his.hogdct_NF)
    speller = train_speller(picture_NC, [WORDS[digit] for digit in train.digits_N], spelling, seed)
    words = spell(speller, his_picture_NC)
    found = Made(
        speaker=speaker,
        digits=his,
        pictures_NHW=pictures_NHW.numpy(),
        shows_N=says(judge, pictures_NHW) == his.digits_N,
        real_shows_N=says(judge, torch.from_numpy(his.pixels_NHW)) == his.digits_N,
        heard_N=hear(sound_NC, train.digits_N, his_sound_NC) == his.digits_N,
        words=words,
        spelled_N=np.array([word == WORDS[digit] for word, digit in zip(words, his.digits_N, strict=True)]),
    )
    print(f"{speaker}: shown {found.shows_N.mean():.3f}, spelled {found.spelled_N.mean():.3f}", file=sys.stderr)
    return found


def conditions(train_NF: np.ndarray, other_NF: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return both as a network sees them; the preprocessing is fitted on the first."""
    entry = InputSpec(feature="condition", kind=FeatureKind.VECTOR, dim=train_NF.shape[1])
    preprocess = Preprocess(entry, EncoderConfig(components=CONDITIONS), per_segment=False)
    parts = [
        (torch.from_numpy(x_NF)[:, None], torch.ones(len(x_NF), 1, dtype=torch.bool)) for x_NF in (train_NF, other_NF)
    ]
    fit = PreprocessFit(preprocess, len(train_NF))
    fit.add(*parts[0])
    fit.finish()
    train, other = (preprocess(*part).x_BSK[:, 0] for part in parts)
    return train, other


def train_judge(picture_NHW: Tensor, digit_N: Tensor, seed: int, steps: int = 800) -> nn.Module:
    """Return a network that tells digits, trained on these real pictures, each shifted by up to one pixel."""
    with deterministic(1):
        reseed(seed, "judge")
        judge = nn.Sequential(
            nn.Unflatten(1, (1, picture_NHW.shape[1])),
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.LazyLinear(64),
            nn.ReLU(),
            nn.Linear(64, len(WORDS)),
        )
        judge(picture_NHW[:1])
        optimizer = torch.optim.Adam(judge.parameters(), 2e-3)
        slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
        for _ in range(steps):
            drawn = torch.randint(len(picture_NHW), (64,))
            down, right = torch.randint(-1, 2, (2,)).tolist()
            loss = nn.functional.cross_entropy(judge(picture_NHW[drawn].roll((down, right), (1, 2))), digit_N[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            slower.step()
    return judge.eval()


def says(judge: nn.Module, picture_NHW: Tensor) -> np.ndarray:
    """Return the digit that the judge sees in each picture."""
    with torch.no_grad(), deterministic(1):
        found: np.ndarray = judge(picture_NHW).argmax(1).numpy()
    return found


def hear(train_NC: Tensor, digits_N: np.ndarray, other_NC: Tensor) -> np.ndarray:
    """Return the digit that a linear classifier hears, taught with labels on the same clips."""
    from sklearn.linear_model import LogisticRegression

    found: np.ndarray = LogisticRegression(C=0.1, max_iter=1000).fit(train_NC, digits_N).predict(other_NC)
    return found


def report(made: Sequence[Made], game: PictureGame) -> dict[str, Any]:
    """Return all of it as plain JSON values."""
    speakers = np.concatenate([np.full(len(one.shows_N), one.speaker) for one in made])
    clips = np.arange(len(speakers))
    shows = np.concatenate([one.shows_N for one in made]).astype(float)
    shown, real = clustered_range(shows, speakers), np.concatenate([one.real_shows_N for one in made]).astype(float)
    heard = np.concatenate([one.heard_N for one in made]).astype(float)
    spelled = clustered_range(np.concatenate([one.spelled_N for one in made]).astype(float), clips)
    diversity = [diversity_of(one.pictures_NHW, one.digits.pixels_NHW, one.digits.digits_N) for one in made]
    return {
        "benchmark": "av_generation",
        "goals": GOALS,
        "ratios": {"made_accuracy_over_chance": shown.value / CHANCE, "word_accuracy": spelled.value},
        "reached": {
            "made_accuracy_over_chance": shown.low / CHANCE >= GOALS["made_accuracy_over_chance"],
            "word_accuracy": spelled.low >= GOALS["word_accuracy"],
        },
        "made_accuracy": asdict(shown),
        "made_accuracy_by_speaker": {one.speaker: float(one.shows_N.mean()) for one in made},
        "made_accuracy_by_digit": by_digit(made, shows),
        "heard_accuracy": asdict(clustered_range(heard, speakers)),
        "heard_accuracy_by_speaker": {one.speaker: float(one.heard_N.mean()) for one in made},
        "real_accuracy": asdict(clustered_range(real, clips)),
        "diversity": float(np.mean(diversity)),
        "diversity_by_speaker": {one.speaker: value for one, value in zip(made, diversity, strict=True)},
        "word_accuracy": asdict(spelled),
        "wrong_words": wrong_words(made),
        "game": asdict(game),
        "clips": len(clips),
    }


def diversity_of(made_NHW: np.ndarray, real_NHW: np.ndarray, digits_N: np.ndarray) -> float:
    """Return the mean variance of a pixel within a class over that of real pictures."""

    def within(pictures_NHW: np.ndarray) -> float:
        return float(np.mean([pictures_NHW[digits_N == digit].var(0).mean() for digit in np.unique(digits_N)]))

    return within(made_NHW) / within(real_NHW)


def by_digit(made: Sequence[Made], shows: np.ndarray) -> dict[str, float]:
    """Return how often each digit is shown where it was spoken."""
    digits = np.concatenate([one.digits.digits_N for one in made])
    return {WORDS[digit]: float(shows[digits == digit].mean()) for digit in np.unique(digits)}


def wrong_words(made: Sequence[Made], most: int = 8) -> list[str]:
    """Return the commonest mistakes of spelling, as "right > written"."""
    pairs = [
        f"{WORDS[digit]} > {word}"
        for one in made
        for digit, word, right in zip(one.digits.digits_N, one.words, one.spelled_N, strict=True)
        if not right
    ]
    names, counts = np.unique(pairs, return_counts=True) if pairs else (np.array([]), np.array([]))
    return [f"{names[n]} ({counts[n]})" for n in np.argsort(-counts, kind="stable")[:most]]


def draw_sheet(file: Path, made: Sequence[Made]) -> Path:
    """Write real and made digits of all speakers, taken in turn."""
    digits = np.concatenate([one.digits.digits_N for one in made])
    turn = np.argsort(np.concatenate([np.arange(len(one.words)) for one in made]), kind="stable")
    real_NHW = np.concatenate([one.digits.pixels_NHW for one in made])[turn]
    made_NHW = np.concatenate([one.pictures_NHW for one in made])[turn]
    return write_sheet(file, real_NHW, made_NHW, digits[turn])


def print_result(result: Mapping[str, Any]) -> None:
    """Print what came out."""

    def told(name: str) -> str:
        found = result[name]
        return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"

    print(f"sound -> picture, by the {result['game']['game']} game, {result['clips']} clips of speakers never heard")
    print(f"  made pictures show the spoken digit  {told('made_accuracy')}   chance {CHANCE:.3f}")
    print(f"  a linear classifier of the sound     {told('heard_accuracy')}")
    print(f"  real pictures, by the same judge     {told('real_accuracy')}")
    print(f"  variance within a class, over real   {result['diversity']:.3f}")
    print(f"  by speaker: {result['made_accuracy_by_speaker']}")
    print(f"picture -> name, whole words           {told('word_accuracy')}")
    print(f"  wrong: {', '.join(result['wrong_words']) or 'none'}")
    print(f"{result['seconds']} s" + (", and this only shows that it runs" if result["quick"] else ""))
    if "sheet" in result:
        print(f"pictures: {result['sheet']}")


if __name__ == "__main__":
    main()
