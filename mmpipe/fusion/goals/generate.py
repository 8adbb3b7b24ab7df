"""A text, token by token.

Axes: B clips, T tokens, K what can be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from mmpipe.config.generating import GenerateOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.base import Embedded
from mmpipe.fusion.decoding.decoder import Decoder
from mmpipe.fusion.decoding.memory import Memory, MemoryMaker
from mmpipe.fusion.decoding.pretrained import PretrainedWriter
from mmpipe.fusion.decoding.search import search
from mmpipe.fusion.decoding.tokenizer import named_options
from mmpipe.fusion.decoding.vocabulary import Vocabulary
from mmpipe.fusion.goals.base import GoalPart
from mmpipe.fusion.output import FusionOutput
from mmpipe.fusion.preprocess import Prepared
from mmpipe.fusion.spec import ModelSpec


class Generate(GoalPart):
    """p(text | clip) = prod_t p(token t | tokens before t, tokens of all modalities, z).

    The writer looks at the encoders' tokens of what is present, each with the type of its modality and its position,
    and at the fused vector z as one token more. It is a small decoder over the words in `spec.classes`, or a model of
    transformers with its own.
    """

    reads_tokens = True
    can_export = False  # a graph has no loop: written out token by token it takes minutes to make and to compare

    def __init__(self, spec: ModelSpec, z_dim: int) -> None:
        super().__init__(spec, z_dim)
        self.options = options = GenerateOptions(**spec.goal_options)
        width = spec.encoder.width
        self.memory = MemoryMaker(spec, z_dim)
        if not options.max_tokens:
            raise ConfigError("a model that writes needs goal_options.max_tokens in its spec: how long a text may be")
        self.writer: PretrainedWriter | Decoder
        if options.model:
            sha256 = named_options(spec.classes).sha256  # of the model whose tokens the targets are
            self.writer = PretrainedWriter(options.model_copy(update={"sha256": sha256}), width)
        else:
            words = Vocabulary(tokens=spec.classes).tokens
            size = {"layers": options.layers, "heads": options.heads}
            self.writer = Decoder(len(words), width, dropout=spec.dropout, **size)

    def load_weights(self) -> None:
        """Give a model of transformers the weights that it begins from."""
        if isinstance(self.writer, PretrainedWriter):
            self.writer.load_weights()

    def read(self, out: FusionOutput, embedded: Embedded, prepared: Mapping[str, Prepared]) -> FusionOutput:
        """Return the output with what the writer looks at."""
        return replace(out, answer=self.memory(out.z_BD, embedded))

    def logits(self, out: FusionOutput, ids_BT: Tensor) -> Tensor:
        """Return the scores [B, T, K] of every token of known texts, from those before it (teacher forcing)."""
        logits_BTK: Tensor = self.writer(_memory(out), ids_BT)
        return logits_BTK

    def answers(self, out: FusionOutput) -> Tensor:
        """Return the texts that are written, int64 [B, T]: numbers with the end, -1 behind."""
        if isinstance(self.writer, PretrainedWriter):
            return self.writer.write(_memory(out), self.options.max_tokens)
        how = self.options
        memory = _memory(out)
        return search(self.writer, memory, how.max_tokens, beam=how.beam, length_power=how.length_power).ids_BT


def _memory(out: FusionOutput) -> Memory:
    assert isinstance(out.answer, Memory), "`read` makes it"
    return out.answer
