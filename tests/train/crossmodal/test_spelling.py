from __future__ import annotations

import pytest
import torch

from mmpipe.errors import ConfigError
from mmpipe.train.crossmodal.spelling import END, SpellingSettings, spell, train_speller

WORDS = ("one", "two", "three")
SMALL = SpellingSettings(width=16, steps=120, batch_clips=16, rate=1e-2, dropout=0.0, condition_noise=0.05)


def taught(num_clips: int = 45) -> tuple[torch.Tensor, list[str]]:
    kinds = torch.arange(num_clips) % len(WORDS)
    noise_NC = 0.05 * torch.randn(num_clips, len(WORDS), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.one_hot(kinds).float() + noise_NC, [WORDS[kind] for kind in kinds]


def test_words_are_spelled_from_what_they_are_shown():
    condition_NC, words = taught()
    speller = train_speller(condition_NC, words, SMALL, seed=0)
    assert speller.alphabet == tuple(sorted(set("".join(WORDS))))
    assert spell(speller, torch.eye(3)) == list(WORDS)
    assert spell(speller, torch.eye(3), most_characters=2) == [word[:2] for word in WORDS]


def test_what_is_asked_alone_is_what_is_taught_with_the_true_characters():
    """Step by step with its own characters it says what one pass over them says."""
    condition_NC, words = taught()
    speller = train_speller(condition_NC, words, SMALL, seed=0)
    own = spell(speller, condition_NC[:1])[0]
    before_1T = torch.tensor([[END, *(speller.alphabet.index(one) + 1 for one in own)]])
    likeliest = speller(condition_NC[:1], before_1T).argmax(2)[0].tolist()
    assert likeliest == [*before_1T[0, 1:].tolist(), END]


def test_every_number_learns_and_the_seed_decides_all():
    condition_NC, words = taught()
    few = SpellingSettings(width=8, steps=2, batch_clips=16)
    first, again, other = (train_speller(condition_NC, words, few, seed).state_dict() for seed in (0, 0, 1))
    untrained = train_speller(condition_NC, words, SpellingSettings(width=8, steps=0), 0).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert all(not torch.equal(first[name], untrained[name]) for name in first)


def test_a_condition_without_a_word_is_refused():
    condition_NC, words = taught(6)
    for wrong in (words[:5], ["", *words[1:]]):
        with pytest.raises(ConfigError, match="every condition needs a word"):
            train_speller(condition_NC, wrong, SMALL, 0)
