"""`regplug runs list`, `show`, `delete` and `clean`, on runs that are written for the tests."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from runs import standing_in
from tracking_stores import copied_store

from regplug.bundles import publish
from regplug.tracking import ChildRun, liveness, reading, tables
from regplug.tracking.kinds import CHECKPOINT_TAG, FINAL_TAG, STUDY_TAG


def write(store, name, *, status="FINISHED", files=("config.toml",), metrics=(), **more):
    """A run that ended with a status; one that is RUNNING is not ended, and has no thread that would outlive it."""
    given = {"experiment": "digits/mlp", "params": {"model": "mlp", "dataset": "digits"}, "tags": {}, **more}
    run = store.start_run(name=name, **given)
    if status != "RUNNING":
        run.__enter__()
    for file in files:
        run.log_text("", file)
    run.log_metrics(dict(metrics), 1)
    if status != "RUNNING":
        run.end(status)
    return run.run_id


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with runs of each kind and status; nothing in it is changed."""
    folder = tmp_path_factory.mktemp("listed")
    with standing_in(folder):
        store = copied_store(folder)
        ids = {}
        accuracy = {"test/accuracy": 0.75}
        ids["good"] = write(store, "good", metrics={"test/accuracy": 0.9}, params=_params("mlp", "dropout+l2", 0.1))
        ids["weak"] = write(store, "weak", metrics=accuracy, params=_params("linear", "l2", 0.02))
        ids["killed"] = write(store, "killed", status="KILLED", params=_params("mlp", "dropout", 3e-3))
        ids["hopeless"] = write(store, "hopeless", status="FAILED", files=(), metrics={"test/accuracy": math.nan})
        ids["alive"] = write(store, "alive", status="RUNNING", experiment="other")
        study = {STUDY_TAG: "sweep"}
        ids["study"] = write(store, "sweep of lr", status="KILLED", files=("study.json",), tags=study)
        children = [ChildRun(name=f"child {n}", params=_params("mlp", "l2", n), metrics=()) for n in range(3)]
        (found,) = store.log_children(ids["study"], "digits/mlp", children)
        ids |= {f"child {n}": run_id for n, run_id in enumerate(found)}
        ids["final"] = write(store, "final", status="KILLED", tags={FINAL_TAG: ids["study"]})
        yield ids
        liveness.writing.discard(ids["alive"])


def _params(model, regularizers, lr):
    return {"model": model, "dataset": "digits", "regularizers": regularizers, "lr": lr}


def listed(terminal, *options):
    said = terminal("runs", "list", *options, "--json")
    assert said.code == 0, said.err
    return [run["name"] for run in said.document["runs"]]


CHILDREN = ["child 0", "child 1", "child 2"]
SELECTIONS = {
    "--status killed": ["final", "killed", "sweep of lr"],
    "--status interrupted": ["hopeless", "killed", "sweep of lr"],
    "--status failed --status running": ["alive", "hopeless"],
    "--status stale": [],
    "--model linear": ["weak"],
    "--reg dropout": ["good", "killed"],
    "--dataset digit": [],
    "--experiment other": ["alive"],
    "--studies": ["sweep of lr"],
    "--no-children --status finished": ["good", "weak"],
    "--study sweep-of-lr": CHILDREN,
    "--since 2999-01-01": [],
    "--since 1h --status finished --no-children": ["good", "weak"],
    "--filter metrics.`test/accuracy`>0.8": ["good"],
}


@pytest.mark.parametrize("options", SELECTIONS)
def test_runs_are_selected(filled, terminal, options):
    words = [word.replace("sweep-of-lr", "sweep of lr").replace(">", " > ") for word in options.split()]
    assert sorted(listed(terminal, *words)) == SELECTIONS[options]


def test_runs_are_sorted_by_metrics_and_by_parameters_as_numbers(filled, terminal):
    assert listed(terminal, "--sort=-test/accuracy", "--limit", "2") == ["good", "weak"]
    assert listed(terminal, "--sort", "test/accuracy", "--limit", "2") == ["weak", "good"]
    assert listed(terminal, "--sort", "lr", "--limit", "4") == ["child 0", "killed", "weak", "good"]
    assert listed(terminal, "--sort=-lr", "--limit", "2") == ["child 2", "child 1"]
    assert listed(terminal, "--sort", "run", "--limit", "2") == ["alive", "child 0"]


COLUMNS = ["test/accuracy", "lr", "params.lr", "kind", "seconds", "regplug.study", "nothing"]


