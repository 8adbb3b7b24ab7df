"""Tagged sentences in CoNLL files, also those that name a picture each: any such data set, not one in particular.

A file is read as `conll_lines` says. In a folder the files of the splits are told by their names: `train`, then `dev`,
`valid` or `testa`, then `test` or `testb` (eng.testa of CoNLL-2003 is the validation split). A file alone has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmpipe.errors import ConfigError, SampleError
from mmpipe.external.published.conll_lines import BadSentence, Columns, Sentence, read_sentences
from mmpipe.external.published.sample import Choices, Described, LeftOut, Published, Sample, files_below
from mmpipe.external.published.tag_schemes import TagScheme, find_scheme, is_entity_tag, to_bio
from mmpipe.types import Split

_SUFFIXES = (
    *(".txt", ".conll", ".conllu", ".bio", ".iob", ".iob2", ".tsv"),
    *(".train", ".dev", ".valid", ".testa", ".testb", ".test"),
)
_SPLIT = re.compile(r"(?<![a-z])(?:train|dev|valid|val|testa|testb|test)")  # of several in a name, the last counts
_SPLITS = {"train": Split.TRAIN, "testb": Split.TEST, "test": Split.TEST}  # all others: validation
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_MOST_STEPS = 4096  # of an encoder
_KEPT_FIRST = (Split.TEST, Split.VAL, Split.TRAIN, None)  # where the same words stand in several splits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The sentences of one file."""

    split: Split | None
    read: tuple[Sentence | BadSentence, ...]

    @property
    def name(self) -> str:
        """Return what stands before the number of a sentence in its id."""
        return str(self.split or "all")


def read_conll(path: Path, choices: Choices) -> Published:
    """Return tagged sentences; `path` is a file, or a folder with one file per split. ConfigError where it is neither.

    Every sentence becomes a text of its words, with a blank between, and the label `tags`, with a blank between.
    """
    images = _index_images(choices.images) if choices.images else {}
    parts = [_read(file, split, choices) for file, split in _find(path)]
    sentences = [one for part in parts for one in part.read if isinstance(one, Sentence)]
    scheme = find_scheme([sentence.tags for sentence in sentences])
    if len({tag for sentence in sentences for tag in sentence.tags}) < 2:
        raise ConfigError(f"{path} has one tag only in its column of tags. Name another: --tags")
    longest = max(len(sentence.words) for sentence in sentences)
    inputs = ("image-hogdct", "text-words") if images else ("text-words",)
    group = "document" if any(s.document for s in sentences) else "image" if any(s.image for s in sentences) else "id"
    described = Described(
        group=group,
        target="tags",
        inputs=inputs,
        features={},
        own_features=inputs,
        fusions=("concat",),
        corpus_lines=("text = { repair = false }         # a tag is of one word: none may become two",),
        model_lines=(
            'goal = "tag"',
            *(("goal_options = { crf = true }",) if scheme is not TagScheme.PLAIN else ()),
            f'encoders.text-words = {{ kind = "lstm", bidirectional = true, steps = {_steps(longest)}, '
            "components = 0 }",
        ),
        notes=_notes(sentences, scheme, group, choices),
        has_splits=any(part.split for part in parts),
    )  # fmt: skip
    return Published(described=described, rows=_rows(parts, scheme, images if choices.images else None))


