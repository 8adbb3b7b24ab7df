"""`text-hf`: the numbers of a straight transformers call, whatever runs beside a text; what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent))
import text_models
from text_models import WORDS

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.encoders.text_hf import TextHf
from mmpipe.features.extractor import feature_name, fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.types import FeatureKind, TextClip
from mmpipe.weights.loading import quiet_transformers

torch = pytest.importorskip("torch")
TEXTS = ("place blue in a now", "set", "lay green by the two soon please with zero and one white bin red")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("bert")
    return folder, text_models.make_bert(folder)


def made(folder: Path, name: str = "text-hf", **params: Any) -> TextHf:
    extractor = make_extractor(name, {"model": str(folder), "dtype": "float32", **params})
    assert isinstance(extractor, TextHf)
    extractor.setup("cpu")
    return extractor


def embed(extractor: TextHf, *texts: str) -> list[np.ndarray]:
    return [value.array for value in extractor.extract([TextClip(text=text) for text in texts])]


@quiet_transformers()
def straight(folder: Path, network: Any, text: str, **how: Any) -> Any:
    """Run one text through transformers as its documentation does."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", truncation=True, **how)
    tokens.pop("token_type_ids", None)
    with torch.inference_mode():
        return network(**tokens, output_hidden_states=True)


@pytest.mark.parametrize("text", TEXTS)
def test_bert_gives_what_transformers_gives(bert: tuple[Path, Any], text: str) -> None:
    folder, network = bert
    out = straight(folder, network, text)
    expected = {
        "model": out.pooler_output[0],
        "mean": out.last_hidden_state[0].mean(0),
        "cls": out.last_hidden_state[0, 0],
        "none": out.last_hidden_state[0],
    }
    for pool, wanted in expected.items():
        (got, *_) = embed(made(folder, pool=pool), text, *TEXTS)
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5, err_msg=pool)
    (second,) = embed(made(folder, pool="mean", layer=1), text)
    np.testing.assert_allclose(second, out.hidden_states[1][0].mean(0).numpy(), atol=1e-5)


def test_a_sentence_model_pools_as_its_modules_say(tmp_path: Path) -> None:
    network = text_models.make_sentence_model(tmp_path)
    extractor = made(tmp_path, pool="model")
    long = " ".join(WORDS * 3)
    for text in (*TEXTS, long):
        mean = straight(tmp_path, network, text, max_length=24).last_hidden_state[0].mean(0)
        (got,) = embed(extractor, text)
        np.testing.assert_allclose(got, (mean / mean.norm()).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "dim", "output"),
    [(text_models.make_clip_text, 20, "text_embeds"), (text_models.make_siglip_text, 32, "pooler_output")],
)
def test_text_parts_of_picture_models(make: Callable[[Path], Any], dim: int, output: str, tmp_path: Path) -> None:
    network = make(tmp_path)
    extractor = made(tmp_path)  # the space that pictures share is what is meant where nothing is said
    assert extractor.params.pool == "model"
    marks = [fingerprint(made(tmp_path, pool=pool)) for pool in ("model", "mean")]
    assert fingerprint(extractor) == marks[0] != marks[1]
    how: dict[str, Any] = {}
    if output == "pooler_output":  # SigLIP was trained on padding, without a mask
        how = {"padding": "max_length", "max_length": 16, "return_attention_mask": False}
    wanted = [getattr(straight(tmp_path, network, text, **how), output)[0].numpy() for text in TEXTS]
    assert extractor.schema.dim == dim
    np.testing.assert_allclose(np.stack(embed(extractor, *TEXTS)), np.stack(wanted), atol=1e-5)


def test_the_encoder_of_a_t5(tmp_path: Path) -> None:
    network = text_models.make_t5(tmp_path)
    wanted = [straight(tmp_path, network, text).last_hidden_state[0].mean(0).numpy() for text in TEXTS]
    np.testing.assert_allclose(np.stack(embed(made(tmp_path), *TEXTS)), np.stack(wanted), atol=1e-5)
    with pytest.raises(ConfigError, match="no pooling of its own"):
        made(tmp_path, pool="model")


def test_tokens_come_as_a_sequence_with_their_places_as_times(bert: tuple[Path, Any]) -> None:
    extractor = made(bert[0], pool="none")
    assert extractor.schema.kind is FeatureKind.SEQUENCE
    (value,) = extractor.extract([TextClip(text="set blue")])
    assert value.array.shape == (4, 32)
    assert value.times_ns is not None
    assert value.times_ns.tolist() == [0, 1, 2, 3]