@pytest.mark.parametrize("column", COLUMNS)
def test_the_database_sorts_runs_as_they_are_sorted_when_all_are_read(filled, terminal, monkeypatch, column):
    options = [(f"--sort={sign}{column}", f"--limit={limit}") for sign in ("", "-") for limit in (3, 30)]
    options.append((f"--sort={column}", "--filter=params.model = 'mlp'", "--limit=2"))
    fast = [listed(terminal, *each) for each in options]
    monkeypatch.setattr(tables, "KNOWN_VERSIONS", ())
    assert fast == [listed(terminal, *each) for each in options]


def test_sorted_runs_are_not_all_read(filled, terminal, monkeypatch):
    read, to_info = [], reading.to_info
    monkeypatch.setattr(reading, "to_info", lambda run, experiment: read.append(run) or to_info(run, experiment))
    assert listed(terminal, "--sort=-lr", "--limit", "2") == ["child 2", "child 1"]
    assert len(read) <= 2 + len(["alive"])  # the RUNNING ones are looked at to see whether their process is there


def test_a_metric_that_is_not_a_number_comes_after_the_numbers_and_before_none(filled, terminal):
    in_order = ["weak", "good", "hopeless"]
    assert listed(terminal, "--sort", "test/accuracy", "--limit", "3") == in_order
    assert listed(terminal, "--sort=-test/accuracy", "--limit", "3") == ["good", "weak", "hopeless"]


def test_columns_are_metrics_parameters_and_properties(filled, terminal):
    said = terminal("runs", "list", "--columns", "run,lr,test/accuracy,kind", "--status", "finished", "--no-children")
    assert [line.split() for line in said.out.splitlines()[2:]] == [
        ["weak", "0.02", "0.7500", "run"], ["good", "0.1", "0.9000", "run"],
    ]  # fmt: skip
    document = terminal("runs", "list", "--columns", "params.lr", "--model", "linear", "--json").document
    assert document["runs"][0]["columns"] == {"params.lr": "0.02"}
    said = terminal("runs", "list", "--columns", "run,test/acuracy")
    assert said.code == 2
    assert "test/accuracy" in said.err


def test_interrupted_runs_say_whether_they_can_be_resumed(filled, terminal):
    marks = {run["name"]: run["is_resumable"] for run in terminal("runs", "list", "--json").document["runs"]}
    assert [name for name, is_resumable in marks.items() if is_resumable] == ["sweep of lr", "killed"]
    lines = {line.split("digits/mlp")[0].split("  ", 1)[1].strip(): line for line in
             terminal("runs", "list", "--status", "interrupted").out.splitlines()[2:]}  # fmt: skip
    assert "KILLED (resumable)" in lines["killed"]
    assert "FAILED (" not in lines["hopeless"]
    shown = terminal("runs", "show", filled["study"]).out
    assert "3 FINISHED" in shown
    assert f"regplug runs resume {filled['study'][:8]} (no checkpoint)" in shown
    assert filled["study"] in terminal("runs", "show", filled["final"]).out
    assert "runs resume" not in terminal("runs", "show", filled["hopeless"]).out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--status", "kiled"], "There is no status 'kiled'"),
        (["--since", "yesterday"], "is no point in time"),
        (["--filter", "metrics.x = "], "MLflow cannot read the filter"),
        (["--filter", "lr is small"], "MLflow cannot read the filter"),
        (["--model", "m'p"], "is no component's name"),
        (["--study", "good"], "is not a study"),
        (["--experiment", "none"], "There is no experiment none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_selection_that_makes_no_sense_is_refused(filled, terminal, options, said):
    answer = terminal("runs", "list", *options)
    assert answer.code == 2
    assert said in answer.err


def test_nothing_that_fits_is_no_error(filled, terminal):
    said = terminal("runs", "list", "--model", "cnn")
    assert said.code == 0
    assert "fits" in said.out


@pytest.fixture
def place(tmp_path):
    with standing_in(tmp_path):
        yield copied_store(tmp_path)


def bundle_of(run_id, name):
    """A folder that looks like the bundle of a run."""
    folder = Path("bundles") / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"run_id": run_id}))
    return folder.absolute()


@pytest.fixture(autouse=True)
def _manifests(monkeypatch):
    """A manifest is what `bundle_of` writes."""
    from regplug.runs import removing

    monkeypatch.setattr(removing, "is_bundle", lambda path: (path / "manifest.json").exists())
    monkeypatch.setattr(removing, "read_manifest", lambda path: json.loads((path / "manifest.json").read_text()))


def names(store):
    return sorted(run.name for run in store.runs())