def _steps(longest: int) -> int:
    if longest > _MOST_STEPS:
        raise ConfigError(
            f"the longest sentence has {longest} words, and a network reads at most {_MOST_STEPS}. Is a blank line "
            "missing between its sentences?"
        )
    return min(-(-longest // 16) * 16, _MOST_STEPS)


def _notes(sentences: Sequence[Sentence], scheme: TagScheme, group: str, choices: Choices) -> tuple[str, ...]:
    has_images = any(sentence.image for sentence in sentences)
    read_as = "every word has a tag of its own" if scheme is TagScheme.PLAIN else f"read as {scheme}, written as bio"
    groups = {"document": "groups are documents", "image": "groups are pictures", "id": "every sentence is a group"}
    return (
        f"tags: {read_as}",
        groups[group],
        "the same words with the same picture are one clip: of several the first stays, of test before val and train",
        *(
            ("its sentences name pictures: say by --images where they lie",)
            if has_images and not choices.images
            else ()
        ),
    )


# --------------------------------------------------------------------------- files


def _find(path: Path) -> list[tuple[Path, Split | None]]:
    if path.is_file():
        return [(path, None)]
    found: dict[Split, list[Path]] = {}
    for file in (file for suffix in _SUFFIXES for file in files_below(path, suffix)):
        if said := _SPLIT.findall(file.name.lower()):
            found.setdefault(_SPLITS.get(said[-1], Split.VAL), []).append(file)
    if missing := [str(split) for split in Split if split not in found]:
        raise ConfigError(
            f"{path} has no file called after {' and '.join(missing)}, as train.txt, eng.testa or xx-ud-test.conllu; "
            f"suffixes are {', '.join(_SUFFIXES)}. Cut it from another, or name one file with --from: its splits are "
            "drawn."
        )
    for split, files in found.items():
        if len(files) > 1:
            told = ", ".join(str(file.relative_to(path)) for file in files[:4])
            raise ConfigError(f"{path} has {len(files)} files of {split}: {told}. Leave one of each split there.")
    return [(found[split][0], split) for split in Split if split in found]


def _read(file: Path, split: Split | None, choices: Choices) -> _Part:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not in UTF-8, at byte {error.start}. Convert it, as by: iconv -f ISO-8859-1 -t UTF-8"
        ) from error
    columns = Columns(words=choices.words, tags=choices.tags)
    return _Part(split=split, read=tuple(read_sentences(text, columns, str(file))))


def _index_images(folder: Path) -> Mapping[str, Path]:
    """Return the pictures of a folder by name without suffix; of equal names the first."""
    if not folder.is_dir():
        raise ConfigError(f"--images {folder} is no folder")
    found: dict[str, Path] = {}
    for file in (file for suffix in _PICTURES for file in files_below(folder, suffix)):
        found.setdefault(file.stem, file)
    if not found:
        raise ConfigError(f"--images {folder} has no picture; suffixes are {', '.join(_PICTURES)}")
    return found


# --------------------------------------------------------------------------- rows


def _rows(parts: Sequence[_Part], scheme: TagScheme, images: Mapping[str, Path] | None) -> Iterator[Sample | LeftOut]:
    """Yield what the files hold, split by split in the order of `_KEPT_FIRST`."""
    kept: dict[tuple[str, str], str] = {}
    for part in sorted(parts, key=lambda part: _KEPT_FIRST.index(part.split)):
        for number, one in enumerate(part.read, 1):
            name = f"{part.name}/{number:06d}"
            if isinstance(one, BadSentence):
                yield LeftOut(row=name, code=one.code, detail=one.detail)
                continue
            if scheme is not TagScheme.PLAIN and (strange := [tag for tag in one.tags if not is_entity_tag(tag)]):
                line = one.lines[one.tags.index(strange[0])]
                detail = (
                    f"line {line}: the tag {strange[0][:40]!r} is not O, B-TYPE or I-TYPE, as the others. Correct it"
                )
                yield LeftOut(row=name, code="bad_tag", detail=detail)
                continue
            try:
                image = _image(one, images)
            except SampleError as error:
                yield LeftOut(row=f"{name} image", code=error.code, detail=error.detail)
                image = None
            text = " ".join(one.words)
            if (twin := kept.setdefault((text, str(image or "")), name)) != name:
                yield LeftOut(row=name, code="same_words", detail=f"line {one.lines[0]}: {twin} has the same words")
                continue
            yield Sample(
                id=name, split=part.split, labels=_labels(one, part, scheme), text=text, picture_file=image
            )  # fmt: skip


def _labels(one: Sentence, part: _Part, scheme: TagScheme) -> dict[str, str | float | list[str]]:
    tags = one.tags if scheme is TagScheme.PLAIN else to_bio(one.tags)
    labels: dict[str, str | float | list[str]] = {"tags": " ".join(tags)}
    if one.document:
        labels["document"] = f"{part.name}-{one.document}"
    if one.image:
        labels["image"] = f"{part.name}-{one.image}"
    if one.sent_id:
        labels["sent_id"] = one.sent_id
    return labels


def _image(one: Sentence, images: Mapping[str, Path] | None) -> Path | None:
    """Return the picture of a sentence, None where it names none; SampleError no_image where it is not there."""
    if not one.image or images is None:
        return None
    found = images.get(one.image) or images.get(Path(one.image).stem)
    if found is None:
        raise SampleError("no_image", f"line {one.lines[0]}: there is no picture {one.image!r}; the words stay")
    return found
