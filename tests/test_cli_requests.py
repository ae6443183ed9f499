"""Wrong requests are answered from the request alone: in words, with exit code 2, before anything heavy is imported."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import Terminal, environment
from runs import standing_in

from regplug.cli.failures import Failure
from regplug.config.params import describe_params, make_params
from regplug.errors import DataError, ParameterError, RequestError, TrackingError, TrackingLostError, did_you_mean
from regplug.registry import default_registry
from regplug.runs import request
from regplug.tracking import open_store
from regplug.tracking.location import resolve_location

HEAVY = ("torch", "mlflow", "onnxruntime", "onnx", "numpy", "scipy", "sklearn", "matplotlib", "sqlalchemy")

LONG = "a" * 250

WRONG = {
    "an unknown regularizer": (["run", "--reg", "dropuot"], "Did you mean dropout"),
    "an unknown parameter": (["run", "--reg", "dropout:p=0.5"], "p is unknown"),
    "a value out of bounds": (["run", "--reg", "dropout:drop_probability=2"], "at least 0 and less than 1"),
    "an infinite strength": (["run", "--reg", "l2:strength=inf"], "strength=inf is not allowed"),
    "a strength that is no number": (["run", "--reg", "l2:strength=nan"], "finite"),
    "an unknown format": (["run", "--format", "onnxx"], "Did you mean onnx?"),
    "an unknown probe": (["run", "--probe", "wieght_norm"], "weight_norm"),
    "no regularizer": (["run", "--reg", ""], "--reg is empty"),
    "no model": (["run", "--model", ""], "--model is empty"),
    "no probe": (["run", "--probe", ""], "--probe is empty"),
    "no place": (["run", "--out", " "], "--out is empty"),
    "no assignment": (["run", "--set", ""], "--set is empty"),
    "an empty regularizer by --set": (["run", "--set", "reg="], "an empty string is not a component"),
    "an unknown field by --set": (["run", "--set", "lrr=1"], "Did you mean lr?"),
    "an unknown parameter by --set": (["run", "--set", "model.hiden=3"], "hiden is unknown"),
    "an unknown key of a file": (["run", "--config", "bad.toml"], "x is unknown"),
    "a file that is not there": (["run", "--config", "none.toml"], "none.toml"),
    "data that are not there": (["run", "--dataset", "csv:path=none.csv"], "No file none.csv"),
    "data without a file": (["run", "--dataset", "csv"], "needs path"),
    "code that is not there": (["run", "--model", "./nett.py:Net"], "Did you mean net.py?"),
    "a typing error beside own code": (["run", "--model", "./net.py:Net", "--reg", "dropuot"], "dropuot"),
    "threads that flood": (["run", "--threads", "100000"], "is too many for this machine"),
    "one regularizer twice": (["run", "--reg", "l2", "--reg", "l2"], "twice"),
    "a place that is taken": (["run", "--out", "bad.toml"], "exists and is not a bundle"),
    "a place with a name that is too long": (["run", "--out", LONG], "is too long"),
    "a place in a folder that is too long": (["run", "--out", f"x/{LONG}abcdef/y"], "is too long"),
    "a store of plain files": (["run", "--tracking-uri", "file:///x"], "file store"),
    "the same in a plan": (["plan", "--reg", "dropuot"], "Did you mean dropout"),
    "a grid in a plan": (["plan", "--grid", "reg=dropuot"], "Did you mean dropout"),
    "an unknown regularizer of a grid": (["sweep", "--grid", "reg=none,dropuot"], "Did you mean dropout"),
    "an unknown axis": (["sweep", "--grid", "lrr=1,2"], "Did you mean lr?"),
    "an axis of nothing": (["sweep", "--grid", "lr="], "has no value"),
    "a value of an axis": (["sweep", "--grid", "reg.l2.strength=0,inf"], "strength=inf is not allowed"),
    "an endless axis": (["sweep", "--grid", "lr=linear(0,inf,3)"], "two finite ends"),
    "an axis that would fill the memory": (["sweep", "--grid", "lr=linear(0,1,1e12)"], "more than 100,000 values"),
    "too many runs": (["sweep", "--grid", "lr=1,2", "--seeds", "1000000"], "2,000,000 runs"),
    "threads of a study": (["sweep", "--threads", "100000", "--grid", "lr=1,2"], "is too many for this machine"),
    "folds of a sweep": (["sweep", "--set", "folds=3"], "folds"),
    "one fold": (["cv", "--folds", "1"], "--folds"),
    "a metric of the test split": (["cv", "--metric", "test/accuracy"], "valid/"),
    "a place for the best that is taken": (["cv", "--out", "bad.toml", "--grid", "lr=1,2"], "is not a bundle"),
    "a format to export to": (["export", "x", "--format", "onnxx"], "Did you mean onnx?"),
    "an alias of nothing": (["export", "x", "--alias", "best"], "has no registered model"),
    "nothing to export": (["export", "x"], "Nothing is tracked here"),
    "nothing to compare": (["compare", "x"], "Nothing is tracked here"),
    "nothing to show": (["runs", "show", "x"], "Nothing is tracked here"),
    "no bundle to verify": (["verify", "none"], "There is no bundle"),
    "no bundle at all": (["verify", ""], "BUNDLE is empty"),
    "no bundle to predict with": (["predict", "none", "x.npy"], "There is no bundle"),
    "no bundle to inspect": (["inspect", LONG + "abcdef"], "File name too long"),
}
"""Command, and words of the answer."""

PROGRAM = """
import contextlib, io, json, sys, time
from regplug.cli.app import invoke
calls, heavy = json.load(sys.stdin)
answers = []
for call in calls:
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = invoke(call)
    answers.append([code, err.getvalue(), [name for name in heavy if name in sys.modules]])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("requests")
    (place / "bad.toml").write_text("x = 1\n")
    (place / "net.py").write_text("import torch\n\n\nclass Net(torch.nn.Linear): ...\n")
    return place


