"""A linear-chain conditional random field: the tags of a sentence decided together (Lafferty et al. 2001).

score(y) = begin[y_1] + sum_t scores[t, y_t] + sum_t transition[y_(t-1), y_t] + end[y_T], p(y) = exp(score(y)) / Z over
all y that are allowed. Axes: B sentences, T words, K tags. Words come first, at least one; what lies behind the end
does not count. Sums are float32 whatever the scores are in, or what these are in where that is finer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmpipe.fusion.base import ABSENT

_OUTSIDE = "O"


class LinearChain(nn.Module):
    """Transitions between tags, learnt; where tags are O, B-TYPE and I-TYPE, an I only goes on with its own type."""

    forbidden_KK: Tensor
    forbidden_K: Tensor

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__()
        size = len(tags)
        self.transition_KK = nn.Parameter(torch.zeros(size, size))
        self.begin_K = nn.Parameter(torch.zeros(size))
        self.end_K = nn.Parameter(torch.zeros(size))
        self.register_buffer("forbidden_KK", forbidden_pairs(tags), persistent=False)
        self.register_buffer("forbidden_K", forbidden_pairs([_OUTSIDE, *tags])[0, 1:].clone(), persistent=False)

    def losses(self, scores_BTK: Tensor, tags_BT: Tensor) -> Tensor:
        """Return -log p of whole sentences [B]; a tag of -1 is behind the end."""
        scores_BTK = _fine(scores_BTK)
        return self.log_partition(scores_BTK, tags_BT >= 0) - self.path_scores(scores_BTK, tags_BT)

    def path_scores(self, scores_BTK: Tensor, tags_BT: Tensor) -> Tensor:
        """Return the score of given tags, [B]."""
        pairs_KK, begin_K = self._allowed()
        mask_BT, known_BT = tags_BT >= 0, tags_BT.clamp(min=0)
        emitted_BT = scores_BTK.gather(2, known_BT[:, :, None])[:, :, 0]
        moved_BT = pairs_KK[known_BT[:, :-1], known_BT[:, 1:]]
        last_B1 = (mask_BT.sum(1, keepdim=True) - 1).clamp(min=0)
        ended_B = self.end_K[known_BT.gather(1, last_B1)[:, 0]]
        inside_B = torch.where(mask_BT, emitted_BT, 0.0).sum(1) + torch.where(mask_BT[:, 1:], moved_BT, 0.0).sum(1)
        return begin_K[known_BT[:, 0]] + inside_B + ended_B

    def log_partition(self, scores_BTK: Tensor, mask_BT: Tensor) -> Tensor:
        """Return log Z by the forward algorithm, [B]."""
        pairs_KK, begin_K = self._allowed()
        alpha_BK = begin_K + scores_BTK[:, 0]
        for t in range(1, scores_BTK.shape[1]):
            next_BK = torch.logsumexp(alpha_BK[:, :, None] + pairs_KK, 1) + scores_BTK[:, t]
            alpha_BK = torch.where(mask_BT[:, t, None], next_BK, alpha_BK)
        return torch.logsumexp(alpha_BK + self.end_K, 1)

    def best_tags(self, scores_BTK: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the most probable tags by the algorithm of Viterbi, int64 [B, T]; -1 behind the end."""
        scores_BTK = _fine(scores_BTK)
        pairs_KK, begin_K = self._allowed()
        best_BK = begin_K + scores_BTK[:, 0]
        stay_BK = torch.arange(best_BK.shape[1], device=best_BK.device).expand_as(best_BK)
        back = []
        for t in range(1, scores_BTK.shape[1]):
            found_BK, from_BK = (best_BK[:, :, None] + pairs_KK).max(1)
            is_word_B1 = mask_BT[:, t, None]
            best_BK = torch.where(is_word_B1, found_BK + scores_BTK[:, t], best_BK)
            back.append(torch.where(is_word_B1, from_BK, stay_BK))  # behind the end a tag points at itself
        tag_B = (best_BK + self.end_K).argmax(1)
        tags = [tag_B]
        for from_BK in reversed(back):
            tag_B = from_BK.gather(1, tag_B[:, None])[:, 0]
            tags.append(tag_B)
        return torch.where(mask_BT, torch.stack(tags[::-1], 1), -1)

    def _allowed(self) -> tuple[Tensor, Tensor]:
        """Return the scores of pairs and beginnings, with what is forbidden far below all others."""
        pairs_KK = self.transition_KK.masked_fill(self.forbidden_KK, ABSENT)
        return pairs_KK, self.begin_K.masked_fill(self.forbidden_K, ABSENT)


def forbidden_pairs(tags: Sequence[str]) -> Tensor:
    """Return which tag may not follow which, bool [K, K]: an I of a type comes after B or I of that type."""
    entities = all(tag == _OUTSIDE or (tag[:1] in "BI" and tag[1:2] in ("", "-")) for tag in tags)
    wrong = [
        [entities and after[0] == "I" and (before == _OUTSIDE or before[1:] != after[1:]) for after in tags]
        for before in tags
    ]
    return torch.tensor(wrong)


def _fine(scores_BTK: Tensor) -> Tensor:
    return scores_BTK if scores_BTK.dtype is torch.float64 else scores_BTK.float()
