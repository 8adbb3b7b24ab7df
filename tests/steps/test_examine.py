"""What a judged model is asked beside the gate: by networks that never saw the clips, and kept beside the verdict."""

from __future__ import annotations

import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from kill_corpus import CORPUS, DT
from kill_models import MODEL, NUM_GROUPS

from mmpipe.evaluate.robustness import ANY
from mmpipe.registry.versions import pick_version, publish_version
from mmpipe.steps.release.evaluate import evaluate_checkpoint
from mmpipe.steps.release.examine import examine, read_examination
from mmpipe.steps.tell.report import write_report

pytest_plugins = ("kill_fixtures",)
pytestmark = pytest.mark.usefixtures("warm_workers")

AUDIO, TEXT = "audio-mfccseg@1", "text-ngrams@1"


@pytest.fixture(scope="module")
def evaluation(losing):
    return evaluate_checkpoint(losing.config, MODEL, losing.trained.checkpoint)


def version_of(made):
    return pick_version(made.config.store / "models", MODEL, made.released.version)


def with_settings(made, **settings):
    return made.config.model_copy(update={"evaluate": made.config.evaluate.model_copy(update=settings)})


def test_where_only_the_sound_tells_the_class_the_words_are_the_weak_modality(losing):
    ablation = json.loads(version_of(losing).read("ablation.json"))
    weak = ablation["weak"]
    assert weak["modality"] == TEXT and weak["is_clear"] and weak["is_idle"]
    shares = {share["modality"]: share for share in ablation["shares"]}
    assert shares[AUDIO]["shapley"]["low"] > 0.2
    assert abs(shares[TEXT]["shapley"]["estimate"]) < 0.15
    assert shares[AUDIO]["loss_permuted"]["low"] > 0.1 and shares[AUDIO]["alone"]["estimate"] == 1
    card = version_of(losing).read("README.md").decode()
    assert "text-ngrams@1 is the weak modality" in card.replace("\\", "")
    assert "Without audio-mfccseg@1 its accuracy is" in card.replace("\\", "")


def test_where_both_are_needed_each_brings_its_share_and_they_sum_to_the_whole(winning):
    ablation = json.loads(version_of(winning).read("ablation.json"))
    worth = {tuple(row["kept"]): row["worth"]["estimate"] for row in ablation["subsets"]}
    shapley = [share["shapley"]["estimate"] for share in ablation["shares"]]
    assert worth[(AUDIO, TEXT)] == 1 and min(shapley) > 0.15
    assert sum(shapley) == pytest.approx(worth[(AUDIO, TEXT)] - worth[()])
    assert ablation["num_groups"] == NUM_GROUPS


def test_the_networks_that_are_asked_again_are_those_that_were_judged(losing, evaluation):
    """With nothing hidden they give the very answers of the training: no other network, no clip that it learnt from."""
    kept = {row.kept: row.worth.estimate for row in examine(losing.config, evaluation).ablation.subsets}
    judged = evaluation.candidates["concat"].predictions
    assert kept[(AUDIO, TEXT)] == pytest.approx(judged.correct_N.mean())
    assert kept[(TEXT,)] == pytest.approx(evaluation.without["concat"][AUDIO])
    assert kept[(AUDIO,)] == pytest.approx(evaluation.without["concat"][TEXT])


def test_what_is_kept_is_what_an_examination_now_finds(losing, evaluation):
    now = examine(losing.config, evaluation)
    assert read_examination(version_of(losing)) == now
    assert examine(losing.config, evaluation).files() == now.files()


def test_noise_hurts_the_modality_that_counts(losing, evaluation):
    audio, text = examine(with_settings(losing, noise_levels=(100.0,)), evaluation).robustness.noise
    assert audio.points[-1].worth.estimate < 0.8 * text.points[-1].worth.estimate


def test_curves_begin_with_all_clips_and_end_where_the_modality_is_gone(losing):
    robustness = json.loads(version_of(losing).read("robustness.json"))
    missing = {curve["what"]: curve for curve in robustness["missing"]}
    assert set(missing) == {AUDIO, TEXT, ANY}
    heights = [point["worth"]["estimate"] for point in missing[AUDIO]["points"]]
    assert heights == sorted(heights, reverse=True) and heights[0] - heights[-1] > 0.2
    noise = {curve["what"]: curve["points"] for curve in robustness["noise"]}
    assert [point["at"] for point in noise[TEXT]] == [0, 0.25, 0.5, 1, 2]
    assert noise[AUDIO][0]["worth"]["estimate"] == heights[0]
    assert robustness["not_measured"] == []


def test_slices_by_a_label_column_and_by_what_a_clip_has(losing, evaluation):
    scores = examine(with_settings(losing, slices=("room",)), evaluation).robustness.slices
    rooms = [row for row in scores if row.column == "room"]
    assert len(rooms) == NUM_GROUPS and all(row.num_groups == 1 and row.is_small for row in rooms)
    (both,) = [row for row in scores if row.column == "has"]
    assert both.value == f"{AUDIO} + {TEXT}" and both.over_rest is None


def test_no_more_clips_are_asked_than_the_config_allows(losing, evaluation):
    found = examine(with_settings(losing, max_clips=10), evaluation)
    assert found.ablation.num_clips == 10
    assert sum(row.num_clips for row in found.figures.reliability) == len(evaluation.data.keys)


def test_a_training_without_the_networks_of_its_folds_says_so(losing, tmp_path):
    config = losing.place(losing.config.store, tmp_path)
    for folder in (config.store / "checkpoints").glob("*/fits/*/*/weights"):
        shutil.rmtree(folder)
    evaluation = evaluate_checkpoint(config, MODEL, losing.trained.checkpoint)
    found = examine(config, evaluation)
    assert found.ablation is None and "kept no network of concat per fold" in found.robustness.not_measured[0]
    assert found.robustness.slices and found.figures.measures["accuracy"].estimate == pytest.approx(
        np.mean(evaluation.candidates["concat"].predictions.correct_N)
    )


def test_only_the_networks_of_the_contender_that_is_judged_are_kept(losing):
    folder = losing.config.store / "checkpoints" / losing.trained.checkpoint / "fits"
    assert {path.parent.parent.name for path in folder.glob("*/*/weights")} == {"concat"}


def test_the_plots_are_files_that_say_what_they_show(winning):
    version = version_of(winning)
    names = {name for name in version.files() if name.endswith(".svg")}
    assert names == {f"plot-{kind}.svg" for kind in ("confusion", "contribution", "missing", "noise", "reliability")}
    for name in names:
        root = ElementTree.fromstring(version.read(name))
        assert root.attrib["role"] == "img"
        assert all(root.find(f"{{http://www.w3.org/2000/svg}}{tag}").text for tag in ("title", "desc"))


def test_the_page_shows_what_was_examined(losing, tmp_path):
    config = losing.place(losing.config.store, tmp_path)
    page = write_report(config, CORPUS, DT, MODEL, losing.trained.checkpoint).read_text()
    for title in ("What each modality brings", "Where it bends", "Slices", "Every measure"):
        assert f"<h2>{title}</h2>" in page
    assert "text-ngrams@1 is the weak modality" in page
    for plot in ("contribution", "missing", "noise", "reliability"):
        assert page.count(f'id="plot-{plot}-title"') == 1


def test_a_version_from_before_has_no_examination(tmp_path):
    version = publish_version(tmp_path, "old", {"verdict.json": b"{}"}, status="refused", recipe_digest="0" * 64)
    assert read_examination(version) is None
