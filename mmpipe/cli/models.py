"""The verbs on published models."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mmpipe.cli import names
from mmpipe.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, DryRun
from mmpipe.cli.show import print_json, print_rows, print_text
from mmpipe.config import load_config
from mmpipe.store.layout import StoreLayout

Reference = Annotated[
    str,
    typer.Argument(
        metavar="NAME@VERSION", autocompletion=names.models, help="NAME, NAME@3, NAME@3-0a1b2c3d or NAME@production."
    ),
]
Why = Annotated[str, typer.Option(help="The reason, kept in the log.")]


def register(app: typer.Typer) -> None:
    """Add the verbs under `models`."""
    group = typer.Typer(
        no_args_is_help=True, help="Published models: list, show, promote, roll back, sign.", name="models"
    )
    for verb in (ls, show, promote, rollback, sign, verify):
        group.command()(verb)
    app.add_typer(group)


def ls(
    name: Annotated[str | None, typer.Argument(autocompletion=names.models, help="One model; none: all.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List the versions and where the aliases point."""
    from mmpipe.registry.aliases import read_aliases
    from mmpipe.registry.taint import read_taint
    from mmpipe.registry.versions import list_models, list_versions, require_model

    root = StoreLayout(load_config(config).store).models
    rows = []
    if name:
        require_model(root, name)
    for model in [name] if name else list_models(root):
        aliases = read_aliases(root, model).names
        for version in list_versions(root, model):
            pointing = ", ".join(alias for alias, label in aliases.items() if label == version.label)
            rows.append({"model": model, "version": version.label, "status": version.status, "aliases": pointing})
            if read_taint(root, model, version.label):
                rows[-1]["tainted"] = "trained on what was forgotten since" + "; redacted" * bool(version.redaction)
    print_rows(rows, as_json, "models")


def show(reference: Reference, config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show a version's card, or its verdict as JSON."""
    from mmpipe.registry.aliases import find_version, parse_reference, read_aliases
    from mmpipe.registry.taint import read_taint
    from mmpipe.registry.versions import list_versions

    root = StoreLayout(load_config(config).store).models
    named = parse_reference(reference)
    ref = named.ref
    if "@" not in reference and not read_aliases(root, named.name).production:
        versions = list_versions(root, named.name)
        ref = versions[-1].label if versions else ref  # nothing in production: the newest is what one wants to see
    version = find_version(root, named.name, ref)
    taint = read_taint(root, version.name, version.label)
    if as_json:
        print_json(
            {
                "model": version.name,
                "version": version.label,
                "digest": version.digest,
                "status": version.status,
                "path": str(version.path),
                "verdict": json.loads(version.read("verdict.json")),
                "metrics": json.loads(version.read("metrics.json")),
                "lineage": json.loads(version.read("lineage.json")),
                "tainted": str(taint or ""),
            }
        )
    else:
        print_text(version.read("README.md").decode().split("---\n", 2)[-1].strip())
        print_text(f"\nfiles: {version.path}")
        if taint:
            print_text(str(taint))
        if version.redaction:
            print_text("redacted: its names and answers were taken out of this folder, which has new sums")


def promote(
    reference: Reference,
    why: Why,
    config: ConfigPath = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option(help="Also a refused version; that is recorded.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Put a version in production."""
    from mmpipe.registry.aliases import find_version, parse_reference, read_aliases
    from mmpipe.steps.release.promotion import promote_version
    from mmpipe.steps.release.sign import trusted_label

    named = parse_reference(reference)
    settings = load_config(config)
    layout = StoreLayout(settings.store)
    root = layout.models
    label = trusted_label(settings, named.name, named.ref)
    if dry_run:
        version = find_version(root, named.name, named.ref)
        now = read_aliases(root, named.name).production or "none"
        print_text(f"would put {named.name}@{version.label} ({version.status}) in production; now it is {now}")
        return
    aliases = promote_version(layout, named.name, label, why=why, force=force)
    print_text(f"{named.name}: production is {aliases.production}, previous is {aliases.previous or 'none'}")


def rollback(
    name: Annotated[str, typer.Argument(autocompletion=names.models, help="The model.")],
    why: Why,
    config: ConfigPath = DEFAULT_CONFIG,
    dry_run: DryRun = False,
) -> None:
    """Put the previous version back in production."""
    from mmpipe.registry.aliases import find_version, read_aliases
    from mmpipe.steps.release.promotion import roll_back
    from mmpipe.steps.release.sign import trusted_label

    settings = load_config(config)
    layout = StoreLayout(settings.store)
    root = layout.models
    if read_aliases(root, name).previous:
        trusted_label(settings, name, "previous")
    if dry_run:
        version = find_version(root, name, "previous")
        now = read_aliases(root, name).production or "none"
        print_text(f"would put {name}@{version.label} back in production; now it is {now}")
        return
    aliases = roll_back(layout, name, why=why)
    print_text(f"{name}: production is {aliases.production}")


def sign(
    reference: Reference,
    key: Annotated[
        Path | None, typer.Option(help="PEM file of the private key; none: MMPIPE_SIGN_KEY, or release.sign_key.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Sign a version: Ed25519 over its SHA256SUMS, put beside it."""
    from mmpipe.steps.release.sign import sign_release

    made = sign_release(load_config(config), reference, key, dry_run=dry_run)
    if as_json:
        print_json(asdict(made))
    elif dry_run:
        print_text(f"would sign {made.model}@{made.version}")
    else:
        how = "signed" if made.is_new else "nothing to do: it was signed"
        print_text(f"{made.model}@{made.version}: {how} by the key {made.key_sha256[:16]}")


def verify(
    reference: Reference,
    public: Annotated[Path | None, typer.Option(help="PEM file of the public key; none: release.public_key.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Check a version's bytes and its signature (exit 4: it has none of this key; 1: it is not valid)."""
    from mmpipe.steps.release.sign import verify_signature

    found = verify_signature(load_config(config), reference, public)
    if as_json:
        print_json(asdict(found))
    else:
        print_text(f"{found.model}@{found.version}: whole, and signed by the key {found.key_sha256[:16]}")
