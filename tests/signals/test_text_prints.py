"""Signatures estimate how much texts have in common."""

from __future__ import annotations

import numpy as np
import pytest

from mmpipe.signals.text_prints import (
    NUM_PERMUTATIONS,
    character_shingles,
    estimate_resemblance,
    minhash,
    print_text,
    word_shingles,
)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def sets_of(common: int, alone: int, seed: int) -> tuple[frozenset[str], frozenset[str]]:
    names = [f"{seed} shingle {place}" for place in range(common + 2 * alone)]
    return frozenset(names[: common + alone]), frozenset(names[:common] + names[common + alone :])


@pytest.mark.parametrize(("common", "alone"), [(10, 90), (100, 100), (300, 50), (95, 5), (2_000, 500)])
def test_estimates_are_unbiased_and_as_good_as_datasketchs(common: int, alone: int) -> None:
    datasketch = pytest.importorskip("datasketch")
    ours, theirs, expected = [], [], common / (common + 2 * alone)
    for seed in range(10):
        pair = sets_of(common, alone, seed)
        assert jaccard(*pair) == expected
        ours.append(estimate_resemblance(*map(minhash, pair)))
        sketches = [datasketch.MinHash(num_perm=NUM_PERMUTATIONS) for _ in pair]
        for sketch, shingles in zip(sketches, pair, strict=True):
            sketch.update_batch([shingle.encode() for shingle in shingles])
        theirs.append(sketches[0].jaccard(sketches[1]))
    deviation = np.sqrt(expected * (1 - expected) / NUM_PERMUTATIONS)
    assert np.mean(ours) == pytest.approx(expected, abs=3.5 * deviation / np.sqrt(10))
    assert np.abs(np.array(ours) - expected).max() < 4 * deviation
    assert np.abs(np.array(ours) - theirs).mean() < 3 * deviation


def test_signature_is_the_same_in_every_process() -> None:
    signature = minhash(character_shingles("set white with p two soon"))
    assert (signature.dtype, signature.shape) == (np.uint32, (NUM_PERMUTATIONS,))
    assert signature[:3].tolist() == [207686288, 158528268, 205798694]


def test_shingles() -> None:
    assert character_shingles("  Ab\n CD e") == {"ab cd", "b cd ", " cd e"}
    assert character_shingles("Hi") == {"hi"}
    assert word_shingles("One, two three four five SIX") == {"one two three four five", "two three four five six"}
    assert word_shingles("one two") == {"one two"}
    assert character_shingles(" ") == word_shingles("?") == frozenset()


@pytest.mark.parametrize("num_words", [0, 1, 3, 40_000])
def test_a_text_is_printed_whole_though_piece_by_piece(num_words: int) -> None:
    draw = np.random.default_rng(num_words)
    text = "  ".join(f"Wörd{draw.integers(1 << 40):x}" for _ in range(num_words))
    assert np.array_equal(print_text(text), minhash(character_shingles(text)))
    if num_words > 1:
        assert len(text) < 1000 or estimate_resemblance(print_text(text), print_text(text[: len(text) // 2])) < 0.7


def test_texts_without_shingles_resemble_nothing() -> None:
    empty = minhash(frozenset())
    assert estimate_resemblance(empty, empty) == 0
    assert estimate_resemblance(empty, minhash(frozenset("ab"))) == 0
