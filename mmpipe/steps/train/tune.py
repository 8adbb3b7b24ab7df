"""Search for better settings of a model: trials on a frozen snapshot, judged by validation clips alone.

A search goes on where it was killed, and several processes may work on one. Test clips are never read: `TuneTrials`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mmpipe.config import Config, ModelConfig, TunedParts
from mmpipe.errors import ConfigError, MmpipeError, StoreError, TransientError
from mmpipe.io import replace_bytes
from mmpipe.steps.ground.progress import SILENT, Progress
from mmpipe.steps.train.finetune import find_beginning
from mmpipe.steps.train.train import refuse_told_labels
from mmpipe.steps.train.training_set import TrainingSet, open_training_set
from mmpipe.steps.train.tune_again import Finalist, read_finalists, train_again
from mmpipe.steps.train.tune_journal import require_optuna
from mmpipe.steps.train.tune_report import BEST_NAME, TuneReport, best_toml, trial_rows
from mmpipe.steps.train.tune_space import FUSION, Axis, check_axes, list_axes, model_at, tried_fusions
from mmpipe.steps.train.tune_study import Asked, TuneStudy
from mmpipe.steps.train.tune_trial import TuneTrials
from mmpipe.store.layout import open_store
from mmpipe.types import digest_of

TUNING_VERSION = 1  # part of every search's digest: raise it when a trial gives other numbers for the same input


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search, and what it is of."""

    name: str
    model: ModelConfig
    data: TrainingSet
    trials: TuneTrials
    axes: tuple[Axis, ...]
    study: TuneStudy


def tune_model(
    config: Config, model: str | None, num_trials: int, timeout_s: float | None = None, progress: Progress = SILENT
) -> TuneReport:
    """Do the trials that are missing of so many, then train the best again with several seeds.

    After `timeout_s` no trial is begun.
    """
    started_s = time.monotonic()
    search = open_search(config, model, to_write=True)
    study = search.study
    num_new = 0
    with study.work(_about(search)):
        progress.start("tune", study.num_left(num_trials))
        while timeout_s is None or time.monotonic() - started_s < timeout_s:
            with study.ask(num_trials) as asked:
                if asked is None:
                    break
                _do_trial(search, asked, progress)
            num_new += 1
            progress.advance("tune")
        if not study.num_running():  # else the last process does it
            train_again(study, search.trials, search.model, progress)
        report = tell(search, num_trials, num_new, time.monotonic() - started_s)
        if report.toml:
            replace_bytes(study.folder / BEST_NAME, report.toml.encode())
    return report


def look_at_search(config: Config, model: str | None, num_trials: int) -> TuneReport:
    """Return a search as it stands, and make nothing."""
    search = open_search(config, model, to_write=False)
    search.study.look()
    return tell(search, num_trials, 0, 0.0)


def open_search(config: Config, model: str | None, *, to_write: bool) -> Search:
    """Return what a search is of; refuse what no trial of it could do."""
    require_optuna()
    name, settings = config.model(model)
    _, source = config.corpus(settings.corpus)
    layout = open_store(config.store, to_write=to_write)
    data = open_training_set(config, settings)
    refuse_told_labels(name, data)
    beginning = find_beginning(config, settings, data)
    trials = TuneTrials(settings, source, data, beginning)
    fused = len(trials.schemas) > 1
    if fused:
        check_axes(settings)
    axes = list_axes(settings, fused=fused)
    if not axes:
        raise ConfigError(f"models.{name}.tune leaves nothing to try: give one of its keys a range or choices")
    digest = digest_of(
        "tune",
        TUNING_VERSION,
        data.snapshot.core.digest,
        settings.model_dump_json(exclude={**settings.left_out(), "snapshot": True}),
        settings.tune.model_dump_json(exclude={**settings.tune.left_out(), "top": True, "seeds": True}),
        source.split.model_dump_json(),
        *data.fingerprints,
        *(("forgotten", *data.forgotten) if data.forgotten else ()),
        *(beginning.marks if beginning else ()),
    )
    folder = layout.runs / "tune" / f"{name}-{digest[:24]}"
    most_epochs = settings.train.epochs * len(trials.parts)
    return Search(
        name=name,
        model=settings,
        data=data,
        trials=trials,
        axes=axes,
        study=TuneStudy(folder, settings.tune, axes, most_epochs),
    )


def tell(search: Search, num_trials: int, num_new: int, seconds: float) -> TuneReport:
    """Return a search as it stands."""
    finalists = read_finalists(search.study, search.model)
    rows = trial_rows(search.study)
    best = _best(search, finalists)
    if num_new and not best and not search.study.num_left(num_trials):
        why = sorted({row["why"] for row in rows if row["why"]})[:3]
        raise ConfigError(f"no trial of {search.name} could be finished: {'; '.join(why)}")
    fusions = (str(best.get(FUSION) or tried_fusions(search.model)[0]),) if len(search.trials.schemas) > 1 else ()
    return TuneReport(
        model=search.name,
        study=search.study.name,
        folder=str(search.study.folder),
        snapshot=search.data.snapshot.digest,
        measure=f"validation {search.model.tune.measure.value}",
        axes=search.axes,
        trials=rows,
        finalists=finalists,
        best=best,
        toml=best_toml(search.name, best, fusions) if best else "",
        num_left=search.study.num_left(num_trials),
        num_running=search.study.num_running(),
        num_new=num_new,
        seconds=seconds,
    )


def _do_trial(search: Search, asked: Asked, progress: Progress) -> None:
    """Train what a trial stands for; what does not go together, diverges or falls behind is ended, with the reason."""
    import torch

    study, trial = search.study, asked.trial
    name = f"trial {trial.number}" + (f" ({asked.point[FUSION]})" if FUSION in asked.point else "")

    def on_value(epoch: int, value: float, said: str) -> None:
        progress.advance("tune", 0, f"{name}, {said}")
        trial.report(value, epoch)
        if trial.should_prune():
            raise _FallsBehind(f"fell behind the others: {said}")

    try:
        model = model_at(search.model, asked.point)
        study.answer(asked, search.trials.train(model, model.train.seeds[0], on_value))
    except (StoreError, TransientError):
        raise  # not the trial's fault: it is begun again
    except MmpipeError as error:
        study.give_up(asked, " ".join(str(error).split()))
    except torch.OutOfMemoryError as error:
        study.give_up(asked, f"the device's memory did not suffice: {error}")


class _FallsBehind(MmpipeError):
    """A trial that does worse than the others did at that point."""


def _best(search: Search, finalists: tuple[Finalist, ...]) -> dict[str, object]:
    """Return the best point: by the mean over the seeds where they are all known, else by the trials alone."""
    if finalists and set(finalists[0].values) == set(search.model.tune.seeds) and finalists[0].mean is not None:
        return dict(finalists[0].point)
    best = search.study.best(1)
    return dict(best[0].params) if best else {}


def _about(search: Search) -> dict[str, object]:
    tune = search.model.tune
    return {
        "model": search.name,
        "snapshot": search.data.snapshot.digest,
        "settings": search.model.model_dump(mode="json"),
        "parts": "all" if tune.parts is TunedParts.ALL else "the first",
        "train_clips": [len(part.train_rows) for part in search.trials.parts],
        "validation_clips": [len(part.val_rows) for part in search.trials.parts],
        "optuna": str(require_optuna().__version__),
    }
