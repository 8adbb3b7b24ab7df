"""The verbs that train a model, judge it and publish it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    DryRun,
    FocusOn,
    Model,
    SnapshotRef,
)
from mmpipe.cli.show import Bars, plain, print_json, print_notes, print_rows, print_text
from mmpipe.config import Config, Focus, load_config
from mmpipe.errors import GateRefused


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (train, evaluate, publish):
        app.command()(verb)


def train(
    config: ConfigPath = DEFAULT_CONFIG,
    model: Model = None,
    snapshot: SnapshotRef = None,
    focus: FocusOn = None,
    dry_run: DryRun = False,
) -> None:
    """Train every contender of a model on a frozen snapshot."""
    from mmpipe.steps.train.finetune_change import change_rows, measure_change
    from mmpipe.steps.train.model_check import check_networks
    from mmpipe.steps.train.train import is_trained, train_model
    from mmpipe.train.ranks import speaks

    asked = _asked_for(config, model, snapshot, focus)
    if asked is None:
        return
    settings, name = asked
    if dry_run:
        check_networks(settings, name)
        print_text(f"nothing to do: {name} is trained" if is_trained(settings, name) else f"would train {name}")
        return
    with Bars() as bars:
        made = train_model(settings, name, bars)
    if not speaks():
        return  # rank 0 of those that torchrun started says it
    print_rows(made.table(), False, f"contenders of {name}")
    print_notes(made.notes)
    if rows := change_rows(measure_change(settings, name, made.checkpoint)):
        print_rows(rows, False, "change, on the same clips")
    pinned = (f" --snapshot {snapshot}" if snapshot else "") + (f" --focus {focus.value}" if focus else "")
    print_text(f"checkpoint: {made.checkpoint}. Next: mmpipe evaluate{pinned}, mmpipe publish{pinned}")


def _asked_for(
    config: Path, model: str | None, snapshot: str | None, focus: Focus | None, as_json: bool = False
) -> tuple[Config, str] | None:
    """Return the config that the options come to, and the model; None where there is nothing to do, and say so."""
    from mmpipe.steps.train.training_set import pin_snapshot

    settings = load_config(config)
    name, _ = settings.model(model)
    settings = pin_snapshot(settings, name, snapshot)
    if focus is None:
        return settings, name
    from mmpipe.steps.train.finetune_focus import focus_model

    found = focus_model(settings, name)
    if found.config is not None:
        typer.echo(plain(found.sentence), err=True)
        return found.config, name
    if as_json:
        print_json({"focus": focus.value, "done": False, "why": found.sentence})
    else:
        print_text(found.sentence)
    return None


def evaluate(
    config: ConfigPath = DEFAULT_CONFIG,
    model: Model = None,
    snapshot: SnapshotRef = None,
    focus: FocusOn = None,
    as_json: AsJson = False,
) -> None:
    """Measure the last training, and say what the gate would (exit 4: refused)."""
    from mmpipe.steps.release.describe_examined import weak_sentence
    from mmpipe.steps.release.evaluate import evaluate_checkpoint, is_refused
    from mmpipe.steps.release.examine import examine
    from mmpipe.steps.train.train import newest_checkpoint

    asked = _asked_for(config, model, snapshot, focus, as_json)
    if asked is None:
        return
    settings, name = asked
    found = evaluate_checkpoint(settings, name, newest_checkpoint(settings, name))
    examined = examine(settings, found)
    if as_json:
        print_json(
            {
                "verdict": found.verdict.as_json(),
                "metrics": {k: asdict(m) for k, m in found.metrics.items()},
                "ablation": examined.ablation.as_json() if examined.ablation else None,
                "robustness": examined.robustness.as_json(),
                "figures": examined.figures.as_json(),
            }
        )
    else:
        print_rows(found.table(), False, f"contenders of {name}")
        checks = found.verdict.checks
        rows = [{"check": c.name, "holds": c.passed, "value": c.value, "limit": c.limit} for c in checks]
        print_rows(rows, False, "gate")
        print_rows(examined.table(), False, f"what each modality brings to {found.verdict.judged}")
        print_text(weak_sentence(examined))
        print_text(found.verdict.sentence)
    if is_refused(found):
        raise GateRefused(f"{found.verdict.judged} would be refused; offered: {found.verdict.offered}")


def publish(
    config: ConfigPath = DEFAULT_CONFIG,
    model: Model = None,
    snapshot: SnapshotRef = None,
    focus: FocusOn = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Publish the last training with its verdict (exit 4: refused, and kept as such)."""
    from mmpipe.registry.aliases import WITHHELD
    from mmpipe.steps.release.release import last_release, release_model
    from mmpipe.steps.train.train import newest_checkpoint

    asked = _asked_for(config, model, snapshot, focus, as_json)
    if asked is None:
        return
    settings, name = asked
    checkpoint = newest_checkpoint(settings, name)
    if dry_run:
        there = last_release(settings, name)
        print_text(f"nothing to do: it is {name}@{there.version}" if there else f"would publish {checkpoint}")
        return
    made = release_model(settings, name, checkpoint)
    if as_json:
        print_json(asdict(made))
    else:
        print_text(made.summary().replace("**", "").replace("`", ""))
    if made.status in WITHHELD:
        raise GateRefused(f"{name}@{made.version} was refused; it is kept with its report")
