"""A model of transformers that writes about the tokens of a clip: an encoder-decoder, or one that reads pictures.

Axes: B clips, L tokens of the memory, D the model's own width, T tokens of a text, K its vocabulary.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from mmpipe.config.generating import GenerateOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.decoding.kinds import SEQ2SEQ, TABLE, find_writer, network_kind
from mmpipe.fusion.decoding.memory import Memory
from mmpipe.fusion.decoding.tokenizer import Marks
from mmpipe.fusion.decoding.vocabulary import PADDING
from mmpipe.weights.loading import CLOSED, load_transformers, quiet_transformers


class PretrainedWriter(nn.Module):
    """Tokens enter a model through a linear map, as if its own embeddings had given them, and it writes.

    Of an encoder-decoder (T5, BART, ..) they are what its encoder reads, or with `through_encoder` off what it would
    have said; of a model of pictures and text (LLaVA, ..) they stand before the text. The network is as large as the
    config.json of the model's folder says, and random until `load_weights`. A frozen one keeps its weights; the map
    learns.
    """

    def __init__(self, options: GenerateOptions, width: int) -> None:
        super().__init__()
        folder = find_writer(options)
        self.options, self.marks = options, Marks.of(folder)
        self.kind = network_kind(folder)
        if not (self.is_seq2seq or options.through_encoder):
            raise ConfigError(
                f"{TABLE}.through_encoder = false: {options.model!r} has no encoder to go past. Leave it out"
            )
        with quiet_transformers():
            import transformers

            config = transformers.AutoConfig.from_pretrained(folder.folder, **CLOSED)
            network = getattr(transformers, self.kind).from_config(config)
        self._hold(network.float())
        self.enter = nn.Linear(width, self.network.get_input_embeddings().embedding_dim)
        self.register_state_dict_post_hook(_leave_out_shared)
        self.register_load_state_dict_pre_hook(_put_back_shared)

    @property
    def is_seq2seq(self) -> bool:
        """Say whether it has an encoder and a decoder."""
        return self.kind == SEQ2SEQ

    def load_weights(self) -> None:
        """Give the network the weights that it begins from; raise ConfigError where they are not those of the spec."""
        folder = find_writer(self.options)
        self._hold(load_transformers(folder, self.kind, torch.float32, "cpu", TABLE, may_lack=()))
        self._require_causal()

    def train(self, mode: bool = True) -> Self:
        """Train; a frozen network stays as it is, and so does one of pictures, which has no dropout to switch on."""
        super().train(mode)
        if self.options.frozen or not self.is_seq2seq:
            self.network.eval()
        return self

    def forward(self, memory: Memory, ids_BT: Tensor) -> Tensor:
        """Return the scores [B, T, K] of every token of texts that are known, from those before it."""
        before_BT = torch.where(ids_BT < 0, self.marks.pad, ids_BT)[:, :-1]
        return self._scores_of_pair(memory, before_BT) if self.is_seq2seq else self._scores_behind(memory, before_BT)

    def write(self, memory: Memory, max_tokens: int) -> Tensor:
        """Return the texts that `generate` of transformers writes, int64 [B, T], -1 behind the end."""
        with torch.no_grad(), quiet_transformers():
            ids_BT = self.network.generate(
                **self._seen(memory),
                max_new_tokens=max_tokens,
                num_beams=self.options.beam,
                length_penalty=self.options.length_power,
                do_sample=False,
                eos_token_id=self.marks.end,
                pad_token_id=self.marks.pad,
                **({"decoder_start_token_id": self.marks.begin} if self.is_seq2seq else {}),
            )
        return _padded(ids_BT[:, 1:] if self.is_seq2seq else ids_BT, self.marks.end, max_tokens)

    def _scores_of_pair(self, memory: Memory, before_BT: Tensor) -> Tensor:
        begin_B1 = torch.full_like(memory.mask_BL[:, :1], self.marks.begin, dtype=torch.int64)
        text_BT = torch.cat([begin_B1, before_BT], 1)
        logits_BTK: Tensor = self.network(**self._seen(memory), decoder_input_ids=text_BT, use_cache=False).logits
        return logits_BTK

    def _scores_behind(self, memory: Memory, before_BT: Tensor) -> Tensor:
        seen = self._seen(memory)
        embedded_BTD = self.network.get_input_embeddings()(before_BT)
        mask_BX = torch.cat([seen["attention_mask"], torch.ones_like(before_BT)], 1)
        logits_BXK: Tensor = self.network(
            inputs_embeds=torch.cat([seen["inputs_embeds"], embedded_BTD], 1),
            attention_mask=mask_BX,
            position_ids=(mask_BX.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).logits
        return logits_BXK[:, seen["inputs_embeds"].shape[1] - 1 :]

    def _require_causal(self) -> None:
        """Raise ConfigError where the scores of a token look at those behind it: it would learn to copy them."""
        was_training, vocabulary = self.training, self.network.get_input_embeddings().num_embeddings
        tokens_BLD = torch.linspace(-1, 1, 2 * self.enter.in_features).view(1, 2, -1)
        memory = Memory(tokens_BLD=tokens_BLD, mask_BL=torch.ones(1, 2, dtype=torch.bool))
        ids_BT = torch.arange(4)[None] % vocabulary
        other_BT = torch.where(torch.arange(4) < 2, ids_BT, (ids_BT + 1) % vocabulary)
        with torch.no_grad():
            self.eval()
            first_BTK, other_BTK = (self(memory, text_BT)[:, :3] for text_BT in (ids_BT, other_BT))
        self.train(was_training)
        if not torch.allclose(first_BTK, other_BTK, atol=1e-5):
            raise ConfigError(
                f"{TABLE}.model = {self.options.model!r}: what it says of a token depends on those behind it when it "
                "is given a text as embeddings, so it cannot be taught so. Name another model"
            )

    def _seen(self, memory: Memory) -> dict[str, Any]:
        """Return the tokens in the model's width, under the names that it calls them by."""
        if self.is_seq2seq and not self.options.through_encoder:
            from transformers.modeling_outputs import BaseModelOutput

            said = BaseModelOutput(last_hidden_state=self.enter(memory.tokens_BLD))
            return {"encoder_outputs": said, "attention_mask": memory.mask_BL.long()}
        if not self.is_seq2seq:
            memory = _real_last(memory)
        return {"inputs_embeds": self.enter(memory.tokens_BLD), "attention_mask": memory.mask_BL.long()}

    def _hold(self, network: Any) -> None:
        from transformers import GenerationConfig

        self.network = network.requires_grad_(not self.options.frozen)
        # What a model's own file says of writing (shortest length, forced tokens, ..) is of another task than this.
        self.network.generation_config = GenerationConfig()
        self.train(self.training)


