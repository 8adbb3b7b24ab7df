"""Write the trees: one line per room in the README, one per file in docs/house.md, from the files' own first lines."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree: ./run docs writes it -->", "<!-- end of tree -->"
ROOMS = (
    ("mmpipe", "floor 0: the nouns, errors, config and durable writes; the public names"),
    ("mmpipe/config", ""),
    ("mmpipe/remote", ""),
    ("mmpipe/look", ""),
    ("mmpipe/sources", ""),
    ("mmpipe/media", ""),
    ("mmpipe/signals", ""),
    ("mmpipe/segment", ""),
    ("mmpipe/weights", ""),
    ("mmpipe/features", ""),
    ("mmpipe/features/encoders", ""),
    ("mmpipe/features/trained", ""),
    ("mmpipe/engine", ""),
    ("mmpipe/engine/device", ""),
    ("mmpipe/engine/ray", ""),
    ("mmpipe/store", ""),
    ("mmpipe/batches", ""),
    ("mmpipe/external", ""),
    ("mmpipe/external/published", ""),
    ("mmpipe/export", ""),
    ("mmpipe/fusion", ""),
    ("mmpipe/fusion/methods", ""),
    ("mmpipe/fusion/encoders", ""),
    ("mmpipe/fusion/backbones", ""),
    ("mmpipe/fusion/goals", ""),
    ("mmpipe/fusion/decoding", ""),
    ("mmpipe/fusion/imputers", ""),
    ("mmpipe/train", ""),
    ("mmpipe/train/objectives", ""),
    ("mmpipe/train/goals", ""),
    ("mmpipe/train/imputation", ""),
    ("mmpipe/train/crossmodal", ""),
    ("mmpipe/train/trackers", ""),
    ("mmpipe/evaluate", ""),
    ("mmpipe/evaluate/answers", ""),
    ("mmpipe/evaluate/measures", ""),
    ("mmpipe/registry", ""),
    ("mmpipe/report", ""),
    ("mmpipe/search", ""),
    ("mmpipe/serve", ""),
    ("mmpipe/app", ""),
    ("mmpipe/starters", ""),
    ("mmpipe/steps", ""),
    ("mmpipe/steps/ground", ""),
    ("mmpipe/steps/workers", ""),
    ("mmpipe/steps/plan", ""),
    ("mmpipe/steps/goals", ""),
    ("mmpipe/steps/ingest", ""),
    ("mmpipe/steps/share", ""),
    ("mmpipe/steps/speed", ""),
    ("mmpipe/steps/extract", ""),
    ("mmpipe/steps/train", ""),
    ("mmpipe/steps/release", ""),
    ("mmpipe/steps/ask", ""),
    ("mmpipe/steps/quarantine", ""),
    ("mmpipe/steps/keep", ""),
    ("mmpipe/steps/shown", ""),
    ("mmpipe/steps/tell", ""),
    ("mmpipe/steps/night", ""),
    ("mmpipe/steps/search", ""),
    ("mmpipe/steps/serve", ""),
    ("mmpipe/steps/app", ""),
    ("mmpipe/steps/extend", ""),
    ("mmpipe/cli", ""),
    ("tasks", ""),
    ("flows", ""),
    ("deployments", ""),
    ("examples", ""),
    ("benchmarks", ""),
    ("benchmarks/readers", ""),
    ("benchmarks/extracting", ""),
    ("benchmarks/peers", ""),
    ("benchmarks/quality", ""),
    ("docs", ""),
)


def render_tree() -> str:
    """Return every file in a line, a section for each folder."""
    return "\n".join(line for folder, about in ROOMS for line in _render_folder(ROOT / folder, about)).strip()


def render_rooms() -> str:
    """Return every folder in a line; those below a room follow it."""
    return "\n".join(f"- `{folder}/`: {_about(ROOT / folder, about)}" for folder, about in ROOMS)


def update(page: Path, tree: str) -> bool:
    """Put a tree between the marks of a page; return whether the page changed."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    after = f"{head}{BEGIN}\n\n{tree}\n\n{END}{tail}"
    if after != text:
        page.write_text(after, encoding="utf-8")
    return after != text


def _render_folder(folder: Path, about: str) -> Iterator[str]:
    files = sorted(path for path in folder.iterdir() if path.suffix == ".py" and path.name != "__init__.py")
    yield f"## {folder.relative_to(ROOT)}\n\n{_about(folder, about)}\n"
    yield from (f"- `{path.name}`: {first_line(path)}" for path in files)
    yield ""


def _about(folder: Path, about: str) -> str:
    package = folder / "__init__.py"
    return about or (first_line(package) if package.exists() else "")


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{path} says nothing about itself: give it a docstring")
    return docstring.splitlines()[0]


PAGES = ((ROOT / "README.md", render_rooms), (ROOT / "docs" / "house.md", render_tree))

if __name__ == "__main__":
    written = [page.name for page, tree in PAGES if update(page, tree())]
    sys.stdout.write(f"{', '.join(written)} written\n" if written else "the trees are up to date\n")
