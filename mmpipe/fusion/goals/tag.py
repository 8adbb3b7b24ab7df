"""A tag for every word of a clip's text.

Axes: B clips, S steps of the words' encoder, T words, W width, D width of z, K tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmpipe.config.tagging import TagOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.linear_chain import LinearChain
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class WordScores:
    """What speaks for each tag of each word."""

    scores_BTK: Tensor
    mask_BT: Tensor  # bool, the words: none where a clip's text is missing, every place where no input has them


class Tag(GoalPart):
    """scores[t] = W_words h_t + W_fused z + b: h_t the encoder's token of word t, z the joint embedding of all inputs.

    With `crf` the scores of a sentence are those of a linear chain; else every word's tag is the one of its highest
    score. Where the words are not among the inputs, as for a picture judged alone, z speaks for every word alike.
    """

    reads_tokens = True

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__(spec, z_dim)
        options = TagOptions(**spec.goal_options)
        if not options.max_words:
            raise ConfigError("goal_options.max_words must be at least 1 in a model's spec: a sentence has its end")
        self.max_words = options.max_words
        self.words = words_input(spec, options)
        if self.words and (steps := spec.encoder_of(self.words).steps) < self.max_words:
            name = self.words.partition("@")[0]
            raise ConfigError(
                f"encoders.{name}.steps = {steps}, and the longest sentence has {self.max_words} words: of a longer "
                f"one words are averaged, and none keeps its place. Set encoders.{name}.steps = {self.max_words}"
            )
        size = len(spec.classes)
        self.of_fused = nn.Linear(z_dim, size)
        self.of_words = nn.Linear(spec.encoder.width, size, bias=False) if self.words else None
        self.chain = LinearChain(spec.classes) if options.crf else None

    def read(self, out: FusionOutput, embedded: Embedded, prepared: Mapping[str, Prepared]) -> FusionOutput:
        """Return the output with the scores of every word."""
        scores_BTK = self.of_fused(out.z_BD)[:, None].expand(-1, self.max_words, -1)
        mask_BT = torch.ones(scores_BTK.shape[:2], dtype=torch.bool, device=scores_BTK.device)
        if self.of_words is not None:
            tokens_BSW, real_BS = embedded.tokens[self.words], embedded.mask_BS(self.words)
            scores_BTK = scores_BTK + self.of_words(tokens_BSW[:, : self.max_words])
            mask_BT = real_BS[:, : self.max_words]
        return replace(out, answer=WordScores(scores_BTK=scores_BTK, mask_BT=mask_BT))

    def losses(self, out: FusionOutput, tags_BT: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return -log p of the tags of each clip, summed over its words, [B]; a tag of -1 is behind the end."""
        scores_BTK = word_scores(out).scores_BTK
        if self.chain is not None:
            losses_B: Tensor = self.chain.losses(scores_BTK, tags_BT)
            return losses_B
        losses_BT = nn.functional.cross_entropy(
            scores_BTK.transpose(1, 2), tags_BT, ignore_index=-1, label_smoothing=smoothing, reduction="none"
        )
        return losses_BT.sum(1)

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the tags, int64 [B, T]; -1 behind the end."""
        found = word_scores(out)
        if self.chain is not None:
            tags_BT: Tensor = self.chain.best_tags(found.scores_BTK, found.mask_BT)
            return tags_BT
        return torch.where(found.mask_BT, found.scores_BTK.argmax(2), -1)


def word_scores(out: FusionOutput) -> WordScores:
    """Return the scores that `Tag.read` made."""
    assert isinstance(out.answer, WordScores), "`read` makes it"
    return out.answer


def words_input(spec: ModelSpec, options: TagOptions) -> str:
    """Return the input whose rows are words, "" where it is not among a spec's inputs; ConfigError for two of them."""
    sequences = [entry for entry in spec.inputs if entry.kind is FeatureKind.SEQUENCE]
    found = [entry.feature for entry in sequences if _is_meant(entry, options.words)]
    if len(found) > 1:
        raise ConfigError(
            f"which of {found} has a row per word? Say goal_options.words = {found[0].partition('@')[0]!r}"
        )
    return found[0] if found else ""


def _is_meant(entry: InputSpec, words: str) -> bool:
    name = entry.feature.partition("@")[0]
    return words in (name, entry.feature) if words else name.startswith("text-")