def test_delete_removes_run_bundle_and_checkpoint_after_asking(place, terminal, monkeypatch):
    checkpoint = Path("mlruns/checkpoints/c.pt")
    checkpoint.parent.mkdir()
    checkpoint.touch()
    one = write(place, "one", status="KILLED", tags={CHECKPOINT_TAG: str(checkpoint.absolute())})
    two = write(place, "two")
    mine, other = bundle_of(one, "mine"), bundle_of(two, "other")
    place.attach(one).set_tags({"regplug.bundle": str(mine), "regplug.bundle_stochastic": str(other)})
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody answers
    said = terminal("runs", "delete", "one")
    assert said.code == 2
    assert all(str(path) in said.out for path in (mine, checkpoint.absolute()))
    assert names(place) == ["one", "two"]
    assert terminal("runs", "delete", "one", "--yes").code == 0
    assert (names(place), mine.exists(), other.exists(), checkpoint.exists()) == (["two"], False, True, False)
    assert place.status_of(one) == "DELETED"


def test_delete_removes_a_study_with_its_runs_and_refuses_what_is_alive(place, terminal):
    study = write(place, "study", status="RUNNING", tags={STUDY_TAG: "sweep"})
    (children,) = place.log_children(study, "digits/mlp", [ChildRun(name=f"child {n}") for n in range(2)])
    write(place, "final", tags={FINAL_TAG: study})
    write(place, "alone")
    for text in (study, children[0]):
        said = terminal("runs", "delete", "alone", text, "--yes")
        assert said.code == 2
        assert "The study study" in said.err
        assert "nothing was deleted" in said.err
    assert len(names(place)) == 5
    liveness.writing.discard(study)  # its process is gone
    said = terminal("runs", "delete", study, "--yes", "--json")
    assert said.code == 0
    assert len(said.document["deleted"]) == 4
    assert names(place) == ["alone"]


def test_clean_removes_what_killed_processes_left_and_nothing_else(place, terminal):
    folder = Path("mlruns/checkpoints")
    folder.mkdir()
    done, broken, alive = write(place, "done"), write(place, "broken", status="KILLED"), write(
        place, "alive", status="RUNNING")  # fmt: skip
    dead, gone = write(place, "dead", status="RUNNING"), write(place, "gone")
    liveness.writing.discard(dead)
    elsewhere = write(place, "elsewhere", status="RUNNING")
    place.attach(elsewhere).set_tags({"regplug.process": "another machine:1:1", "regplug.heartbeat": "100"})
    place.delete_run(gone)
    kept = [f"{broken}.pt", f"{alive}.pt", f"{alive}.pt.77.part", f"{dead}.pt", f"{elsewhere}.pt.77.part", "notes.txt"]
    removed = [f"{done}.pt", f"{gone}.pt", f"{broken}.pt.77.part", f"{dead}.pt.77.part", f"{'0' * 32}.pt"]
    for name in (*kept, *removed):
        (folder / name).touch()
    parts = Path("bundles")
    parts.mkdir()
    (parts / ".x.0123abcd.part").mkdir()
    (parts / ".y.0123abcd.part").mkdir()
    with publish._locked(parts / ".y.0123abcd.part"):
        said = terminal("runs", "clean", "--dry-run")
        assert f"Would mark as KILLED: {dead[:8]} dead" in said.out
        assert place.status_of(dead) == "RUNNING"
        assert sorted(path.name for path in folder.iterdir()) == sorted([*kept, *removed])
        document = terminal("runs", "clean", "--json").document
    assert document["killed"] == [dead]
    assert document["elsewhere"] == [elsewhere]
    assert sorted(Path(path).name for path in document["checkpoints"]) == sorted(removed)
    assert [Path(path).name for path in document["bundle_parts"]] == [".x.0123abcd.part"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
    assert [path.name for path in parts.iterdir()] == [".y.0123abcd.part"]
    assert [place.status_of(each) for each in (dead, alive, elsewhere)] == ["KILLED", "RUNNING", "RUNNING"]
    assert f"Left, because another machine may be writing it: {elsewhere[:8]}" in terminal("runs", "clean").out
    liveness.writing.discard(alive)


def test_clean_leaves_checkpoints_that_another_store_in_the_folder_may_need(place, terminal):
    folder = Path("mlruns/checkpoints")
    folder.mkdir()
    Path("mlruns/other.db").touch()
    file = folder / f"{'0' * 32}.pt"
    file.touch()
    said = terminal("runs", "clean", "--json")
    assert said.document["unknown_checkpoints"] == [str(file.absolute())]
    assert file.exists()
