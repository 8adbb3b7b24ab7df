"""The verbs on features: other teams' datasets, new versions beside old ones, and encoders that are trained here."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated

import typer

from mmpipe.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Corpus,
    DryRun,
    FeatureVersion,
    OnlyDate,
    Reason,
    open_config,
)
from mmpipe.cli.show import Bars, print_json, print_notes, print_rows, print_text
from mmpipe.errors import ConfigError
from mmpipe.external.pin import MatchBy
from mmpipe.types import Modality

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name here, without a version.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, help="Features, ours and those of other teams.", name="feature")
    group.command()(add)
    group.command()(ls)
    group.command()(refresh)
    group.command()(canary)
    group.command()(compare)
    group.command()(deprecate)
    group.command()(train)
    app.add_typer(group)


def add(
    name: Name,
    uri: Annotated[str, typer.Option("--from", metavar="URI", help="Folder, file or URL; it is only ever read.")],
    key: Annotated[
        str, typer.Option(help="Parquet: the key's column. npy files: a pattern over the name, with a group `key`.")
    ] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="The value's column, or several; a tar's member name after the key.")
    ] = None,
    keys: Annotated[str, typer.Option(help="One npy matrix: the text file beside it with a key per row.")] = "",
    match: Annotated[MatchBy | None, typer.Option(help="What their keys name; none: what fits most clips.")] = None,
    match_pattern: Annotated[
        str, typer.Option(help="A regular expression over their whole key; its group `key` is the name.")
    ] = "",
    modality: Annotated[Modality | None, typer.Option(help="What theirs was made from.")] = None,
    reason: Reason = "",
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Register a Parquet, WebDataset or npy dataset of another team as the feature NAME@1, pinned to the byte."""
    from mmpipe.steps.share.external import NewFeature, add_feature

    settings, chosen = open_config(config, corpus)
    new = NewFeature(
        name=name,
        uri=uri,
        key=key,
        columns=tuple(column or ()),
        keys_file=keys,
        match=match,
        match_pattern=match_pattern,
        modality=modality,
        reason=reason,
    )
    report = add_feature(settings, chosen, new, dry_run=dry_run)
    print_rows(report.table(), as_json, "would register" if dry_run else "registered")
    if not (as_json or dry_run):
        print_text(f"Copy its values with: mmpipe extract --corpus {chosen}")
        if settings.corpora[chosen].features is not None:
            print_text(f"The corpus names its features: add {name!r} to `features`, or to `inputs` of a model, first.")


def ls(config: ConfigPath = DEFAULT_CONFIG, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """List the features of a corpus: origin, pin, clips with and without a row, and how each stands."""
    from mmpipe.steps.share.external import list_features

    settings, chosen = open_config(config, corpus)
    print_rows(list_features(settings, chosen), as_json, f"features of {chosen}")


def refresh(
    name: Name,
    reason: Reason = "",
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Take over what another team changed: a new pin, from which every value is copied again."""
    from mmpipe.steps.share.external import refresh_feature

    settings, chosen = open_config(config, corpus)
    report = refresh_feature(settings, chosen, name, reason, dry_run=dry_run)
    print_rows(report.table(), as_json, "would pin" if dry_run else "pinned")


def canary(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A table below `features`, or an extractor that changed.")
    ],
    against: Annotated[str, typer.Option(metavar="NAME[@VERSION]", help="What is read today; none: its kin.")] = "",
    dt: OnlyDate = None,
    shard: Annotated[int, typer.Option(min=0, help="Which shard of the date.")] = 0,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Make one shard of a feature that nobody reads yet, and compare it; nothing is committed."""
    from mmpipe.steps.extract.canary import make_canary

    settings, chosen = open_config(config, corpus)
    with Bars() as bars:
        made = make_canary(settings, chosen, name, against, dt, shard, bars)
    if as_json:
        print_json(asdict(made))
        return
    print_rows(made.table(), False, f"canary of {chosen}")
    print_notes(f"look at it: {text}" for text in (made.likeness.warnings() if made.likeness else ()))


def compare(
    old: Annotated[str, typer.Argument(metavar="OLD[@VERSION]", help="What is read today.")],
    new: Annotated[str, typer.Argument(metavar="NEW[@VERSION]", help="What is to take its place.")],
    dt: OnlyDate = None,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Hold two committed features against each other, clip by clip, in the newest dates."""
    from mmpipe.steps.extract.feature_compare import compare_features

    settings, chosen = open_config(config, corpus)
    found = compare_features(settings, chosen, old, new, dt)
    if as_json:
        print_json(asdict(found))
        return
    print_rows(found.table(), False, f"{found.new} beside {found.old}, {len(found.partitions)} dates of {chosen}")
    print_notes(f"look at it: {text}" for text in found.likeness.warnings())


def deprecate(
    feature: FeatureVersion,
    use: Annotated[str, typer.Option(metavar="NAME@VERSION", help="The feature to use instead.")] = "",
    until: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="It stays at least until then.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for its readers.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the notice back.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Put a notice on a feature's card, and a warning before everybody who opens it."""
    from mmpipe.steps.plan.deprecate import deprecate_feature, restore_feature

    settings, chosen = open_config(config, corpus)
    if undo:
        row = restore_feature(settings, chosen, feature, dry_run)
    else:
        row = deprecate_feature(settings, chosen, feature, use, _last_day(until), reason, dry_run)
    print_rows([row], as_json, "would say" if dry_run else "said")


def train(
    kind: Annotated[str, typer.Argument(metavar="ENCODER", help="text-lstm or audio-speech2vec.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Name of the release; none: the encoder's.")] = "",
    on: Annotated[str, typer.Option(metavar="FEATURE", help="What it reads; none: text-tokens or audio-mfcc.")] = "",
    width: Annotated[int, typer.Option(help="Size of an embedding.")] = 128,
    cell: Annotated[str, typer.Option(help="lstm or gru.")] = "lstm",
    segment_rows: Annotated[int, typer.Option(help="Speech: rows of the feature that make a segment.")] = 50,
    epochs: Annotated[int, typer.Option(help="Passes over the train split.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    config: ConfigPath = DEFAULT_CONFIG,
    corpus: Corpus = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Train an experimental encoder on the train split of a stored feature; its release is an extractor."""
    from mmpipe.steps.release.train_encoder import EncoderOrder, train_encoder
    from mmpipe.train.fit_settings import FitSettings

    settings, chosen = open_config(config, corpus)
    order = EncoderOrder(
        kind=kind,
        corpus=chosen,
        name=name,
        input=on,
        width=width,
        cell=cell,
        segment_rows=segment_rows,
        fit=FitSettings(seed=seed, epochs=epochs),
    )
    report = train_encoder(settings, order, dry_run)
    print_rows(report.table(), as_json, "would train" if dry_run and report.is_new else "trained")


def _last_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--until is a date like 2027-05-01, got {text!r}") from error
