"""Every verb in one table: where it stands in `mmpipe --help`, in a line, which file has it, and an example of each.

A file of verbs is imported when one of its verbs is typed, and not before: `mmpipe --help` reads this table alone.
"""

from __future__ import annotations

from dataclasses import dataclass

NIGHTS, STEPS, MODELS = "From a folder to a night", "One step of a night", "Models"
LOOKING, SHARING, KEEPING = "What there is, and why", "For other teams and programs", "How the store is kept"
EXTENDING, HELPING = "What is your own", "Help"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A verb, or a group of them, as `mmpipe --help` tells it."""

    name: str
    room: str  # the module of mmpipe.cli that registers it
    panel: str
    about: str
    examples: tuple[str, ...]  # one at least of each verb below it, without `mmpipe`


def _of(panel: str, name: str, room: str, about: str, *examples: str) -> Verb:
    return Verb(name=name, room=room, panel=panel, about=about, examples=examples)


VERBS: tuple[Verb, ...] = (
    _of(NIGHTS, "init", "init", "Look at a folder and write a config for it.", "init --corpus street"),
    _of(NIGHTS, "import", "published", "Make a corpus of a published data set.", "import mosi --from MOSI --out mosi"),
    _of(NIGHTS, "plan", "ledger", "Say what is due and why, and what it will take.", "plan --feature audio-logmel"),
    _of(NIGHTS, "run", "make", "Do a whole night, from ingest to report.", "run --dt 2026-11-20"),
    _of(
        NIGHTS,
        "backfill",
        "make",
        "Bring a range of dates up to the config of today.",
        "backfill --from 2026-11-01 --to 2026-11-20 --dry-run",
    ),
    _of(STEPS, "ingest", "make", "Take in what is new in a corpus.", "ingest --dry-run"),
    _of(STEPS, "extract", "make", "Make the features that are due.", "extract --feature audio-logmel"),
    _of(STEPS, "train", "train", "Train every contender on a frozen snapshot.", "train --snapshot paper"),
    _of(STEPS, "evaluate", "train", "Measure the last training, and ask the gate.", "evaluate --json"),
    _of(STEPS, "publish", "train", "Publish the last training with its verdict.", "publish --dry-run"),
    _of(STEPS, "report", "make", "Write the HTML page of a corpus.", "report --dt 2026-11-20"),
    _of(
        MODELS,
        "models",
        "models",
        "Published models: list, promote, roll back, sign.",
        "models ls",
        "models show street-event@production",
        'models promote street-event@1 --why "known good"',
        'models rollback street-event --why "worse at night"',
        "models sign street-event@1 --key key.pem",
        "models verify street-event@1 --public key.pub",
    ),
    _of(
        MODELS,
        "predict",
        "predict",
        "Ask a published model about files or folders.",
        "predict walk.mp4 --model street-event",
        "predict street --model street-event --out answers.parquet",
    ),
    _of(MODELS, "serve", "serve", "Answer questions to a model over HTTP.", "serve --model street-event --port 8080"),
    _of(MODELS, "tune", "tune", "Search for better settings of a model.", "tune --trials 50"),
    _of(MODELS, "reproduce", "reproduce", "Train a release again, and compare.", "reproduce street-event@1"),
    _of(MODELS, "fusions", "fusions", "Show every fusion: formula, source, options.", "fusions lmf"),
    _of(MODELS, "goals", "goals", "Show what a model may answer, and its measures.", "goals regress"),
    _of(LOOKING, "status", "ledger", "Show how far every date and feature is.", "status --json"),
    _of(LOOKING, "ls", "browse", "List the datasets of the store.", "ls --json"),
    _of(LOOKING, "show", "browse", "Show what is known of a clip.", "show walk"),
    _of(LOOKING, "schema", "browse", "Show what a feature promises.", "schema audio-logmel"),
    _of(LOOKING, "sample", "browse", "Show values of a few clips.", "sample audio-logmel -n 3"),
    _of(
        LOOKING,
        "search",
        "search",
        "Find clips by a text, a file or another clip.",
        'search --text "a dog barks" --in audio --model street-find',
    ),
    _of(
        LOOKING,
        "quarantine",
        "quarantine",
        "What could not be used, and why.",
        "quarantine ls",
        "quarantine show not_media",
        "quarantine retry --code no_stream",
        'quarantine release filtered_quiet --reason "quiet on purpose"',
    ),
    _of(LOOKING, "probe", "check", "Say what raw files are, or why they are of no use.", "probe walk.mp4"),
    _of(LOOKING, "doctor", "check", "Check this machine and config.", "doctor"),
    _of(LOOKING, "config", "config", "Show every key of the config.", "config corpora.clips"),
    _of(LOOKING, "metrics", "metrics", "Print the store's state for Prometheus.", "metrics --output mmpipe.prom"),
    _of(LOOKING, "app", "app", "Show the store in a browser.", "app --port 8765 --no-open"),
    _of(LOOKING, "bench", "bench", "How fast it is here, and could be.", "bench extract --clips 200"),
    _of(
        SHARING,
        "export",
        "export",
        "Write features as WebDataset, Parquet, Lance, HF.",
        "export --to webdataset --out shards",
    ),
    _of(
        SHARING,
        "feature",
        "feature",
        "Features, ours and those of other teams.",
        "feature add clap --from clap.parquet --key id --modality audio",
        "feature ls",
        "feature refresh clap",
        "feature canary audio-mfccseg",
        "feature compare audio-mfccseg mfcc-next",
        'feature deprecate audio-mfccseg@1 --use mfcc-next@1 --until 2027-05-01 --reason "narrower bands"',
        "feature train text-lstm --dry-run",
    ),
    _of(SHARING, "bank", "banks", "Noise banks, frozen from train clips.", "bank ls", "bank make street --dry-run"),
    _of(KEEPING, "verify", "check", "Check every committed byte, and mend it.", "verify --repair --dry-run"),
    _of(
        KEEPING,
        "snapshot",
        "keep",
        "Frozen states of the store, by name.",
        'snapshot create paper --reason "for the paper"',
        "snapshot ls",
        "snapshot show paper",
        'snapshot drop paper --reason "published"',
        "snapshot diff paper head",
    ),
    _of(KEEPING, "gc", "keep", "List or remove what nothing rests on.", "gc --older-than 30"),
    _of(KEEPING, "audit", "keep", "Show who did what to the store, when and why.", "audit --json"),
    _of(KEEPING, "forget", "life", "Forget a recording everywhere.", 'forget walk --reason "asked for" --dry-run'),
    _of(KEEPING, "compact", "life", "Repack small shards into full ones.", "compact --dry-run"),
    _of(KEEPING, "migrate", "life", "Bring an older store up to this layout.", "migrate --dry-run"),
    _of(EXTENDING, "new", "extend", "Write a plug-in package that works.", "new extractor audio-rhythm --dry-run"),
    _of(EXTENDING, "check", "extend", "Check what you brought against its golden.", "check extractor audio-logmel"),
    _of(
        HELPING,
        "completion",
        "completion",
        "Print what makes a shell complete `mmpipe`.",
        "completion bash",
        "completion zsh",
        "completion fish",
    ),
)
PANELS = tuple(dict.fromkeys(verb.panel for verb in VERBS))
