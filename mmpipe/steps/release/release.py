"""Publish what a training earned: an immutable version with its verdict, and the aliases that may move."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmpipe.config import Config, FewGroups, Judged
from mmpipe.errors import StoreError, TransientError
from mmpipe.evaluate.answers.base import Answers
from mmpipe.evaluate.answers.files import from_parquet, is_empty, to_parquet
from mmpipe.evaluate.gate import decide
from mmpipe.evaluate.verdict import NOTHING, Evidence, Verdict
from mmpipe.io import canonical_json
from mmpipe.registry.aliases import WITHHELD, find_version, read_aliases, read_events
from mmpipe.registry.card import render_card
from mmpipe.registry.versions import Version, list_versions, publish_version
from mmpipe.steps.ground.seal import seal_folder
from mmpipe.steps.ground.watching import folder_table, watch_stage
from mmpipe.steps.release.calibration import CALIBRATION_NAME, describe_calibration
from mmpipe.steps.release.describe import describe_model, shown_classes
from mmpipe.steps.release.describe_examined import plot_files
from mmpipe.steps.release.evaluate import Evaluation, evaluate_checkpoint, in_reading_order, read_parity
from mmpipe.steps.release.examine import Examination, examine
from mmpipe.steps.release.graphs import export_graphs
from mmpipe.steps.release.lineage import trace_code, trace_noiseless, trace_settings, trace_snapshot
from mmpipe.steps.release.promotion import nominate_version, promote_version
from mmpipe.steps.release.sign import check_keys, is_trusted, sign_if_asked, signing_key
from mmpipe.steps.train.candidates import fit_folder
from mmpipe.steps.train.finetune_change import trace_finetuning
from mmpipe.steps.train.imputing import read_imputation
from mmpipe.steps.train.taught_inputs import FOLDS
from mmpipe.steps.train.train import checkpoint_name, current_recipe
from mmpipe.steps.train.trained import DONE_NAME, read_checkpoint
from mmpipe.store.layout import StoreLayout, open_store
from mmpipe.store.redaction import redactions_of
from mmpipe.types import digest_of
from mmpipe.watch.stage import Stage

WHO = "mmpipe release"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReport:
    """What the gate said, and what was published."""

    model: str
    status: str  # of the judged model: "candidate" or "refused"
    version: str  # label of the judged model's version
    offered: str  # the contender that may be used, or "nothing"
    offered_version: str  # its label; "" where nothing is offered
    production: str  # label of the version that is in use now; "" where none is
    sentence: str
    rows: tuple[Mapping[str, Any], ...]
    is_new: bool = field(default=False, compare=False)  # the verdict was given now, and not in a run before

    def summary(self) -> str:
        """Return a few lines of Markdown."""
        lines = [f"`{self.model}@{self.version}`: **{self.status}**. {self.sentence}"]
        if self.offered_version and self.offered_version != self.version:
            lines.append(f"Offered instead: `{self.offered}` as `{self.model}@{self.offered_version}`.")
        lines.append(f"In production: `{self.production}`." if self.production else "Nothing is in production.")
        return "\n\n".join(lines)

    def table(self) -> list[dict[str, Any]]:
        """Return one row per contender."""
        return [in_reading_order(row) for row in self.rows]


def release_model(config: Config, model: str, checkpoint: str) -> ReleaseReport:
    """Evaluate a checkpoint, publish the judged model whatever the verdict, and what is offered in its place."""
    layout = open_store(config.store, to_write=True)
    name, settings = config.model(model)
    with watch_stage(config, Stage.RELEASE, corpus=settings.corpus, model=name) as stage:
        report = _release_model(config, layout, name, checkpoint)
        stage.read(lambda: [folder_table(layout.checkpoints / checkpoint, version=checkpoint)])
        stage.made(lambda: [folder_table(layout.models / name, version=report.version)])
        stage.count(new=int(report.is_new))
    return report


def _release_model(config: Config, layout: StoreLayout, name: str, checkpoint: str) -> ReleaseReport:
    check_keys(config)
    if made := _made_before(config, layout, name, checkpoint):
        _settle(config, layout, name, made.offered)
        return made.report(layout)
    production = _production_answers(layout, name)
    trained = read_checkpoint(layout.checkpoints / checkpoint)
    fused = [score["name"] for score in trained["scores"] if score["fused"]]
    judged_fused = fused if config.gate.judge is Judged.ALL else [trained["fused"]]
    for contender in filter(None, (trained["single"], *judged_fused)):
        export_graphs(layout.checkpoints / checkpoint / "release" / contender, onnx=config.release.onnx)
    seal_folder(layout.checkpoints / checkpoint)
    evaluation = evaluate_checkpoint(config, name, checkpoint, production)
    verdict = evaluation.verdict
    judged = _publish(config, layout, evaluation, verdict.judged, verdict, _examined(config, layout, evaluation))
    if verdict.offered not in (NOTHING, verdict.judged):
        single = _judge_single(config, evaluation, production)
        _publish(config, layout, evaluation, verdict.offered, single)
    made = _find_made(layout, name, judged.recipe_digest)
    assert made, f"{name}@{judged.label} was published, and is not to be found"
    _settle(config, layout, name, made.offered)
    return dataclasses.replace(made.report(layout), is_new=True)


def release_reason(config: Config, model: str) -> str:
    """Say why a training and release is due, "" where this very recipe was judged by this very gate before."""
    name, _ = config.model(model)
    layout = open_store(config.store)
    made = _find_made(layout, name, version_recipe(config, current_recipe(config, model)))
    if made is None:
        return "new clips, features or settings since the last release"
    return "the last release was cut short" if _moves_due(config, layout, name, made.offered) else ""


def last_release(config: Config, model: str) -> ReleaseReport | None:
    """Return the release that the current data and settings have led to, if there is one."""
    name, _ = config.model(model)
    return release_of(config, name, checkpoint_name(name, current_recipe(config, model)))


def release_of(config: Config, model: str, checkpoint: str) -> ReleaseReport | None:
    """Return the release that a checkpoint has led to, if there is one."""
    name, _ = config.model(model)
    layout = open_store(config.store)
    made = _made_before(config, layout, name, checkpoint)
    return made.report(layout) if made else None


def version_recipe(config: Config, recipe: str) -> str:
    """Return the digest that ties a version to its training and to the gate that judged it."""
    return digest_of("version", recipe, config.gate.model_dump_json(exclude=config.gate.left_out()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What a recipe has led to: the version that was judged, and the one that may be used."""

    judged: Version
    verdict: Mapping[str, Any]
    offered: Version | None

    def report(self, layout: StoreLayout) -> ReleaseReport:
        """Say it, with what is in production now."""
        return ReleaseReport(
            model=self.judged.name,
            status=self.judged.status,
            version=self.judged.label,
            offered=self.verdict["offered"] if self.offered else NOTHING,
            offered_version=self.offered.label if self.offered else "",
            production=read_aliases(layout.models, self.judged.name).production,
            sentence=self.verdict["sentence"],
            rows=tuple(json.loads(self.judged.read("metrics.json"))["standings"]),
        )