@pytest.fixture(scope="module")
def answers(folder):
    """What one process answered to all of them, one after the other, and what it had imported by then."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps([[args for args, _ in WRONG.values()], HEAVY]), cwd=folder,
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(zip(WRONG, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_request_is_answered_in_words_before_anything_heavy_is_imported(answers, what):
    code, err, imported = answers[what]
    assert code == 2, err
    assert WRONG[what][1] in err
    assert "Traceback" not in err
    assert "bug in regplug" not in err
    assert imported == []


def test_a_wrong_request_leaves_nothing_behind(answers, folder):
    assert answers
    assert sorted(path.name for path in folder.iterdir()) == ["bad.toml", "net.py"]


FLOATS = [
    (one.kind, one.name, info.name)
    for one in default_registry().components()
    for info in describe_params(one.component.params)
    if "float" in info.type
]


@pytest.mark.parametrize(("kind", "name", "parameter"), FLOATS)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, [math.inf], [0.1, math.nan]])
def test_no_number_of_a_component_may_be_infinite_or_nan(kind, name, parameter, value):
    component = default_registry().find(kind, name).component
    with pytest.raises(ParameterError, match=f"{parameter}=.* is not allowed"):
        make_params(component, {parameter: value})


def test_own_code_in_a_file_is_looked_for_and_not_imported(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert request.check_component("model", "./net.py:Net", default_registry()) == []
    with pytest.raises(RequestError, match=r"there is no file .*nett\.py"):
        request.check_component("model", "./nett.py:Net", default_registry())


def test_a_name_that_is_too_long_for_a_file_is_no_fault_of_ours(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match="File name too long"):
        request.check_component("dataset", f"csv:path={LONG}abcdef", default_registry())


@pytest.mark.parametrize(("processors", "most"), [(1, 64), (2, 64), (64, 256), (None, 64)])
def test_threads_are_bounded_by_the_machine_and_never_below_sixty_four(monkeypatch, processors, most):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    request._check_threads(most)
    with pytest.raises(ParameterError, match=f"threads={most + 1} is too many"):
        request._check_threads(most + 1)


@pytest.mark.parametrize("field", ["name", "out", "experiment", "model", "dataset"])
def test_a_text_that_is_not_utf8_is_refused_by_name(capsys, folder, monkeypatch, field):
    monkeypatch.chdir(folder)
    said = Terminal(capsys)("run", f"--{field}", os.fsdecode(b"./a\xff.py:N"))
    assert said.code == 2
    assert f"{field}=" in said.err
    assert "in valid UTF-8" in said.err


def test_a_folder_or_store_that_is_not_utf8_is_refused(tmp_path):
    odd = tmp_path / os.fsdecode(b"a\xff")
    odd.mkdir()
    with pytest.raises(TrackingError, match="not valid UTF-8"):
        resolve_location(folder=odd)
    with pytest.raises(TrackingError, match="not valid UTF-8"):
        resolve_location(f"sqlite:///{odd}/x.db")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["runs", "show"], ["verify"], ["export", "x", "--out"]])
def test_other_arguments_that_are_not_utf8_are_no_fault_of_ours(place, command):
    args = [os.fsencode(sys.executable), b"-m", b"regplug", *map(os.fsencode, command), b"a\xff"]
    done = subprocess.run(args, capture_output=True, cwd=place.folder, check=False)
    assert done.returncode == 2
    assert b"a\\udcff" in done.stderr or command[0] == "export"
    assert b"bug in regplug" not in done.stderr


def test_a_deleted_folder_is_told_as_such_and_help_still_works(tmp_path):
    folder = tmp_path / "gone"
    commands = [["run"], ["plugins", "list"], ["predict", "/x", "/y"], ["runs", "list", "--json"], ["run", "--help"]]
    program = (
        "import json, os, sys\nfrom regplug.cli.app import invoke\nos.rmdir(os.getcwd())\n"
        f"codes = [invoke(command) for command in {commands!r}]\nsys.stderr.write(json.dumps(codes))"
    )
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr.count("The current folder was deleted.") == 3
    assert done.stdout.count("The current folder was deleted.") == 1
    assert json.loads(done.stderr.splitlines()[-1]) == [2, 2, 2, 2, 0]


def test_a_folder_that_is_deleted_in_the_middle_is_told_as_such(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gone = Failure.of(OSError("disk I/O error"))
    assert gone.message == "OSError: disk I/O error"
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    gone = Failure.of(OSError("disk I/O error"))
    assert (gone.message, gone.exit_code) == ("The current folder was deleted.", 1)
    assert Failure.of(TrackingLostError("Metrics could not be logged.")).message == gone.message
    assert Failure.of(KeyboardInterrupt()).message == "Interrupted."


def test_a_long_list_of_names_is_cut():
    hint = did_you_mean("x", [f"name{number:03}" for number in range(500)])
    assert hint.startswith("Known: name000, ")
    assert hint.endswith(" and 488 more.")
    assert did_you_mean("x", [f"name{number:02}" for number in range(13)]).endswith("name12.")


def test_an_experiment_may_have_a_longer_name_than_a_folder(place):
    result = place.run(experiment="e" * 300)
    assert result.status == "FINISHED"
    assert "state.pt" in open_store().artifact_names(result.run_id)


@pytest.mark.parametrize("name", ["50%20off", "a b#c?d", "ünïç日本 100%", "%2e%2e", "a:b@c;&='\"[x]"])
def test_a_folder_may_have_any_name(tmp_path, capsys, name):
    folder = tmp_path / name
    folder.mkdir()
    with standing_in(folder):
        terminal = Terminal(capsys)
        made = terminal("run", "--model", "linear", "--epochs", 1, "--no-export", "--name", "first", "--json")
        assert made.code == 0, made.err
        shown = terminal("runs", "show", "first", "--json").document
        assert "config.toml" in shown["artifacts"]
        assert list(Path("mlruns").rglob("config.toml")) != []
        again = terminal("runs", "show", "first", "--json", "--tracking-uri", made.document["tracking_uri"])
        assert again.document["run_id"] == shown["run_id"]
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing appears beside the folder"
