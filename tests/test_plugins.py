"""Plug-ins: found by entry points, imported when asked for, refused by name where something is wrong with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from plugin_site import announce

REPOSITORY = Path(__file__).resolve().parent.parent

GOOD = """
from mmpipe.features.text_words import TextWords
from mmpipe.fusion.methods.pool_mean import PoolMean
from mmpipe import Table

class Loud(TextWords):
    name = "text-loud"

class Other(TextWords):
    name = "text-another"

class Backwards(TextWords):
    name = "text-backwards"
    version = 0

class Mean(PoolMean):
    "z = mean. Use it never."

class Options(Table):
    "What it takes."
    depth: int = 3

class Shelf:
    Params = Options
    def __init__(self, params, root):
        self.params = params
    def objects(self):
        return []
    def open(self, name):
        raise FileNotFoundError(name)

class Thing:
    pass

class Falls(TextWords):
    name = "text-falls"
    def __init__(self, params):
        raise KeyError("its own")

class Shapeless(TextWords):
    name = "text-shapeless"
    @property
    def schema(self):
        raise KeyError("its own")
    @schema.setter
    def schema(self, value):
        pass

class Depth(Table):
    depth: int

class Asks(TextWords):
    name = "text-asks"
    Params = Depth

class Shut(Table):
    depth: int = 3
    def __init__(self, **values):
        raise KeyError("its own")

class Closed(TextWords):
    name = "text-closed"
    Params = Shut

class Hollow:
    Params = Options
    def __init__(self, params):
        self.name = "text-hollow"
"""

ASK = """
import json, sys
from mmpipe.errors import MmpipeError
from mmpipe.features.registry import extractor_names, make_extractor
from mmpipe.fusion.facts import list_fusions
from mmpipe.fusion.registry import fusion_class, fusion_names, register_fusion
from mmpipe.sources.plugged import make_source, source_names
from mmpipe.steps.tell.config_keys import find_keys
from mmpipe.steps.tell.doctor_plugins import check_plugins

def said(call):
    try:
        return repr(call())
    except MmpipeError as error:
        return f"{type(error).__name__}: {error}"

told = {"listed": [extractor_names(), fusion_names(), source_names()], "imported": sorted({"good", "broken"} & set(sys.modules))}
for name in json.loads(sys.argv[1]):
    told[name] = said(lambda: make_extractor(name).schema.feature)
    told[f"fusion {name}"] = said(lambda: fusion_class(name))
    told[f"source {name}"] = said(lambda: make_source(name, {}, "/nowhere").objects())
told["options"] = said(lambda: make_source("good-shelf", {"deep": 1}, "/nowhere"))
told["fusions"] = {facts.name: facts.formula for facts in list_fusions()}
told["keys"] = [[key.key, key.description] for key in (*find_keys("corpora.source.options"), *find_keys("features.text-broken"))]
told["doctor"] = check_plugins()
def steal():
    register_fusion("gmu")(fusion_class("good_mean"))