def test_every_word_has_the_mean_of_its_tokens(bert: tuple[Path, Any]) -> None:
    folder, network = bert
    extractor = made(folder, pool="words")
    assert extractor.schema.kind is FeatureKind.SEQUENCE and "every word" in extractor.schema.description
    text = "set blue-green  now!\nred"  # the tokenizer cuts at signs: set, blue - green, now !, red
    hidden = straight(folder, network, text).last_hidden_state[0].numpy()[1:-1]
    value, other = extractor.extract([TextClip(text=text), TextClip(text=" ".join(WORDS))])
    wanted = [hidden[0], hidden[1:4].mean(0), hidden[4:6].mean(0), hidden[6]]
    np.testing.assert_allclose(value.array, wanted, atol=1e-5)
    assert value.times_ns is not None and value.times_ns.tolist() == [0, 1, 2, 3]
    assert len(other.array) == len(WORDS)
    (cut,) = embed(made(folder, pool="words", max_tokens=6), text)
    assert cut.shape == (2, 32), "[CLS] set blue - green [SEP]: the words behind have no row"


def test_a_value_does_not_depend_on_its_neighbours_or_the_batch(bert: tuple[Path, Any]) -> None:
    folder, _ = bert
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 30, 50)]
    alone = np.stack([embed(made(folder), text)[0] for text in texts[:8]])
    for batch in ("auto", 1, 7):
        np.testing.assert_allclose(np.stack(embed(made(folder, batch=batch), *texts))[:8], alone, atol=1e-5)


@pytest.mark.parametrize(("spread", "longest"), [(0.8, 62), (1.2, 250)])
def test_padding_stays_under_a_tenth_on_skewed_lengths(tmp_path: Path, spread: float, longest: int) -> None:
    """Utterances as measured, a median of 10 tokens and a tail, in a micro-batch of 1,024."""
    text_models.make_bert(tmp_path, max_length=256)
    extractor = made(tmp_path)
    assert extractor.micro_batch.max_clips >= 1_000
    rng = np.random.default_rng(0)
    sizes = np.clip(np.exp(rng.normal(np.log(10), spread, extractor.micro_batch.max_clips)), 1, longest).astype(int)
    embed(extractor, *(" ".join(rng.choice(WORDS, size)) for size in sizes))
    units = extractor.units
    assert units.used == sizes.sum() + 2 * len(sizes)
    assert units.padded / (units.used + units.padded) < 0.10


def test_long_texts_are_cut(bert: tuple[Path, Any]) -> None:
    long = " ".join(WORDS * 9)
    assert len(embed(made(bert[0], pool="none"), long)[0]) == 32  # what the model holds
    assert len(embed(made(bert[0], pool="none", max_tokens=8), long)[0]) == 8


def test_half_the_bits_are_near(bert: tuple[Path, Any]) -> None:
    whole, half = (np.stack(embed(made(bert[0], dtype=dtype), *TEXTS)) for dtype in ("float32", "bfloat16"))
    norms = np.linalg.norm(whole, axis=1) * np.linalg.norm(half, axis=1)
    assert ((whole * half).sum(axis=1) / norms > 0.999).all()


def test_stored_halves_and_names(bert: tuple[Path, Any]) -> None:
    folder, _ = bert
    extractor = made(folder, name="text-bert", values="float16")
    assert feature_name(extractor) == "text-bert@1"
    assert extractor.schema.dtype == str(embed(extractor, "set")[0].dtype) == "float16"


def test_the_fingerprint_is_over_weights_and_what_changes_values(bert: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = bert
    table = {"model": str(folder), "dtype": "float32"}
    plain = fingerprint(make_extractor("text-hf", table))
    assert plain == fingerprint(make_extractor("text-hf", {**table, "pool": "mean"})), "of a BERT it always was that"
    assert plain == fingerprint(make_extractor("text-hf", {**table, "batch": 3}))
    text_models.make_bert(tmp_path, hidden_act="relu")
    others: list[dict[str, Any]] = [
        {"pool": "cls"},
        {"layer": 1},
        {"max_tokens": 8},
        {"dtype": "bfloat16"},
        {"model": str(tmp_path)},
    ]
    marks = {fingerprint(make_extractor("text-hf", {**table, **other})) for other in others}
    assert len(marks | {plain}) == 6


@pytest.mark.parametrize(("text", "code"), [(" \n", "empty_text"), ("a\ud800", "encoding")])
def test_texts_without_a_value_are_refused(bert: tuple[Path, Any], text: str, code: str) -> None:
    with pytest.raises(SampleError) as refused:
        embed(made(bert[0]), text)
    assert refused.value.code == code


def test_what_cannot_be_a_text_encoder_is_refused(bert: tuple[Path, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pools its last layer alone"):
        made(bert[0], pool="model", layer=1)
    with pytest.raises(ConfigError, match=r"features\.text-hf"):
        make_extractor("text-hf", {"model": str(tmp_path)})
    save_file({}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "bart", "is_encoder_decoder": true}')
    with pytest.raises(ConfigError, match="an encoder with a decoder"):
        make_extractor("text-hf", {"model": str(tmp_path)})
