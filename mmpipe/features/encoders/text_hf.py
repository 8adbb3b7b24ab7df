"""`text-hf`: any text encoder of transformers, pooled or token by token; `text-bert` is the same under its own name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from mmpipe.errors import ConfigError
from mmpipe.features.encoders.batching import BatchRunner, Budget, Units
from mmpipe.features.encoders.device import TorchDevice
from mmpipe.features.encoders.half_check import Tried, require_right_half
from mmpipe.features.encoders.params import WeightsParams, resolved
from mmpipe.features.encoders.text_input import require_text
from mmpipe.features.encoders.text_model import OwnPooling, read_text_model
from mmpipe.features.encoders.text_word_rows import token_words, word_rows
from mmpipe.features.extractor import MicroBatch, expect_media
from mmpipe.types import ClipMedia, FeatureKind, FeatureSchema, FeatureValue, Modality, TextClip, TextNeeds
from mmpipe.weights.loading import CLOSED, load_transformers, quiet_transformers

# At once: on a CPU more gains nothing (measured: MiniLM, sorted by length).
_ON_CPU = Budget(items=32, units=8_192, enough=256)
_ON_GPU = Budget(items=512, units=65_536, enough=2_048)
_MICRO_BATCH = MicroBatch(max_clips=1_024)  # sorting gains most where there is much to sort
_TRIED = ("the quick brown fox jumps over the lazy dog", "0 1 2 3")  # two lengths: one is padded


class TextHfParams(WeightsParams):
    """Which text encoder, and what is kept of it."""

    # What "auto" means is decided before the fingerprint: "mean", as it was, but for models with a space of their own.
    pool: Literal["auto", "model", "mean", "cls", "none", "words"] = Field(
        "auto",
        description="mean over tokens, cls: the first one, the model's own pooling, none: every token, or words: the "
        "mean of each word's tokens; auto: model for CLIP, SigLIP and CLAP (the space that pictures or sounds share), "
        "mean for all others",
    )
    layer: int | None = Field(None, description="of hidden_states: 0 the embeddings, -1 the last; none: the output")
    max_tokens: int = Field(0, ge=0, le=131_072, description="longer texts are cut; 0: what the model can hold")


class TextHf:
    """Embeddings of a text: [W], or [T, W] with pool = "none" or "words", where the time of a row is its place.

    A value differs by less than 1e-5 (float32) or 2e-2 (bf16) of its norm with the texts that run beside it.
    """

    name = "text-hf"
    version = 1
    modality = Modality.TEXT
    micro_batch = _MICRO_BATCH
    uses_device = True
    Params: ClassVar[type[TextHfParams]] = TextHfParams

    def __init__(self, params: TextHfParams) -> None:
        self.needs = TextNeeds()
        self._table = f"features.{self.name}"
        self._folder = params.find(self.name)
        self.weights_sha256 = self._folder.sha256
        self._model = read_text_model(self._folder, self._table)
        if params.pool == "auto":
            shared = self._model.is_joint and params.layer is None
            params = params.model_copy(update={"pool": "model" if shared else "mean"})
        self.params = resolved(params)
        own = self._pooling()
        pooled_dim = self._model.pooled_dim if own and own.how == "output" else self._model.hidden_dim
        kept = {"none": "every token", "words": "every word"}.get(params.pool, f"pooled by {params.pool!r}")
        self.schema = FeatureSchema(
            feature=f"{self.name}@{self.version}",
            modality=self.modality,
            kind=FeatureKind.SEQUENCE if self._is_sequence else FeatureKind.VECTOR,
            dim=pooled_dim,
            dtype=params.values,
            description=f"text embeddings of {self._folder.name}, {kept}",
        )
        self._loaded: _Loaded | None = None
        self._runner = BatchRunner(_ON_CPU)

    @property
    def units(self) -> Units:
        """Return the tokens that the network was given so far."""
        return self._runner.units

    def setup(self, device: str) -> None:
        """Load tokenizer and network, once."""
        on = TorchDevice(name=device, dtype=self.params.dtype)
        budget = _ON_GPU if on.is_gpu else _ON_CPU
        self._runner = BatchRunner(replace(budget, items=self.params.batch_or(budget.items)))
        network = load_transformers(self._folder, self._model.kind, on.torch_dtype, device, self._table)
        with quiet_transformers():
            from transformers import AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(self._folder.folder, **CLOSED)
            except (OSError, ValueError, KeyError, ImportError) as error:
                raise ConfigError(f"{self._table}.model = {self._folder.name!r} has no tokenizer: {error}") from error
        self._loaded = _Loaded(tokenizer=tokenizer, network=on.compiled(network, self.params.compile), on=on)
        self._try_half(self._loaded)

    def _try_half(self, loaded: _Loaded) -> None:
        """Refuse bf16 where this machine computes nonsense in it."""

        def run() -> None:
            ids = loaded.token_ids(list(_TRIED), self._most_tokens(loaded.tokenizer))
            ids_BT, mask_BT = padded(ids, loaded.pad_id, self._model.fixed_length)
            with loaded.on.computing():
                self._started(loaded, ids_BT, mask_BT)()

        tried = Tried(
            table=f"features.{self.name}",
            model=self._folder.name,
            weights_sha256=self.weights_sha256,
            settings=self.params.model_dump_json(),
        )
        require_right_half(loaded.on, tried, loaded.network, run)

    def extract(self, batch: Sequence[ClipMedia]) -> list[FeatureValue]:
        """Return a value per text; raise SampleError for a text without a character."""
        texts = [require_text(expect_media(media, TextClip, self.name).text) for media in batch]
        assert self._loaded, "setup comes first"
        loaded, most = self._loaded, self._most_tokens(self._loaded.tokenizer)
        if self.params.pool == "words":
            texts = [" ".join(text.split()) for text in texts]
            ids, words = token_words(loaded.tokenizer, texts, most, f"features.{self.name}")
            arrays = self._arrays(loaded, [found or [loaded.pad_id] for found in ids])
            return [
                self._value(word_rows(array, of, len(text.split()), is_cut=len(of) >= most))
                for array, of, text in zip(arrays, words, texts, strict=True)
            ]
        return [self._value(array) for array in self._arrays(loaded, loaded.token_ids(texts, most))]

    def _arrays(self, loaded: _Loaded, ids: list[list[int]]) -> list[np.ndarray]:
        """Return a pooled row, or the tokens' rows, of every text."""
        fixed = self._model.fixed_length
        lengths = [fixed or len(found) for found in ids]

        def launch(numbers: Sequence[int]) -> Callable[[], list[np.ndarray]]:
            ids_BT, mask_BT = padded([ids[number] for number in numbers], loaded.pad_id, fixed)
            with loaded.on.computing():
                return self._started(loaded, ids_BT, mask_BT)

        arrays = self._runner.run(lengths, launch)
        if fixed:
            filled = sum(lengths) - sum(len(found) for found in ids)
            self._runner.units += Units(used=-filled, padded=filled)
        return arrays

    def _started(self, loaded: _Loaded, ids_BT: np.ndarray, mask_BT: np.ndarray) -> Callable[[], list[np.ndarray]]:
        """Start a batch; return what waits for a pooled row or the tokens of every text."""
        on = loaded.on
        mask = on.upload(mask_BT)
        asked = {"input_ids": on.upload(ids_BT), "output_hidden_states": self.params.layer is not None}
        found = loaded.network(**asked, **({} if self._model.fixed_length else {"attention_mask": mask}))
        own = self._pooling()
        if own and own.how == "output":
            pooled = getattr(found, own.output, None)
            if pooled is None:
                raise ConfigError(
                    f"{self._table}.model = {self._folder.name!r} has no pooling of its own. "
                    'Set pool = "mean" or "cls".'
                )
            return _rows(on.download(pooled))
        hidden = found.last_hidden_state if self.params.layer is None else found.hidden_states[self.params.layer]
        if self._is_sequence:
            return _token_rows(on.download(hidden), mask_BT.sum(axis=1))
        how = own.how if own else self.params.pool
        return _rows(on.download(pool_tokens(hidden, mask, how, unit_length=bool(own and own.unit_length))))

    @property
    def _is_sequence(self) -> bool:
        return self.params.pool in ("none", "words")

    def _pooling(self) -> OwnPooling | None:
        """Return the model's own pooling where that is asked for."""
        if self.params.pool != "model":
            return None
        if self._model.own is None or self.params.layer is not None:
            why = "has no pooling of its own" if self._model.own is None else "pools its last layer alone"
            raise ConfigError(
                f'{self._table}.pool = "model": {self._folder.name!r} {why}. Set pool = "mean", "cls" or "none".'
            )
        return self._model.own

    def _most_tokens(self, tokenizer: Any) -> int:
        limits = (self.params.max_tokens, self._model.max_tokens, int(min(tokenizer.model_max_length, 1 << 30)))
        return min(limit for limit in (*limits, 1 << 30) if limit > 0)

    def _value(self, array: np.ndarray) -> FeatureValue:
        array = array.astype(self.params.values, copy=False)
        if self._is_sequence:
            return FeatureValue(array=array, times_ns=np.arange(len(array), dtype=np.int64))
        return FeatureValue(array=array)


