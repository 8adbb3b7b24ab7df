"""The small decoder and its searches: causal, padded, cached, and compared with every text there is."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmpipe.fusion.decoding.decoder import Decoder
from mmpipe.fusion.decoding.memory import Memory
from mmpipe.fusion.decoding.search import search, write_greedily, write_with_beam

NUM_WORDS, MAX_TOKENS, WIDTH = 4, 4, 16


def make_decoder(seed: int = 0) -> Decoder:
    """Return a decoder that is sure of itself: its random weights are large."""
    torch.manual_seed(seed)
    decoder = Decoder(NUM_WORDS, WIDTH, layers=2, heads=4, dropout=0.1).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2)
    return decoder


def make_memory(clips: int = 6, seed: int = 1) -> Memory:
    torch.manual_seed(seed)
    mask_BL = torch.rand(clips, 5) > 0.4
    mask_BL[:, -1] = True
    return Memory(tokens_BLD=torch.randn(clips, 5, WIDTH), mask_BL=mask_BL)


def score(decoder: Decoder, memory: Memory, ids_BT: Tensor, length_power: float = 1.0) -> Tensor:
    """Return the log probability of texts by teacher forcing, over tokens ** length_power."""
    logp_BTK = decoder(memory, ids_BT).log_softmax(2)
    logp_BT = logp_BTK.gather(2, ids_BT.clamp(min=0)[:, :, None])[:, :, 0]
    real_BT = ids_BT >= 0
    return torch.where(real_BT, logp_BT, 0.0).sum(1) / real_BT.sum(1) ** length_power


def every_text() -> Tensor:
    """Return every text that can be written: with its end, or cut off."""
    rows = []
    for length in range(MAX_TOKENS + 1):
        for words in itertools.product(range(1, NUM_WORDS), repeat=length):
            text = [*words, 0][:MAX_TOKENS]
            rows.append(text + [-1] * (MAX_TOKENS - len(text)))
    return torch.tensor(rows)


def test_the_chances_of_all_texts_add_up_to_one() -> None:
    decoder, memory, texts = make_decoder(), make_memory(1), every_text()
    with torch.no_grad():
        total = score(decoder, memory.take(torch.zeros(len(texts), dtype=torch.int64)), texts, 0.0).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("length_power", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_texts(length_power: float) -> None:
    decoder, memory, texts = make_decoder(), make_memory(), every_text()
    with torch.no_grad():
        best = [
            score(decoder, memory.take(torch.full((len(texts),), clip)), texts, length_power).max().item()
            for clip in range(len(memory.mask_BL))
        ]
        found = write_with_beam(decoder, memory, MAX_TOKENS, len(texts), length_power)
        assert torch.allclose(score(decoder, memory, found.ids_BT, length_power), found.scores_B, atol=1e-5)
    assert found.scores_B.tolist() == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_never_scores_less_than_greed(seed: int) -> None:
    decoder, memory = make_decoder(seed), make_memory(30, seed)
    greedy = search(decoder, memory, MAX_TOKENS, beam=1, length_power=1.0)
    with torch.no_grad():
        assert torch.allclose(score(decoder, memory, greedy.ids_BT), greedy.scores_B, atol=1e-5)
    for beam in (2, 5):
        found = search(decoder, memory, MAX_TOKENS, beam=beam, length_power=1.0)
        assert (found.scores_B >= greedy.scores_B).all()


def test_a_beam_scores_more_than_greed_where_greed_is_wrong() -> None:
    decoder, memory = make_decoder(1), make_memory(30, 1)
    greedy, found = (
        search(decoder, memory, MAX_TOKENS, beam=1, length_power=1.0),
        search(decoder, memory, MAX_TOKENS, beam=5, length_power=1.0),
    )
    assert (found.scores_B > greedy.scores_B + 1e-3).sum() > 2


def test_a_beam_of_one_is_greedy() -> None:
    decoder, memory = make_decoder(), make_memory()
    with torch.no_grad():
        greedy, narrow = (
            write_greedily(decoder, memory, MAX_TOKENS, 1.0),
            write_with_beam(decoder, memory, MAX_TOKENS, 1, 1.0),
        )
    assert torch.equal(greedy.ids_BT, narrow.ids_BT)
    assert torch.allclose(greedy.scores_B, narrow.scores_B, atol=1e-6)


def test_token_by_token_is_as_all_at_once() -> None:
    decoder, memory = make_decoder(), make_memory()
    ids_BT = torch.randint(0, NUM_WORDS, (6, MAX_TOKENS))
    with torch.no_grad():
        logits_BTK, writing = decoder.write(decoder.begin(memory), ids_BT[:, :0], begins=True)
        for place in range(MAX_TOKENS - 1):
            one_B1K, writing = decoder.write(writing, ids_BT[:, place : place + 1])
            logits_BTK = torch.cat([logits_BTK, one_B1K], 1)
        assert torch.allclose(decoder(memory, ids_BT), logits_BTK, atol=1e-5)


def test_a_token_is_not_told_by_itself_or_those_behind_it() -> None:
    decoder, memory = make_decoder(), make_memory(1)
    ids_BT = torch.tensor([[1, 2, 3, 1]])
    with torch.no_grad():
        before_BTK = decoder(memory, ids_BT)
        for place in range(MAX_TOKENS):
            other_BT = ids_BT.clone()
            other_BT[:, place:] = 0
            assert torch.equal(decoder(memory, other_BT)[:, : place + 1], before_BTK[:, : place + 1])


def test_padding_and_masked_memory_change_nothing() -> None:
    decoder, memory = make_decoder(), make_memory()
    ids_BT = torch.tensor([[1, 2, 0, -1]] * 6)
    noise_BLD = torch.where(memory.mask_BL[:, :, None], memory.tokens_BLD, 1e3)
    with torch.no_grad():
        logits_BTK = decoder(memory, ids_BT)
        assert torch.equal(decoder(Memory(tokens_BLD=noise_BLD, mask_BL=memory.mask_BL), ids_BT), logits_BTK)
        assert torch.allclose(decoder(memory, ids_BT[:, :3]), logits_BTK[:, :3], atol=1e-6)


def test_every_parameter_learns() -> None:
    decoder, memory = make_decoder().train(), make_memory(30)
    ids_BT = torch.randint(0, NUM_WORDS, (30, MAX_TOKENS))
    cross_entropy(decoder(memory, ids_BT).flatten(0, 1), ids_BT.flatten()).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
