"""What a person types: results on stdout, all else on stderr, and exit codes that say how it ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kill_corpus import CORPUS
from search_project import MODEL, SOUND, TEXT, Project

from mmpipe.cli import main
from mmpipe.registry.versions import list_versions

pytestmark = pytest.mark.usefixtures("warm_workers")
CONFIG = f"""
store = "store"
[corpora.{CORPUS}]
root = "media"
features = ["{SOUND}", "{TEXT}"]
[models.{MODEL}]
corpus = "{CORPUS}"
goal = "retrieve"
target = ""
inputs = ["{SOUND}", "{TEXT}"]
"""


@pytest.fixture
def typed(project: Project, capfd: pytest.CaptureFixture[str]):
    """Return a function that types a line about the project: exit code, stdout, stderr."""
    path = project.folder / "search.toml"
    path.write_text(CONFIG, encoding="utf-8")

    def type_line(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["search", "--config", str(path), *words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return int(end.value.code or 0), out, err

    return type_line


def test_a_table_for_people_and_json_for_programs(typed, project: Project) -> None:
    code, out, _ = typed("--model", f"{MODEL}@1", "--text", "a thing of ice 5", "--in", "audio", "-k", "3")
    assert code == 0 and f"{SOUND}@1 of {CORPUS}, by {TEXT}@1" in out
    code, told, err = typed("--model", f"{MODEL}@1", "--text", "a thing of ice 5", "--in", "audio", "-k", "3", "--json")
    found = json.loads(told)
    assert code == 0 and [one["rank"] for one in found["found"]] == [1, 2, 3]
    assert all(one["key"] in out for one in found["found"]) and found["how"] == "exact"
    (version,) = list_versions(project.folder / "store" / "models", MODEL)
    assert (version.status == "refused") == ("refused by the gate" in err)


def test_the_check_is_a_verb_too(typed) -> None:
    code, out, _ = typed("--model", f"{MODEL}@1", "--check", "--json")
    made = json.loads(out)
    assert code == 0 and made["holds"] and {"query r@1", "item mrr"} <= {one["name"] for one in made["measures"]}
    assert typed("--model", f"{MODEL}@1", "--check", "--text", "x")[0] == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--text", "x"), 2, "--in video"),
        (("--in", "text"), 2, "ask one thing"),
        (("--in", "text", "--text", "x", "--clip", "y"), 2, "ask one thing"),
        (("--in", "text", "--text", "x", "--where", "what"), 2, "COLUMN=VALUE"),
        (("--in", "video", "--text", "x"), 3, "knows nothing of 'video'"),
        (("--in", "text", "--text", " "), 3, "is empty"),
        (("--in", "text", "--clip", "nobody"), 3, "no clip 'nobody'"),
    ],
)
def test_what_cannot_be_asked_says_why(typed, words: tuple[str, ...], code: int, said: str) -> None:
    ended, out, err = typed("--model", f"{MODEL}@1", *words)
    assert ended == code and said in " ".join(err.split()) and not out


def test_a_config_without_such_a_model_says_what_is_missing(typed, project: Project) -> None:
    path = Path(project.folder / "search.toml")
    path.write_text(CONFIG.partition("[models")[0], encoding="utf-8")
    code, _, err = typed("--in", "text", "--text", "x")
    assert code == 3 and 'goal = "retrieve"' in err
