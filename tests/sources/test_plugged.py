"""A source of another package: what it names, says and raises is judged before anything is made of it."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpipe.config import Table, parse_config
from mmpipe.errors import ConfigError, SampleError, TransientError
from mmpipe.sources.mirror_plan import plan_objects
from mmpipe.sources.origins import Origin, SourceObject
from mmpipe.sources.plugged import make_source
from mmpipe.testing import check_source

sys.path.insert(0, str(Path(__file__).parents[1]))
from plugin_site import announce


class Params(Table):
    """Nothing to choose."""


class Shelf:
    """Bytes by name; where a value is an error, it is raised."""

    Params = Params
    holds: dict[str, object] = {}  # noqa: RUF012

    def __init__(self, params: Params, root: str) -> None:
        self.root = root

    def objects(self) -> Iterator[SourceObject]:
        for name, data in self.holds.items():
            if name == "listing":
                raise data
            yield SourceObject(name=name, nbytes=len(data) if isinstance(data, bytes) else -1, stamp=repr(data))

    def open(self, name: str) -> io.BytesIO:
        data = self.holds[name] if name in self.holds else FileNotFoundError(name)
        if isinstance(data, bytes):
            return io.BytesIO(data)
        raise data


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Origin:
    announce(tmp_path, "shelf-package", {"mmpipe.sources": {"shelf": "shelf_of_test:Shelf"}})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "shelf_of_test", types.SimpleNamespace(Shelf=Shelf))
    return make_source("shelf", {}, "s3://there")


def holding(monkeypatch: pytest.MonkeyPatch, **holds: object) -> None:
    monkeypatch.setattr(Shelf, "holds", holds)


def test_objects_are_sorted_escaped_and_read(shelf: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "holds", {"b.txt": b"two", "a\n%.txt": b"one"})
    assert [entry.name for entry in shelf.objects()] == ["a%0A%25.txt", "b.txt"]
    with shelf.open("a%0A%25.txt") as file:
        assert file.read() == b"one"
    assert shelf.look("b.txt").nbytes == 3
    with pytest.raises(SampleError, match="nothing is there"):
        shelf.look("c.txt")
    check_source(Shelf(Params(), ""))


@pytest.mark.parametrize(
    ("name", "code"),
    [("../up", "unsafe_name"), ("/etc/passwd", "unsafe_name"), ("file:///etc/passwd", "unsafe_name")],
)
def test_names_are_judged_as_all_others_are(
    shelf: Origin, monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    monkeypatch.setattr(Shelf, "holds", {name: b"bytes", "good.txt": b"bytes", "large.txt": b"b" * 100})
    plan = plan_objects(shelf.objects(), file_bytes=50)
    assert [part.name for part in plan.parts] == ["good.txt"]
    assert sorted(drop.code for drop in plan.drops) == ["limit_file", code]


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (FileNotFoundError("gone"), SampleError, "cannot open it"),
        (PermissionError("no"), SampleError, "cannot open it"),
        (ConnectionError("s3://user:secret@host"), TransientError, "did not answer .ConnectionError.*run again"),
        (TimeoutError(), TransientError, "run again"),
        (ZeroDivisionError("s3://user:secret@host"), ConfigError, "failed with ZeroDivisionError"),
        (SampleError("unreadable", "my own words"), SampleError, "my own words"),
        (ConfigError("my own words"), ConfigError, "my own words"),
    ],
)
def test_what_a_source_raises_is_classed_and_tells_no_secret(
    shelf: Origin, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], said: str
) -> None:
    holding(monkeypatch, x=error)
    with pytest.raises(kind, match=said) as caught:
        shelf.open("x")
    assert "secret" not in str(caught.value)
    if isinstance(error, FileNotFoundError | SampleError):
        return
    holding(monkeypatch, listing=error)
    with pytest.raises((TransientError, ConfigError)) as caught:
        shelf.objects()
    assert "secret" not in str(caught.value)


def test_a_fault_in_the_middle_of_a_file_is_classed(shelf: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError

    monkeypatch.setattr(Shelf, "open", lambda self, name: Breaks())
    with shelf.open("x") as file, pytest.raises(TransientError, match="'x': the source 'shelf' of the package"):
        file.read(1)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (SourceObject(name="x", nbytes=1, stamp=""), "no stamp"),
        (SourceObject(name=b"x", nbytes="1", stamp="1"), "name and nbytes of another type"),
        ("x", "name and nbytes and stamp of another type"),
    ],
)
def test_an_entry_that_is_none_is_refused(
    shelf: Origin, monkeypatch: pytest.MonkeyPatch, entry: object, said: str
) -> None:
    monkeypatch.setattr(Shelf, "objects", lambda self: iter([entry]))
    with pytest.raises(ConfigError, match=said):
        shelf.objects()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"kind": "plugin"}, "needs `plugin`"),
        ({"plugin": "shelf"}, "no other kind has one"),
        ({"options": {"a": 1}}, "are those of a source that `plugin` names"),
        ({"kind": "plugin", "plugin": "../x"}, "pattern"),
    ],
)
def test_a_config_that_does_not_hang_together_is_refused(source: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config({"store": "store", "corpora": {"c": {"root": "x", "source": source}}})


def test_digests_of_corpora_of_before_stand() -> None:
    plain = parse_config({"store": "store", "corpora": {"c": {"root": "x"}}}).corpora["c"]
    assert {"plugin", "options"} <= set(plain.source.left_out())


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"open": lambda self, name: io.BytesIO(b"short")}, "has 5 bytes, its size says 3"),
        ({"open": lambda self, name: io.BytesIO(b"one")}, "what is not there must raise FileNotFoundError"),
        ({"objects": lambda self: []}, "must hold something"),
        ({"objects": lambda self: [SourceObject(name="a", nbytes=3, stamp="")]}, "has no stamp"),
        (
            {"objects": lambda self: [SourceObject(name="a", nbytes=3, stamp=str(id(object())) + str(next(COUNT)))]},
            "two listings of the same are unlike",
        ),
    ],
)
def test_the_check_of_a_source_sees_what_is_broken(
    monkeypatch: pytest.MonkeyPatch, members: dict[str, object], said: str
) -> None:
    holding(monkeypatch, a=b"one")
    with pytest.raises(AssertionError, match=said):
        check_source(type("Broken", (Shelf,), members)(Params(), ""))


def test_the_check_of_a_source_sees_a_stamp_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    holding(monkeypatch, a=b"one")
    with pytest.raises(AssertionError, match="other bytes need another stamp"):
        check_source(Shelf(Params(), ""), change=lambda: None)


COUNT = iter(range(1000))
