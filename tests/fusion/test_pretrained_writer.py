"""Models of transformers as writers: tiny random ones, saved here as any model is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_writers import save_writer
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmpipe.config import EncoderConfig, Goal
from mmpipe.config.generating import GenerateOptions
from mmpipe.errors import ConfigError
from mmpipe.fusion.decoding.memory import Memory
from mmpipe.fusion.decoding.pretrained import PretrainedWriter
from mmpipe.fusion.decoding.tokenizer import ModelTokens
from mmpipe.fusion.files import load_model, save_model
from mmpipe.fusion.model import FusionModel
from mmpipe.fusion.spec import InputSpec, ModelSpec
from mmpipe.types import FeatureKind

KINDS = ("t5", "bart", "llava")
WAYS = [(kind, True) for kind in KINDS] + [("t5", False), ("bart", False)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_writer(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def make_writer(folder: Path, **options: object) -> PretrainedWriter:
    torch.manual_seed(1)
    writer = PretrainedWriter(GenerateOptions(model=str(folder), **options), 12)
    writer.load_weights()
    return writer.eval()


def make_memory(seed: int = 0) -> Memory:
    torch.manual_seed(seed)
    mask_BL = torch.ones(3, 5, dtype=torch.bool)
    mask_BL[1, :2] = False
    mask_BL[2, 1] = False
    return Memory(tokens_BLD=torch.randn(3, 5, 12), mask_BL=mask_BL)


TEXT_BT = torch.tensor([[5, 7, 9, 2], [6, 8, 2, -1], [5, 2, -1, -1]])


@pytest.mark.parametrize(("kind", "through"), WAYS)
def test_what_generate_writes_is_likeliest_by_the_scores_it_is_taught_by(kind, through, folders) -> None:
    writer, memory = make_writer(folders[kind], through_encoder=through), make_memory()
    ids_BT = writer.write(memory, 5)
    assert ids_BT.shape == (3, 5) and ids_BT.dtype == torch.int64
    with torch.no_grad():
        right_BT = (writer(memory, ids_BT).argmax(2) == ids_BT) | (ids_BT < 0)
    assert right_BT.all()


@pytest.mark.parametrize(("kind", "through"), WAYS)
def test_masked_tokens_and_padding_change_nothing(kind, through, folders) -> None:
    writer, memory = make_writer(folders[kind], through_encoder=through, beam=2), make_memory()
    noisy = replace(memory, tokens_BLD=torch.where(memory.mask_BL[:, :, None], memory.tokens_BLD, 9.0))
    with torch.no_grad():
        logits_BTK = writer(memory, TEXT_BT)
        assert torch.equal(writer(noisy, TEXT_BT), logits_BTK)
        padded_BT = torch.nn.functional.pad(TEXT_BT, (0, 2), value=-1)
        assert torch.allclose(writer(memory, padded_BT)[:, :4], logits_BTK, atol=1e-5)
        alone_1TK = writer(memory.take(torch.tensor([1])), TEXT_BT[1:2])
        assert torch.allclose(alone_1TK[0], logits_BTK[1], atol=1e-5)
    assert torch.equal(writer.write(noisy, 4), writer.write(memory, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_model_stays_and_the_way_into_it_learns(kind, folders) -> None:
    writer = make_writer(folders[kind]).train()
    assert not writer.network.training
    before = {name: value.clone() for name, value in writer.network.named_parameters()}
    loss = _train(writer, make_memory())
    assert loss[-1] < loss[0]
    assert all(torch.equal(value, before[name]) for name, value in writer.network.named_parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_learns_too_is_taught_its_texts(kind, folders) -> None:
    writer, memory = make_writer(folders[kind], frozen=False), make_memory()
    losses = _train(writer.train(), memory, steps=150)
    assert losses[-1] < 0.3  # dropout stays on
    written_BT = writer.eval().write(memory, 4)
    assert torch.equal(written_BT, TEXT_BT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_holds_the_weights_once_and_says_the_same(kind, folders, tmp_path: Path) -> None:
    model, batch = _make_model(folders[kind]), _make_batch()
    save_model(model, tmp_path)
    names = set(model.goal.writer.state_dict())
    assert len(names) < len([*model.goal.writer.named_parameters(remove_duplicate=False)]) or kind == "llava"
    back = load_model(tmp_path)
    with torch.no_grad():
        before, after = model(batch), back(batch)
        ids_BT = TEXT_BT[:2]
        assert torch.equal(model.goal.logits(before, ids_BT), back.goal.logits(after, ids_BT))
        assert torch.equal(model.answers(before), back.answers(after))


def test_weights_are_those_of_the_folder_and_a_network_without_them_is_random(folders) -> None:
    options, memory = GenerateOptions(model=str(folders["t5"])), make_memory()
    torch.manual_seed(1)
    begun = PretrainedWriter(options, 12).eval()
    with torch.no_grad():
        random_BTK = begun(memory, TEXT_BT)
        begun.load_weights()
        assert not torch.allclose(begun(memory, TEXT_BT), random_BTK)
        assert torch.allclose(begun(memory, TEXT_BT), make_writer(folders["t5"])(memory, TEXT_BT))


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tokenizer_makes_the_targets(kind, folders) -> None:
    tokens = ModelTokens.of(GenerateOptions(model=str(folders[kind])))
    ids_NT = tokens.encode(["bin  blue at now", "lay"])
    assert ids_NT.tolist() == [[5, 7, 9, 10, 2], [6, 2, -1, -1, -1]]
    assert tokens.decode(ids_NT) == ("bin blue at now", "lay")
    assert tokens.decode(np.array([[1, 5, 6], [2, 5, 5]])) == ("bin lay", "")  # cut off; nothing
    named = ModelTokens.named(tokens.names)
    assert named.names == tokens.names
    assert json.loads(tokens.names[1])["sha256"] == tokens.options.sha256


def test_what_a_models_own_file_says_of_writing_is_left(folders, tmp_path: Path) -> None:
    shutil.copytree(folders["llava"], tmp_path, dirs_exist_ok=True)
    told = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps({**told, "min_new_tokens": 5}))
    memory = make_memory()
    written_BT = make_writer(tmp_path).write(memory, 5)
    assert torch.equal(written_BT, make_writer(folders["llava"]).write(memory, 5))
    assert (written_BT == -1).any()


def test_another_model_in_the_same_folder_is_refused(folders, tmp_path: Path) -> None:
    save_writer(tmp_path, "t5")
    names = ModelTokens.of(GenerateOptions(model=str(tmp_path))).names
    save_writer(tmp_path, "t5", seed=1)
    with pytest.raises(ConfigError, match="another model now"):
        ModelTokens.named(names)


def test_models_that_cannot_write_so_are_refused(tmp_path: Path) -> None:
    save_writer(tmp_path / "paligemma", "paligemma")
    with pytest.raises(ConfigError, match="does not go on from embeddings"):
        make_writer(tmp_path / "paligemma")
    (tmp_path / "bert").mkdir()
    save_writer(tmp_path / "bert", "t5")
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="neither as an encoder-decoder"):
        make_writer(tmp_path / "bert")
    save_writer(tmp_path / "llava", "llava")
    with pytest.raises(ConfigError, match="no encoder to go past"):
        make_writer(tmp_path / "llava", through_encoder=False)
    with pytest.raises(ConfigError, match="there is no folder"):
        make_writer(tmp_path / "nothing")


def _train(writer: PretrainedWriter, memory: Memory, steps: int = 10) -> list[float]:
    learning = [parameter for parameter in writer.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.Adam(learning, 1e-2), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(writer(memory, TEXT_BT).flatten(0, 1), TEXT_BT.flatten(), ignore_index=-1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _make_model(folder: Path) -> FusionModel:
    torch.manual_seed(0)
    spec = ModelSpec(
        fusion="concat",
        inputs=tuple(InputSpec(feature=f"{name}-toy@1", kind=FeatureKind.VECTOR, dim=4) for name in ("a", "b")),
        classes=ModelTokens.of(GenerateOptions(model=str(folder))).names,
        goal=Goal.GENERATE,
        goal_options={"model": str(folder), "max_tokens": 4},
        encoder=EncoderConfig(components=0, width=12),
    )
    model = FusionModel(spec)
    model.load_backbones()
    return model.eval()


def _make_batch() -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    mask_BT = torch.ones(2, 1, dtype=torch.bool)
    return {f"{name}-toy@1": (torch.randn(2, 1, 4, generator=generator), mask_BT) for name in ("a", "b")}