told["stolen"] = said(steal)
print(json.dumps(told))
"""  # noqa: E501


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says that has good, broken, clashing and hollow packages on its path."""
    site = tmp_path_factory.mktemp("site")
    (site / "good.py").write_text(GOOD)
    (site / "broken.py").write_text("raise RuntimeError('half written')\n")
    (site / "leaves.py").write_text("import sys\nsys.exit(7)\n")
    announce(
        site,
        "good",
        {
            "mmpipe.extractors": {
                "text-loud": "good:Loud",
                "text-other": "good:Other",
                "text-backwards": "good:Backwards",
                "text-thing": "good:Thing",
                "text-hollow": "good:Hollow",
                "text-twice": "good:Loud",
                "text-falls": "good:Falls",
                "text-shapeless": "good:Shapeless",
                "text-asks": "good:Asks",
                "text-closed": "good:Closed",
            },
            "mmpipe.fusions": {"good_mean": "good:Mean", "good_thing": "good:Thing"},
            "mmpipe.sources": {"good-shelf": "good:Shelf", "thing-shelf": "good:Thing"},
        },
    )
    announce(
        site,
        "broken",
        {
            "mmpipe.extractors": {
                "text-broken": "broken:Broken",
                "text-left": "leaves:Broken",
                "text-gone": "nowhere:Gone",
                "text-lacks": "good:Lacks",
                "text-words": "good:Loud",
                "text-twice": "good:Other",
            },
            "mmpipe.fusions": {"bad_mean": "broken:Mean", "concat": "good:Mean"},
            "mmpipe.sources": {"bad-shelf": "broken:Shelf"},
        },
    )
    asked = [
        *("text-loud", "text-other", "text-backwards", "text-thing", "text-hollow", "text-twice", "text-broken"),
        *("text-left", "text-gone", "text-lacks", "text-words", "good_mean", "good_thing", "bad_mean", "concat"),
        *("text-falls", "text-shapeless", "text-asks", "text-closed"),
        *("good-shelf", "thing-shelf", "bad-shelf", "nonesuch"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(asked)],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_names_are_listed_and_nothing_is_imported_for_it(told: dict[str, Any]) -> None:
    extractors, fusions, sources = told["listed"]
    assert {"text-loud", "text-broken", "audio-logmel"} <= set(extractors)
    assert {"good_mean", "bad_mean", "gmu"} <= set(fusions)
    assert sources == ["bad-shelf", "good-shelf", "thing-shelf"]
    assert told["imported"] == []


def test_what_a_package_brings_is_used_by_its_name(told: dict[str, Any]) -> None:
    assert told["text-loud"] == "'text-loud@1'"
    assert told["fusion good_mean"] == "<class 'good.Mean'>"
    assert told["source good-shelf"] == "[]"
    assert told["fusions"]["good_mean"] == "z = mean. Use it never."


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("text-broken", ("of the package broken 1.0 (broken:Broken) cannot be loaded: RuntimeError: half written",)),
        ("text-left", ("cannot be loaded: SystemExit: 7", "pip uninstall broken")),
        ("text-gone", ("No module named 'nowhere'", "pip uninstall broken")),
        ("text-lacks", ("cannot be loaded: AttributeError", "Lacks")),
        ("text-words", ("broken 1.0 (good:Loud) has the name of a built-in one, which nothing replaces",)),
        ("text-twice", ("announced more than once", "good 1.0 (good:Loud)", "broken 1.0 (good:Other)")),
        ("text-other", ("calls itself 'text-another'", "they must be 'text-other' and 'text-other@1'")),
        ("text-backwards", ("has version = 0, allowed are 1, 2, 3",)),
        ("text-thing", ("is no class with `Params`, a subclass of mmpipe.Table",)),
        ("text-hollow", ("lacks version, modality, params, needs, schema, weights_sha256, setup, extract",)),
        ("text-falls", ("the package good 1.0 (good:Falls) cannot be made: KeyError: 'its own'", "pip uninstall good")),
        ("text-shapeless", ("the package good 1.0 (good:Shapeless) cannot be made: KeyError: 'its own'",)),
        ("text-closed", ("the package good 1.0 (good:Closed) cannot be made: KeyError: 'its own'",)),
        ("text-asks", ("features.text-asks: 1 fault(s)", "depth")),
        ("nonesuch", ("no extractor named 'nonesuch'", "mmpipe new extractor nonesuch")),
        ("fusion bad_mean", ("the fusion 'bad_mean' of the package broken 1.0", "RuntimeError: half written")),
        ("fusion good_thing", ("is no subclass of mmpipe.Fusion",)),
        ("fusion concat", ("has the name of a built-in one, which nothing replaces",)),
        ("source bad-shelf", ("the source 'bad-shelf' of the package broken 1.0", "RuntimeError: half written")),
        ("source thing-shelf", ("is no class with `Params`",)),
        ("source nonesuch", ("no source named 'nonesuch' is installed; there are: bad-shelf, good-shelf",)),
        ("options", ("source.options of 'good-shelf'", "deep", "depth")),
        ("stolen", ("the fusion name 'gmu' is taken by mmpipe.fusion.methods.gmu",)),
    ],
)
def test_what_is_wrong_is_told_with_the_package_when_it_is_asked_for(
    told: dict[str, Any], asked: str, words: tuple[str, ...]
) -> None:
    assert told[asked].startswith("ConfigError: ")
    for word in words:
        assert word in told[asked], told[asked]


def test_a_broken_package_costs_the_overviews_one_row(told: dict[str, Any]) -> None:
    keys = dict(told["keys"])
    assert keys["corpora.NAME.source.options.depth"].startswith("of the source good-shelf: ")
    assert any("the source 'bad-shelf' of the package broken 1.0" in about for _, about in told["keys"])
    assert "half written" in keys["features.text-broken"]
    assert "half written" in told["fusions"]["bad_mean"]
    assert told["fusions"]["gmu"].startswith("z = ")


def test_doctor_names_every_broken_one_and_is_not_stopped_by_it(told: dict[str, Any]) -> None:
    check, state, detail = told["doctor"]
    assert (check, state) == ("plug-ins", "weak")
    for name in ("text-broken", "text-twice", "text-words", "bad_mean", "concat", "bad-shelf", "text-falls"):
        assert repr(name) in detail, detail
    assert "text-asks" not in detail, "it takes what only a config can say"
    assert "'text-loud'" not in detail and "'good_mean'" not in detail
