"""Make CoNLL files in the forms that are in use, and a set of sentences whose tags can be learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

CONLL_2003 = """-DOCSTART- -X- -X- O

U.N. NNP I-NP I-ORG
official NN I-NP O
Ekeus NNP I-NP I-PER
heads VBZ I-VP O
for IN I-PP O
Baghdad NNP I-NP I-LOC
. . O O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- -X- O

Germany NNP I-NP I-LOC
France NNP I-NP B-LOC
"""

CONLL_U = """# newdoc id = weblog-1
# sent_id = s-1
# text = vámonos al mar

1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No
5.1\tfue\tir\tVERB\t_\t_\t_\t_\t0:root\t_

# sent_id = s-2
1\t10 000\t10 000\tNUM\t_\t_\t0\troot\t_\t_
2\t#\t#\tSYM\t_\t_\t1\tdep\t_\t_
""".replace("mar\n\n1-2", "mar\n1-2")

TWEETS = """IMGID:101
RT\tO
@Paris_Hilton\tB-PER
#Paris\tB-LOC
\u2764\ufe0f\tO

IMGID:102
#\tO
New\tB-LOC
York\tI-LOC

IMGID:103
nothing\tO
here\tO
"""

NAMES = ("Anna", "Bruno", "Clara", "David", "Elena", "Felix", "Greta", "Hugo")
TOWNS = ("Lisbon", "Madrid", "Nairobi", "Oslo", "Prague", "Quito", "Rome", "Seoul")
OTHERS = ("walks", "to", "the", "old", "market", "and", "sees", "a", "red", "car", "in", "rain")


def write_sentences(path: Path, sentences: Iterable[Sequence[tuple[str, str]]], images: Sequence[str] = ()) -> Path:
    """Write words and tags between tabs, with the name of a picture before a sentence where there is one."""
    parts = []
    for number, sentence in enumerate(sentences):
        head = f"IMGID:{images[number]}\n" if images else ""
        parts.append(head + "".join(f"{word}\t{tag}\n" for word, tag in sentence))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), "utf-8")
    return path


def sentences_of(count: int, seed: int) -> list[list[tuple[str, str]]]:
    """Names and towns of one word or two among others: who looks at a word and its neighbours can tag it."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        sentence: list[tuple[str, str]] = []
        for _ in range(int(rng.integers(2, 5))):
            sentence += [(str(word), "O") for word in rng.choice(OTHERS, int(rng.integers(1, 3)))]
            kind, words = ("PER", NAMES) if rng.random() < 0.5 else ("LOC", TOWNS)
            size = int(rng.integers(1, 3))
            chosen = rng.choice(words, size, replace=False)
            sentence += [(str(word), f"{'I' if place else 'B'}-{kind}") for place, word in enumerate(chosen)]
        made.append(sentence)
    return made


def write_pictures(folder: Path, names: Iterable[str], seed: int = 0) -> Path:
    """Write a picture of noise for each name."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(folder / f"{name}.jpg")
    return folder
