"""The user's own code, named by path."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from regplug.api import Model, Regularizer
from regplug.errors import RequestError
from regplug.registry.usercode import derive_phases, describe_object, load_object


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_class_in_a_file_is_found(folder):
    (folder / "net.py").write_text("class Net: width = 3")
    assert load_object("./net.py:Net").width == 3
    assert load_object(f"{folder}/net.py:Net") is load_object("./net.py:Net")


def test_a_class_in_a_module_of_the_current_folder_is_found(folder):
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("")
    (folder / "my_package" / "nets.py").write_text("class Net: width = 4")
    assert load_object("my_package.nets:Net").width == 4


def test_a_file_may_import_what_stands_beside_it(folder):
    (folder / "my_layers.py").write_text("width = 5")
    (folder / "net.py").write_text("from my_layers import width\nclass Net: width = width")
    assert load_object("net.py:Net").width == 5


def test_a_file_beside_cannot_hide_an_installed_package(folder):
    (folder / "pluggy.py").write_text("raise SystemExit")
    (folder / "net.py").write_text("import pluggy\nNet = pluggy.PluginManager")
    assert load_object("net.py:Net").__name__ == "PluginManager"


def test_an_edited_file_is_read_again(folder, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # the cached code would look current
    (folder / "net.py").write_text("class Net: width = 3")
    first = load_object("./net.py:Net")
    (folder / "net.py").write_text("class Net: width = 6")
    assert (first.width, load_object("./net.py:Net").width) == (3, 6)


def test_a_class_in_a_file_survives_pickling(folder):
    (folder / "net.py").write_text("class Net: width = 3")
    net = load_object("./net.py:Net")()
    assert type(pickle.loads(pickle.dumps(net))) is type(net)  # noqa: S301  # our own bytes


def test_a_missing_file_is_told_with_the_near_ones(folder):
    (folder / "net.py").write_text("")
    with pytest.raises(RequestError, match=r"Did you mean net\.py\?") as caught:
        load_object("./nett.py:Net")
    assert str(folder / "nett.py") in caught.value.message


def test_a_missing_attribute_is_told_with_the_near_ones(folder):
    (folder / "net.py").write_text("class Network: pass")
    with pytest.raises(RequestError, match=r"has no Netwrok.\nDid you mean Network\?"):
        load_object("./net.py:Netwrok")


@pytest.mark.parametrize("code", ["no_such_package.nets:Net", "email.no_such_module:Net"])
def test_a_missing_module_is_told(folder, code):
    with pytest.raises(RequestError, match="there is no module"):
        load_object(code)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("a = 1\n\nraise ValueError('no luck')", "ValueError at {file}:3: no luck"),
        ("a = 1\ndef broken(:", "SyntaxError at {file}:2"),
        ("import no_such_package", "ModuleNotFoundError at {file}:1"),
        ("raise SystemExit(2)", "SystemExit at {file}:1"),
        ("open('no such file')", "FileNotFoundError at {file}:1"),
    ],
)
def test_a_file_that_raises_is_told_with_the_line(folder, source, told):
    (folder / "net.py").write_text(source)
    for _ in range(2):  # the second time, nothing half-imported may be left
        with pytest.raises(RequestError) as caught:
            load_object("./net.py:Net")
        assert told.format(file=folder / "net.py") in caught.value.message


def test_a_module_that_raises_is_told_with_the_line(folder):
    (folder / "my_module.py").write_text("a = 1\nb = a / 0")
    with pytest.raises(RequestError, match=r"ZeroDivisionError at .*my_module\.py:2"):
        load_object("my_module:Net")


def test_a_class_that_describes_itself_is_taken_at_its_word():
    own = Regularizer(name="l0", target="x:y", summary="Mine.", conflicts=("l1",))
    target = type("L0", (), {"descriptor": own})
    made = describe_object("regularizer", "./mine.py:L0", "L0", target)
    assert (made.name, made.target, made.conflicts) == ("l0", "./mine.py:L0", ("l1",))
    with pytest.raises(RequestError, match="kind regularizer; the kind model was asked for"):
        describe_object("model", "./mine.py:L0", "L0", target)


def test_a_function_can_be_a_model():
    def make_net(width=3):
        """Makes a net.

        In two paragraphs.
        """

    made = describe_object("model", "./net.py:make_net", "make_net", make_net)
    assert isinstance(made, Model)
    assert made.summary == "Makes a net."


def test_phases_are_those_of_the_functions_that_are_overridden():
    base = type("Base", (), {"penalty": None, "project": None, "__module__": "regplug.regularizer"})
    middle = type("Middle", (base,), {"batch": None})
    assert derive_phases(type("Mine", (middle,), {"penalty": None})) == ("data", "objective")
    assert derive_phases(type("Idle", (base,), {})) == ()
