"""Releases of ours as extractors: encoders that are trained here, and what a fused model embeds of one modality."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from kill_corpus import CORPUS
from kill_models import MODEL

sys.path.insert(0, str(Path(__file__).parent.parent / "features" / "encoders"))
import audio_models

from mmpipe.batches.aligned import AlignedReader
from mmpipe.config import Config
from mmpipe.errors import ConfigError
from mmpipe.features.extractor import fingerprint
from mmpipe.features.naming import make_feature
from mmpipe.features.trained.files import encoder_files, load_encoder, make_encoder
from mmpipe.features.trained.spec import EncoderSpec
from mmpipe.fusion.files import load_model
from mmpipe.registry.aliases import find_version
from mmpipe.registry.taint import mark_version
from mmpipe.registry.versions import Version, publish_version
from mmpipe.steps.ask.predict import predict_files
from mmpipe.steps.extract.extract import extract_plan
from mmpipe.steps.keep.forget import forget
from mmpipe.steps.plan.choices import State
from mmpipe.steps.plan.feature_set import resolve_feature
from mmpipe.steps.plan.plan import plan_corpus, read_states
from mmpipe.steps.plan.release_feature import find_release
from mmpipe.steps.release.lineage import trace_settings
from mmpipe.steps.release.release import release_model
from mmpipe.steps.release.train_encoder import EncoderOrder, train_encoder
from mmpipe.steps.train.train import train_model
from mmpipe.store.layout import StoreLayout
from mmpipe.store.snapshot import take_snapshot
from mmpipe.store.verify import verify_store
from mmpipe.train.fit_settings import FitSettings
from mmpipe.types import AudioClip, FeatureKind, Modality

if TYPE_CHECKING:
    from kill_fixtures import TrainedStore

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")
FIT = FitSettings(epochs=2)
SPEECH = EncoderOrder(kind="audio-speech2vec", corpus=CORPUS, width=16, segment_rows=10, fit=FIT)
TEXT = EncoderOrder(kind="text-lstm", corpus=CORPUS, width=16, fit=FIT)
INPUTS = ("audio-mfcc", "text-tokens")
TABLES: dict[str, dict[str, Any]] = {
    "sound": {"extractor": "release:audio-speech2vec@1"},
    "stretches": {"extractor": "release:audio-speech2vec@1", "pool": "none"},
    "words": {"extractor": "release:text-lstm@1"},
    "own-audio": {"extractor": f"release:{MODEL}@1", "modality": "audio"},
    "own-text": {"extractor": f"release:{MODEL}@1", "modality": "text"},
}


def with_features(config: Config, *names: str, **tables: dict[str, Any]) -> Config:
    """Return a config with features of its own; a model's inputs are there anyway."""
    source = config.corpora[CORPUS].model_copy(update={"features": names})
    return config.model_copy(update={"features": tables, "corpora": {CORPUS: source}})


def extract(config: Config) -> None:
    extract_plan(config, plan_corpus(config, CORPUS))
    assert plan_corpus(config, CORPUS).is_empty


def stored(config: Config, *features: str) -> AlignedReader:
    layout = StoreLayout(config.store)
    return AlignedReader(layout, take_snapshot(layout, CORPUS, features), features)


def version_of(config: Config, name: str, ref: str = "1") -> Version:
    return find_version(StoreLayout(config.store).models, name, ref)