def _made_before(config: Config, layout: StoreLayout, name: str, checkpoint: str) -> _Made | None:
    """Return what this checkpoint and this gate led to before: judging again would compare a version with itself."""
    if not (layout.checkpoints / checkpoint / DONE_NAME).exists():
        return None
    return _find_made(layout, name, version_recipe(config, read_checkpoint(layout.checkpoints / checkpoint)["recipe"]))


def _find_made(layout: StoreLayout, name: str, recipe: str) -> _Made | None:
    """Return what a recipe led to; None where a kill left it without the version that is offered in place of another.

    A single modality that is offered must hold up on its own: where its own gate refused it, nothing is offered.
    """
    made = [version for version in list_versions(layout.models, name) if version.recipe_digest == recipe]
    verdicts = {version.label: json.loads(version.read("verdict.json")) for version in made}
    judged = next((v for v in reversed(made) if len(verdicts[v.label]["standings"]) > 1 or len(made) == 1), None)
    if judged is None:
        return None
    verdict = verdicts[judged.label]
    if verdict["offered"] in (NOTHING, verdict["judged"]):
        offered = judged
    else:
        singles = [v for v in made if v.number > judged.number and verdicts[v.label]["judged"] == verdict["offered"]]
        if not singles:
            return None
        offered = singles[-1]
    return _Made(judged=judged, verdict=verdict, offered=None if offered.status in WITHHELD else offered)


