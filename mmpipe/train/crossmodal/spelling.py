"""A word from a vector, character by character.

p(w | c) = prod_t p(w_t | w_<t, c): a recurrent network that begins from the condition (Sutskever et al. 2014; with a
picture as the condition Vinyals et al. 2015), taught with the true characters before, asked with its own.
Axes: B clips, C numbers of the condition, T characters, V the alphabet, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmpipe.errors import ConfigError
from mmpipe.train.deterministic import deterministic, reseed

END = 0  # ends a word, and stands before its first character
IGNORED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpellingSettings:
    """How a speller is taught."""

    width: int = 64
    steps: int = 600
    batch_clips: int = 64
    rate: float = 3e-3
    dropout: float = 0.3  # of the condition
    condition_noise: float = 0.2  # deviation of what is added to the conditions


class Speller(nn.Module):
    """Reads a condition, writes a word over an alphabet."""

    def __init__(self, num_conditions: int, alphabet: Sequence[str], settings: SpellingSettings) -> None:
        super().__init__()
        width = settings.width
        self.alphabet = tuple(alphabet)
        self.start = nn.Sequential(
            nn.Linear(num_conditions, 2 * width), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(2 * width, width)
        )
        self.characters = nn.Embedding(len(self.alphabet) + 1, width)
        self.cell = nn.GRU(width, width, batch_first=True)
        self.next = nn.Linear(width, len(self.alphabet) + 1)

    def forward(self, condition_BC: Tensor, before_BT: Tensor) -> Tensor:
        """Return logits of every character given the true ones before it, [B, T, V]."""
        hidden_1BW = self.start(condition_BC).tanh()[None]
        out_BTW, _ = self.cell(self.characters(before_BT), hidden_1BW)
        logits_BTV: Tensor = self.next(out_BTW)
        return logits_BTV


def train_speller(condition_NC: Tensor, words: Sequence[str], settings: SpellingSettings, seed: int) -> Speller:
    """Teach a speller on conditions with their words; the same arguments give the same numbers."""
    if len(words) != len(condition_NC) or not all(words):
        raise ConfigError(f"every condition needs a word of its own, got {len(words)} for {len(condition_NC)}")
    alphabet = sorted(set("".join(words)))
    target_NT = _indices(words, alphabet)
    before_NT = torch.cat([torch.full((len(words), 1), END), target_NT[:, :-1].clamp(min=END)], 1)
    with deterministic(1):
        reseed(seed, "speller")
        speller = Speller(condition_NC.shape[1], alphabet, settings)
        optimizer = torch.optim.Adam(speller.parameters(), settings.rate)
        for _ in range(settings.steps):
            drawn = torch.randint(len(words), (settings.batch_clips,))
            condition_BC = condition_NC[drawn]
            condition_BC = condition_BC + settings.condition_noise * torch.randn_like(condition_BC)
            logits_BTV = speller(condition_BC, before_NT[drawn])
            loss = cross_entropy(logits_BTV.flatten(0, 1), target_NT[drawn].flatten(), ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return speller.eval()


def spell(speller: Speller, condition_NC: Tensor, most_characters: int = 32) -> list[str]:
    """Return the word of each condition: the likeliest character each time, until the end of the word."""
    words = [""] * len(condition_NC)
    with torch.no_grad():
        hidden_1BW = speller.start(condition_NC).tanh()[None]
        last_B1 = torch.full((len(words), 1), END)
        is_open = torch.ones(len(words), dtype=torch.bool)
        for _ in range(most_characters):
            out_B1W, hidden_1BW = speller.cell(speller.characters(last_B1), hidden_1BW)
            last_B1 = speller.next(out_B1W).argmax(2)
            is_open &= last_B1[:, 0] != END
            for row in torch.nonzero(is_open)[:, 0].tolist():
                words[row] += speller.alphabet[int(last_B1[row, 0]) - 1]
    return words


def _indices(words: Sequence[str], alphabet: Sequence[str]) -> Tensor:
    """Return characters from 1 on, then END, then IGNORED, [N, T]."""
    out_NT = torch.full((len(words), max(map(len, words)) + 1), IGNORED)
    for row, word in enumerate(words):
        out_NT[row, : len(word) + 1] = torch.tensor([*(alphabet.index(one) + 1 for one in word), END])
    return out_NT