@pytest.fixture(scope="module")
def taught(winning: TrainedStore, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a store with a fused release, both encoders, what they read, and what they make."""
    config = with_features(winning.place(winning.config.store, tmp_path_factory.mktemp("taught")), *INPUTS)
    extract(config)
    for order in (SPEECH, TEXT):
        train_encoder(config, order)
    config = with_features(config, *INPUTS, *TABLES, **TABLES)
    extract(config)
    return config


@pytest.fixture
def own(taught: Config, tmp_path: Path) -> Config:
    """Return the same over a copy of the store."""
    shutil.copytree(taught.store, tmp_path / "store", symlinks=True)
    return taught.model_copy(update={"store": tmp_path / "store"})


def test_clips_that_are_too_short_for_two_segments_are_told_with_the_option_to_turn(own: Config) -> None:
    """Nothing is trained first: what follows from the lengths alone is told at once."""
    told = r"two segments of 400 rows, and the longest .* say --segment-rows \d+ or less"
    with pytest.raises(ConfigError, match=told):
        train_encoder(own, replace(SPEECH, segment_rows=400))


def test_encoders_come_back_as_extractors(taught: Config) -> None:
    reader = stored(taught, "audio-mfcc@1", "text-tokens@1", "sound@1", "stretches@1", "words@1")
    pairs = (("audio-speech2vec", "audio-mfcc@1", "sound@1"), ("text-lstm", "text-tokens@1", "words@1"))
    for release, given, made in pairs:
        network: Any = load_encoder(version_of(taught, release).path)
        assert reader.schema(made).kind is FeatureKind.VECTOR
        assert "experimental" in reader.schema(made).description
        for row in range(0, len(reader), 7):
            value, wanted = reader.value(row, made), reader.value(row, given)
            assert value and wanted
            with torch.inference_mode():
                encoded = network.encode(torch.tensor(wanted.array)).z_SW.numpy()
            np.testing.assert_allclose(value.array, encoded.mean(axis=0), atol=1e-6)
    stretches = reader.value(0, "stretches@1")
    assert stretches is not None
    assert stretches.array.shape == (3, 16)
    np.testing.assert_array_equal(stretches.times_ns, reader.times(0, "audio-mfcc@1")[[5, 15, 25]])
    assert verify_store(StoreLayout(taught.store)) == ()


def test_a_fused_release_embeds_each_modality(taught: Config) -> None:
    model = load_model(version_of(taught, MODEL).path)
    bases = {"own-audio@1": "audio-mfccseg@1", "own-text@1": "text-ngrams@1"}
    reader = stored(taught, *bases, *bases.values())
    part = reader.gather(np.arange(len(reader))).features
    for made, base in bases.items():
        with torch.inference_mode():
            x_BTD, mask_BT = torch.from_numpy(part[base].x_BTD), torch.from_numpy(part[base].mask_BT)
            wanted = model.embed(base, x_BTD, mask_BT).numpy()
        np.testing.assert_allclose(part[made].x_BTD[:, 0], wanted, atol=1e-6)
        assert np.abs(wanted).sum() > 0
        assert reader.schema(made).modality is Modality(made[4:-2])


def test_the_same_recipe_is_trained_once_and_gives_the_same_bytes(own: Config) -> None:
    again = train_encoder(own, SPEECH)
    assert not again.is_new
    other = train_encoder(own, replace(SPEECH, name="twin"))
    assert other.is_new
    weights = [version_of(own, name).read("model.safetensors") for name in ("audio-speech2vec", "twin")]
    assert weights[0] == weights[1]
    seeded = train_encoder(own, replace(SPEECH, fit=replace(FIT, seed=1)))
    assert seeded.is_new
    assert version_of(own, "audio-speech2vec", "2").read("model.safetensors") != weights[0]


def test_a_release_says_where_it_comes_from(taught: Config) -> None:
    version = version_of(taught, "text-lstm")
    lineage = json.loads(version.read("lineage.json"))
    assert version.status == "experimental"
    assert lineage["fingerprints"] == {"text-tokens@1": fingerprint(resolve_feature(taught, "text-tokens"))}
    assert lineage["snapshot"] and lineage["raw_files"] and lineage["fit"]["seed"] == 0
    reader = stored(taught, "text-tokens@1")
    assert lineage["rows"]["train"]["clips"] == (reader.spine["split"] == "train").sum()
    assert "Experimental" in version.read("README.md").decode()


def test_another_release_makes_the_values_stale(own: Config) -> None:
    train_encoder(own, replace(TEXT, fit=replace(FIT, seed=1)))
    changed = with_features(own, *INPUTS, "words", words={"extractor": "release:text-lstm@2"})
    states = {state.feature: state for state in read_states(changed, CORPUS)}
    assert states["words@1"].state is State.STALE
    assert "weights" in states["words@1"].reason
    assert {state.state for name, state in states.items() if name != "words@1"} == {State.COMPLETE}


def test_a_model_learns_from_it_and_answers_raw_files(own: Config, winning: TrainedStore) -> None:
    settings = own.models[MODEL].model_copy(
        update={
            "inputs": ("sound", "text-ngrams"),
            "train": own.models[MODEL].train.model_copy(update={"epochs": 1}),
        }
    )
    config = own.model_copy(update={"models": {MODEL: settings}})
    made = release_model(config, MODEL, train_model(config, MODEL).checkpoint)
    assert (
        json.loads(version_of(config, MODEL, made.version).read("extraction.json"))["features"]["sound"]
        == TABLES["sound"]
    )
    bare = config.model_copy(update={"features": {}})
    told = predict_files(bare, [winning.folder / "media" / "clip-00.wav"], f"{MODEL}@{made.version}")
    assert len(told.answers) == 1
    assert not told.unanswered


def test_a_release_that_was_taught_the_test_clips_is_no_input(taught: Config) -> None:
    for folds in (0, 2):  # the release was judged by folds, and so learnt from all clips in the end
        settings = taught.models[MODEL].model_copy(update={"inputs": ("own-audio", "text-ngrams"), "folds": folds})
        with pytest.raises(ConfigError, match="leak: 'own-audio' is the embedding"):
            train_model(taught.model_copy(update={"models": {MODEL: settings}}), MODEL)


def refused(config: Config, **table: Any) -> str:
    """Return why a plan refuses a feature."""
    with pytest.raises(ConfigError) as error:
        plan_corpus(with_features(config, *INPUTS, "own", own=table), CORPUS)
    return str(error.value)


def test_releases_that_cannot_be_used_say_so(own: Config) -> None:
    layout = StoreLayout(own.store)
    assert "features.own.extractor = 'release:nobody@1': no model 'nobody'" in refused(
        own, extractor="release:nobody@1"
    )
    assert "has no version '9'" in refused(own, extractor="release:text-lstm@9")
    assert "names no version" in refused(own, extractor="release:text-lstm@production")
    assert "several inputs fit" in refused(own, extractor=f"release:{MODEL}@1")
    assert "no input fits" in refused(own, extractor=f"release:{MODEL}@1", modality="video")
    assert "pool must be 'mean'" in refused(own, extractor=f"release:{MODEL}@1", modality="text", pool="none")
    assert "unknown parameter" in refused(own, extractor="release:text-lstm@1", dim=3)

    good = version_of(own, "text-lstm")
    files = {name: good.read(name) for name in good.files() if name != "version.json"}
    publish_version(layout.models, "bad", files, status="refused", recipe_digest="r")
    assert "was refused by the gate" in refused(own, extractor="release:bad@1")
    lineage = json.loads(files["lineage.json"])
    files["lineage.json"] = json.dumps({**lineage, "fingerprints": {"text-tokens@1": "0" * 64}}).encode()
    publish_version(layout.models, "other", files, status="experimental", recipe_digest="r")
    assert "another text-tokens than the one installed" in refused(own, extractor="release:other@1")
    mark_version(layout.models, "text-lstm", good.label, ("asset",), "asked to")
    assert "tainted: trained on" in refused(own, extractor="release:text-lstm@1")


def test_what_was_forgotten_taints_the_encoder_that_learnt_from_it(own: Config) -> None:
    forget(own, CORPUS, "clip-05", "asked to")
    with pytest.raises(ConfigError, match="tainted"):
        plan_corpus(own, CORPUS)
    assert "clip-05" not in version_of(own, "text-lstm").read("lineage.json").decode()


def test_what_an_encoder_cannot_read_is_refused(taught: Config) -> None:
    for order, words in (
        (replace(SPEECH, kind="video-dream"), "no encoder named"),
        (replace(SPEECH, input="text-tokens"), "needs a sequence made from sound"),
        (replace(SPEECH, input="audio-mfccseg"), "needs a sequence made from sound"),
        (replace(TEXT, input="text-ngrams"), "needs token ids"),
        (replace(TEXT, width=7), "width"),
        (replace(TEXT, name=MODEL), "is a model of the config"),
    ):
        with pytest.raises(ConfigError, match=words):
            train_encoder(taught, order)
    with pytest.raises(ConfigError, match="an encoder: it answers nothing"):
        predict_files(taught, [], "text-lstm@1")
    stale = with_features(taught, *INPUTS, **{"audio-mfcc": {"num_mels": 32}})
    with pytest.raises(ConfigError, match="made with other parameters"):
        train_encoder(stale, SPEECH)


def test_an_input_is_computed_in_the_dtype_that_the_release_learnt_from(own: Config, tmp_path: Path) -> None:
    """The config left the dtype to the machine; on another machine `auto` may mean another."""
    audio_models.make_wav2vec2(tmp_path / "ears", "group")
    table = {"model": str(tmp_path / "ears"), "pool": "none"}
    spec = EncoderSpec(kind="audio-speech2vec", input="audio-hf@1", input_dim=32, width=16)
    for dtype in ("float32", "bfloat16"):
        mark = fingerprint(make_feature("audio-hf", {**table, "dtype": dtype}))
        files = {
            **encoder_files(make_encoder(spec, seed=0)),
            "lineage.json": json.dumps({"fingerprints": {"audio-hf@1": mark}, "snapshot": ""}).encode(),
            "extraction.json": json.dumps({"features": {"audio-hf": table}}).encode(),
        }
        layout = StoreLayout(own.store)
        publish_version(layout.models, f"ears-{dtype}", files, status="experimental", recipe_digest="r")
        found = find_release(layout, "heard", {"extractor": f"release:ears-{dtype}@1"})
        assert found["release"]["base"]["table"] == {**table, "dtype": dtype}
        extractor = make_feature("heard", found)
        extractor.setup("cpu")
        wave = np.sin(np.arange(20_000, dtype=np.float32) / 9)
        (value,) = extractor.extract([AudioClip(wave_N=wave, sample_rate_hz=16_000, start_ns=0)])
        assert value.array.shape == (16,)


def test_the_settings_of_a_training_name_the_release_and_no_folder(taught: Config) -> None:
    assert str(taught.store) not in json.dumps(trace_settings(taught, CORPUS, ("words",)))