def _settle(config: Config, layout: StoreLayout, name: str, offered: Version | None) -> None:
    """Make the moves that a release still owes; what was moved once, and perhaps taken back by a person, stays."""
    for action in _moves_due(config, layout, name, offered):
        assert offered is not None
        sign_if_asked(config, offered)  # again: its publication may have been killed before it was signed
        why = json.loads(offered.read("verdict.json"))["sentence"]
        move = nominate_version if action == "nominate" else promote_version
        move(layout, name, offered.label, why=why, who=WHO)


def _moves_due(config: Config, layout: StoreLayout, name: str, offered: Version | None) -> tuple[str, ...]:
    """Return which of "nominate" and "promote" a killed release has not done for its version."""
    if offered is None:
        return ()
    aliases = read_aliases(layout.models, name)
    moves = [(entry["action"], entry["version"]) for entry in read_events(layout.models, name)]
    if aliases.last_move:  # its line may be missing in the log
        moves.append((aliases.last_move.action, aliases.last_move.version))
    if any(int(label.partition("-")[0]) > offered.number for _, label in moves):
        return ()  # a later version took its turn
    evidence = json.loads(offered.read("verdict.json")).get("evidence")
    by_itself = config.gate.promote and evidence != Evidence.INSUFFICIENT  # a warning is for a person to read
    by_itself = by_itself and (bool(signing_key(config)) or is_trusted(config, offered))  # or a person signs it first
    wanted = ("nominate", "promote") if by_itself else ("nominate",)
    held = {"nominate": aliases.candidate, "promote": aliases.production}
    return tuple(action for action in wanted if (action, offered.label) not in moves and held[action] != offered.label)


def _judge_single(config: Config, evaluation: Evaluation, production: Answers | None) -> Verdict:
    """Judge the best single modality on its own: against chance, and against production.

    The control was trained on the fused model's inputs and says nothing here; and that it beats chance needs no test
    over groups, which so few could never pass: where they are insufficient, its policy offered it with a warning.
    """
    single = evaluation.candidates[evaluation.verdict.best_single]
    parity = read_parity(evaluation.checkpoint, single.name)
    alone: dict[str, Any] = {"shuffled_control": False, "min_groups": 2, "few_groups": FewGroups.WARNED}
    return decide(
        candidates=(single,),
        config=config.gate.model_copy(update=alone),
        leaks=evaluation.verdict.leaks,
        production=production,
        parities={single.name: parity} if parity else {},
    )


def _examined(config: Config, layout: StoreLayout, evaluation: Evaluation) -> Examination:
    """Ask the judged model again about clips that are there."""
    try:
        return examine(config, evaluation)
    except StoreError:
        _require_unforgotten(layout, evaluation)
        raise


def _require_unforgotten(layout: StoreLayout, evaluation: Evaluation) -> None:
    if redactions_of(layout, evaluation.data.snapshot.core) != evaluation.data.forgotten:
        raise TransientError(f"something was forgotten out of the clips of {evaluation.model} meanwhile. Train again.")