class _Loaded:
    """What `setup` loads."""

    def __init__(self, *, tokenizer: Any, network: Any, on: TorchDevice) -> None:
        self.tokenizer, self.network, self.on = tokenizer, network, on
        self.pad_id = int(tokenizer.pad_token_id or 0)  # where a model has none, the mask hides what stands there

    def token_ids(self, texts: list[str], most: int) -> list[list[int]]:
        """Return the ids of every text, cut to `most`, special ones among them."""
        with quiet_transformers():
            found: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=most)["input_ids"]
        return [ids or [self.pad_id] for ids in found]


def padded(ids: Sequence[Sequence[int]], pad_id: int, length: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ids [B, T] and mask [B, T], both int64, T the longest text or `length`."""
    lengths_B = np.array([len(found) for found in ids])
    mask_BT = np.arange(max(length, int(lengths_B.max()))) < lengths_B[:, None]
    ids_BT = np.full(mask_BT.shape, pad_id, np.int64)
    ids_BT[mask_BT] = np.concatenate([np.asarray(found, np.int64) for found in ids])
    return ids_BT, mask_BT.astype(np.int64)


def pool_tokens(hidden_BTW: Any, mask_BT: Any, how: str, *, unit_length: bool = False) -> Any:
    """Return one float32 row per text: the first token, or the mean over tokens that are none of padding."""
    if how == "cls":
        pooled_BW = hidden_BTW[:, 0].float()
    else:
        weight_BT1 = mask_BT[..., None].float()
        pooled_BW = (hidden_BTW.float() * weight_BT1).sum(1) / weight_BT1.sum(1)
    if unit_length:
        pooled_BW = pooled_BW / pooled_BW.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return pooled_BW


def _rows(wait: Callable[[], np.ndarray]) -> Callable[[], list[np.ndarray]]:
    return lambda: list(wait())


def _token_rows(wait: Callable[[], np.ndarray], lengths: np.ndarray) -> Callable[[], list[np.ndarray]]:
    return lambda: [row[:length] for row, length in zip(wait(), lengths.tolist(), strict=True)]
