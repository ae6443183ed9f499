"""Studies of the lab with mistakes, folders that cannot be written, and files that are not the study's own."""

from __future__ import annotations

from importlib import import_module

import pytest
from tracking_stores import copied_store

from regplug.errors import ComponentError, RequestError
from regplug.lab import Claim, Findings, bounded, curves, series
from regplug.lab.checking import check_findings
from regplug.lab.writing import deliver, require_writable
from regplug.registry import default_registry

pytest_plugins = ["installed_plugins"]

CLAIM = bounded("fine", "It is one.", [1], low=0, source="a test")
LINES = {"loss": {"a": [[(1, 1.0), (2, 0.5)]]}}

STUDIES = """
from regplug.api import Study, hookimpl

@hookimpl
def regplug_studies():
    for name in ("fine", "misspelt", "no_file", "text_as_claim", "undrawn"):
        yield Study(name=name, target=f"faulty_impl:{name}", summary="S.", question="Q?", seconds=(1, 1))
"""
IMPL = """
from regplug.lab import Drawing, Findings, bounded, curves

CLAIM = bounded("fine", "It is one.", [1], low=0, source="a test")

def fine(lab):
    figure = curves("new", "T", "C.", {"loss": {"a": [[(1, 1.0), (2, 0.5)]]}})
    return Findings(claims=[CLAIM], values={"one": 1.0}, figures=[figure])

def misspelt(lab):
    return lab.sweep(model="mlp", dataset="moons", epoch=1)

def no_file(lab):
    return lab.sweep(model="mlp", dataset="./nope.csv", epochs=1)

def text_as_claim(lab):
    return Findings(claims=["It is one."])

def undrawn(lab):
    return Findings(claims=[CLAIM], figures=[Drawing(name="f", title="T", caption="C.", draw=lambda: 1 / 0)])
"""


@pytest.fixture
def plugged(installed, tmp_path, monkeypatch):
    """A folder with a store, and a plugin that ships studies with mistakes."""
    place = tmp_path / "place"
    place.mkdir()
    copied_store(place)
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    installed.install("faulty", {"faulty": STUDIES, "faulty_impl": IMPL}, entries={"faulty": "faulty"})
    default_registry.cache_clear()
    return place


def opened(place):
    return import_module("regplug.tracking").open_store(folder=place)


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("misspelt", 2, ["lab.sweep has no field epoch", "Did you mean epochs?", "faulty_impl.py, line 11"]),
        ("no-file", 2, ["nope.csv", "faulty_impl.py, line 14"]),
        ("text-as-claim", 1, ["One of its claims is a str: 'It is one.'"]),
    ],
)
def test_a_mistake_is_blamed_on_the_study_and_its_distribution(plugged, terminal, name, code, told):
    said = terminal("lab", "run", name, "--quick")
    assert said.code == code
    assert f"The study {name} of plugin 'faulty' of distribution faulty 1.0 failed" in said.err
    assert all(each in " ".join(said.err.split()) for each in told), said.err
    assert not (plugged / "mlruns" / "lab").exists()


def test_a_figure_that_cannot_be_drawn_is_blamed_on_the_study(plugged, terminal):
    said = terminal("lab", "run", "undrawn", "--quick")
    assert said.code == 1
    assert "The figure f of the study undrawn of plugin 'faulty'" in said.err
    assert "ZeroDivisionError" in said.err


def findings(**fields):
    return Findings(**{"claims": [CLAIM], **fields})


def claimed(**fields):
    given = {"name": "a", "text": "A.", "source": "s", "verdict": "HOLDS", "why": "w", **fields}
    return findings(claims=[Claim(**given)])


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"a": 1}, "returned a dict"),
        (findings(claims=None), "claims are a NoneType"),
        (findings(claims=["It is one."]), "One of its claims is a str"),
        (findings(claims=[CLAIM, CLAIM]), "several claims named fine"),
        (findings(figures=[object()]), "One of its figures is a object(.|\n)*curves, series"),
        (findings(values=[1.0]), "values are a list"),
        (findings(values={"a": ["x", "y"]}), r"The value a is not a number and not a list of numbers: \['x', 'y'\]"),
        (findings(values={"a": [[1.0], [2.0]]}), "one for each seed"),
        (findings(values={"/abs/../../x": [1.0]}), "'/abs/../../x' of a value(.|\n)*letters, digits"),
        (findings(values={"a/../b": 1.0}), "'a/../b' of a value"),
        (findings(values={3: 1.0}), "The name 3 of a value"),
        (findings(text=None), "text is a NoneType"),
        (
            findings(figures=[curves("../../escaped", "T", "C.", LINES)]),
            "'../../escaped' of a figure(.|\n)*names files",
        ),
        (findings(figures=[curves("a", "T", None, LINES)]), "caption of the figure a is a NoneType"),
        (claimed(name="a|b"), "'a|b' of a claim"),
        (claimed(text=None), "text of the claim a is a NoneType"),
        (claimed(verdict="yes"), "verdict of the claim a is 'yes'(.|\n)*DOES NOT HOLD"),
    ],
)
def test_what_a_study_may_not_return_is_refused(found, told):
    with pytest.raises(ComponentError, match=told):
        check_findings(found)


def test_names_that_a_sweep_gives_its_settings_are_allowed():
    names = ["loss/small", "l2.strength=3", "model.hidden=[2],[4]", "norm/λ = 1", "accuracy at 0.5", "a_1-b"]
    figure = series("test-loss_2.0", "T", "C.", [1, 2], {"y": {"a": [1, 2]}}, x_name="x")
    check_findings(findings(values={name: [1.0, float("nan")] for name in names}, figures=[figure]))


@pytest.mark.parametrize("words", [["fine"], ["--all"]])
def test_a_folder_that_cannot_be_written_is_refused_before_the_first_run(plugged, terminal, words):
    (plugged / "file").write_text("mine")
    said = terminal("lab", "run", *words, "--quick", "--out", "file/results")
    assert said.code == 2
    assert "The results cannot be written into file/results" in said.err
    assert said.err.count("cannot be written") == 1
    assert opened(plugged).experiments() == {"0": "Default"}


def test_the_attempt_to_write_leaves_nothing_behind(tmp_path):
    require_writable(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(RequestError, match="taken"):
        require_writable(tmp_path / "taken")


def test_results_that_cannot_be_copied_are_an_error_that_names_the_folder(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(RequestError, match=r"taken(.|\n)*--out"):
        deliver(tmp_path / "made", tmp_path / "taken")


def test_only_the_files_of_this_run_go_to_mlflow_and_those_of_others_stay(plugged, terminal):
    folder = plugged / "out" / "fine"
    folder.mkdir(parents=True)
    (folder / "private.txt").write_text("mine")
    (folder / "old.png").write_bytes(b"old")
    said = terminal("lab", "run", "fine", "--quick", "--out", "out", "--json")
    assert said.code == 0, said.err
    written = ["findings.json", "new.png", "new.svg", "report.md"]
    assert sorted(opened(plugged).artifact_names(said.document["study_id"])) == written
    assert sorted(file.name for file in folder.iterdir()) == sorted([*written, "old.png", "private.txt"])
    assert (folder / "private.txt").read_text() == "mine"
    assert said.document["folder"] == "out/fine"