def _real_last(memory: Memory) -> Memory:
    """Move what is masked to the front: a text goes on from its last token."""
    order_BL = memory.mask_BL.to(torch.uint8).argsort(dim=1, stable=True)
    tokens_BLD = memory.tokens_BLD.gather(1, order_BL[:, :, None].expand_as(memory.tokens_BLD))
    mask_BL = memory.mask_BL.gather(1, order_BL)
    return Memory(tokens_BLD=torch.where(mask_BL[:, :, None], tokens_BLD, 0.0), mask_BL=mask_BL)


def _padded(ids_BT: Tensor, end: int, max_tokens: int) -> Tensor:
    """Return texts of `max_tokens` places: what stands behind the first end is -1."""
    ended_BT = (ids_BT == end).cumsum(1) - (ids_BT == end).long() > 0
    ids_BT = torch.where(ended_BT, PADDING, ids_BT)
    return nn.functional.pad(ids_BT, (0, max_tokens - ids_BT.shape[1]), value=PADDING)


def _shared(network: nn.Module) -> dict[str, str]:
    """Return the other names of weights that have several -> the first name: embeddings are often tied."""
    first: dict[int, str] = {}
    every = network.named_parameters(remove_duplicate=False)
    return {name: found for name, value in every if (found := first.setdefault(id(value), name)) != name}


def _leave_out_shared(writer: PretrainedWriter, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in _shared(writer.network):
        state.pop(f"{prefix}network.{name}", None)


def _put_back_shared(writer: PretrainedWriter, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, first in _shared(writer.network).items():
        if f"{prefix}network.{first}" in state:
            state.setdefault(f"{prefix}network.{name}", state[f"{prefix}network.{first}"])
