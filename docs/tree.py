"""Write the README's tree: one line per file, taken from the file's own first line."""

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
    ("mmpipe/steps", ""),
    ("mmpipe/steps/ingest", ""),
    ("mmpipe/steps/quarantine", ""),
    ("mmpipe/steps/plan", ""),
    ("mmpipe/steps/extract", ""),
    ("mmpipe/steps/workers", ""),
    ("mmpipe/steps/speed", ""),
    ("mmpipe/steps/train", ""),
    ("mmpipe/steps/goals", ""),
    ("mmpipe/steps/release", ""),
    ("mmpipe/steps/keep", ""),
    ("mmpipe/steps/share", ""),
    ("mmpipe/steps/tell", ""),
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
    """Return the tree as Markdown, one folded list per folder."""
    return "\n".join(section for folder, about in ROOMS for section in _render_folder(ROOT / folder, about))


def update_readme(readme: Path = ROOT / "README.md") -> bool:
    """Put the tree between its marks; return whether the README changed."""
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    after = f"{head}{BEGIN}\n\n{render_tree()}\n{END}{tail}"
    if after != text:
        readme.write_text(after, encoding="utf-8")
    return after != text


def _render_folder(folder: Path, about: str) -> Iterator[str]:
    files = sorted(path for path in folder.iterdir() if path.suffix == ".py" and path.name != "__init__.py")
    package = folder / "__init__.py"
    about = about or (first_line(package) if package.exists() else "")
    yield f"<details><summary><code>{folder.relative_to(ROOT)}/</code> {about}</summary>\n"
    yield from (f"- `{path.name}`: {first_line(path)}" for path in files)
    yield "\n</details>"


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{path} says nothing about itself: give it a docstring")
    return docstring.splitlines()[0]


if __name__ == "__main__":
    sys.stdout.write("README.md written\n" if update_readme() else "README.md is up to date\n")
