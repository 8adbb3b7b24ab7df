"""`text-tokens`: the ids of a Hugging Face tokenizer, or bytes; cut, marked, and told on the card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import text_models
from text_models import WORDS

from mmpipe.errors import ConfigError, SampleError
from mmpipe.features.extractor import Extractor, fingerprint
from mmpipe.features.registry import make_extractor
from mmpipe.types import TextClip
from mmpipe.weights.loading import quiet_transformers

TEXTS = ["place blue in a now", "set", " ".join(WORDS * 3), "an unheard word"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    text_models.make_tokenizer(made)
    return made


def tokens(extractor: Extractor, *texts: str) -> list[list[int]]:
    extractor.setup("cpu")
    values = extractor.extract([TextClip(text=text) for text in texts])
    for value in values:
        assert value.array.dtype == np.int32 == np.dtype(extractor.schema.dtype)
        assert value.array.shape[1] == extractor.schema.dim == 1
        assert value.times_ns is not None
        assert value.times_ns.tolist() == list(range(len(value.array)))
    return [value.array[:, 0].tolist() for value in values]


@pytest.mark.parametrize(("special", "max_tokens"), [(True, 512), (True, 7), (False, 7)])
def test_the_ids_are_those_of_transformers(folder: Path, special: bool, max_tokens: int) -> None:
    with quiet_transformers():
        from transformers import AutoTokenizer

        how: dict[str, Any] = {"add_special_tokens": special, "truncation": True, "max_length": max_tokens}
        wanted = AutoTokenizer.from_pretrained(folder)(TEXTS, **how)["input_ids"]
    params = {"model": str(folder), "special": special, "max_tokens": max_tokens}
    assert tokens(make_extractor("text-tokens", params), *TEXTS) == wanted


def test_the_schema_tells_the_special_ids(folder: Path) -> None:
    described = make_extractor("text-tokens", {"model": str(folder)}).schema.description
    assert f"{len(WORDS) + 4} in all" in described
    assert "[PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3" in described
    assert "pad 0, end 1, unknown 2" in make_extractor("text-tokens").schema.description


def test_bytes_need_no_files() -> None:
    assert tokens(make_extractor("text-tokens"), "az", "é") == [[100, 125, 1], [198, 172, 1]]
    assert tokens(make_extractor("text-tokens", {"special": False, "max_tokens": 2}), "abc") == [[100, 101]]
    assert tokens(make_extractor("text-tokens", {"max_tokens": 2}), "abc") == [[100, 1]]


def test_another_tokenizer_is_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    text_models.make_tokenizer(tmp_path, max_length=99)
    tables: list[dict[str, Any]] = [{}, {"model": str(folder)}, {"model": str(tmp_path)}, {"max_tokens": 9}]
    assert len({fingerprint(make_extractor("text-tokens", table)) for table in tables}) == 4


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="nothing but space"):
        tokens(make_extractor("text-tokens"), " ")
    with pytest.raises(ConfigError, match="holds no tokenizer"):
        make_extractor("text-tokens", {"model": str(tmp_path)})
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        make_extractor("text-tokens", {"model": str(tmp_path)})
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="no tokenizer of the"):
        make_extractor("text-tokens", {"model": str(tmp_path)})