def _publish(
    config: Config,
    layout: StoreLayout,
    evaluation: Evaluation,
    contender: str,
    verdict: Verdict,
    examination: Examination | None = None,
) -> Version:
    """Put a contender's files into a version; beside the verdict what it was examined for."""
    weights = evaluation.checkpoint / "release" / contender
    snapshot = evaluation.data.snapshot
    _require_unforgotten(layout, evaluation)
    inputs = evaluation.settings.inputs
    features = (schema.feature for schema in evaluation.data.schemas)
    fingerprints = dict(zip(features, evaluation.data.fingerprints, strict=True))
    lineage = {
        **trace_snapshot(layout, snapshot),
        "checkpoint": evaluation.checkpoint.name,
        "recipe": evaluation.recipe,
        FOLDS: evaluation.settings.folds,
        **({"snapshot_named": evaluation.settings.snapshot} if evaluation.settings.snapshot else {}),
        "fingerprints": fingerprints,
        **trace_finetuning(config, evaluation, contender),
        "code": trace_code(),
    }
    noiseless = trace_noiseless(layout, snapshot.corpus, fingerprints)
    extraction = trace_settings(config, snapshot.corpus, inputs) | ({"noiseless": noiseless} if noiseless else {})
    # A killed run may have left temporary names there, which begin with a dot.
    files: dict[str, bytes | Path] = {path.name: path for path in sorted(weights.glob("[!.]*")) if path.is_file()}
    files |= {
        "metrics.json": canonical_json(
            {
                "contender": contender,
                "temperature": evaluation.candidates[contender].temperature,
                "measured": {name: asdict(metrics) for name, metrics in evaluation.metrics.items()},
                "without": evaluation.without,
                **({"also": _told_also(evaluation.also)} if evaluation.settings.also else {}),
                **({"imputation": imputation} if (imputation := read_imputation(weights)) else {}),
                "standings": evaluation.table(),
                "measure": evaluation.verdict.measure,
                "worth_per_seed": {name: list(found) for name, found in evaluation.seed_worths.items()},
            }
        ),
        "verdict.json": canonical_json(verdict.as_json()),
        "lineage.json": canonical_json(lineage),
        "extraction.json": canonical_json(extraction),
        "predictions.parquet": to_parquet(evaluation.candidates[contender].predictions),
        **_calibration(evaluation, contender),
    }
    if examination:
        files |= examination.files() | plot_files(examination, shown_classes(evaluation, contender))
    card = describe_model(evaluation, contender, verdict, lineage, tuple(sorted(files)), examination)
    files["README.md"] = render_card(card).encode()
    version = publish_version(
        layout.models,
        evaluation.model,
        files,
        status=verdict.status,
        recipe_digest=version_recipe(config, evaluation.recipe),
    )
    sign_if_asked(config, version)
    return version


def _calibration(evaluation: Evaluation, contender: str) -> dict[str, bytes]:
    """Say how a contender's temperature was found, and what it does: of classes alone, nothing else has one."""
    candidate, seed = evaluation.candidates[contender], evaluation.settings.train.seeds[0]
    parts = range(max(evaluation.settings.folds, 1))
    validation = [fit_folder(evaluation.checkpoint, contender, part, seed).read("val") for part in parts]
    data = describe_calibration(validation, candidate.predictions, candidate.temperature)
    return {CALIBRATION_NAME: data} if data else {}


def _told_also(also: Mapping[str, Mapping[str, Answers]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what each contender's other answers are worth."""
    return {
        contender: {
            name: {"goal": one.goal, "measure": one.measure, "worth": one.worth, "clips": len(one.keys)}
            for name, one in answers.items()
        }
        for contender, answers in also.items()
    }


def _production_answers(layout: StoreLayout, name: str) -> Answers | None:
    if not read_aliases(layout.models, name).production:
        return None
    data = find_version(layout.models, name, "production").read("predictions.parquet")
    return None if is_empty(data) else from_parquet(data)
