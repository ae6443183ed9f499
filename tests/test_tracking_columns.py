"""Which parameters runs log: those that somebody chose in any run of the experiment."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tracking_stores import copied_store

from regplug.tracking import ChildRun, entries, tables
from regplug.tracking.columns import COLUMNS_TAG, ColumnBook
from regplug.tracking.views import VIEW_TAG

PARAMS = {"model": "mlp", "lr": 0.2, "epochs": 30, "seed": 0, "regularizers": "none"}
ALWAYS = frozenset({"model", "seed", "regularizers"})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return copied_store(tmp_path_factory.mktemp("columns"))


@pytest.fixture(params=["tables", "client"])
def way(request, monkeypatch):
    """How earlier runs get a column: through MLflow's tables or its client."""
    if request.param == "client":
        monkeypatch.setattr(tables, "KNOWN_VERSIONS", ())
    return request.param


def _run(store, experiment, name, shown=(), off=None, **params):
    both = {"params": {**PARAMS, **params}, "shown": ALWAYS | {*params} | {*shown}, "off": off or {}}
    with store.start_run(experiment=experiment, name=name, tags={}, **both) as run:
        pass
    return run.run_id


def _logged(store, run_id):
    return dict(store._client.get_run(run_id).data.params)


def test_a_parameter_is_a_column_once_a_run_chose_it(store, way):
    plain = _run(store, f"chosen {way}", "plain")
    assert _logged(store, plain) == {"model": "mlp", "seed": "0", "regularizers": "none"}
    faster = _run(store, f"chosen {way}", "faster", lr=0.5)
    later = _run(store, f"chosen {way}", "later")
    assert [_logged(store, run_id).get("lr") for run_id in (plain, faster, later)] == ["0.2", "0.5", "0.2"]
    assert all("epochs" not in _logged(store, run_id) for run_id in (plain, faster, later))


def test_a_strength_that_is_absent_is_zero_in_earlier_and_later_runs(store, way):
    off = {"reg.l2.strength": 0}
    plain = _run(store, f"off {way}", "plain")
    strong = _run(store, f"off {way}", "strong", off=off, **{"reg.l2.strength": 0.1, "regularizers": "l2"})
    later = _run(store, f"off {way}", "later")
    texts = [_logged(store, run_id)["reg.l2.strength"] for run_id in (plain, strong, later)]
    assert texts == ["0", "0.1", "0"]


def test_a_parameter_that_does_not_apply_stays_absent(store, way):
    plain = _run(store, f"width {way}", "plain")
    _run(store, f"width {way}", "wide", **{"model.width": 9})
    assert "model.width" not in _logged(store, plain)


def test_all_parameters_can_be_read_back(store):
    run_id = _run(store, "all", "plain", lr=0.5)
    assert store.find_run(run_id).params == {**{key: str(value) for key, value in PARAMS.items()}, "lr": "0.5"}


def test_runs_of_a_study_share_the_columns_with_single_runs(store, way):
    experiment, off = f"study {way}", {"reg.l2.strength": 0}
    alone = _run(store, experiment, "alone", lr=0.5)
    child = ChildRun(
        name="child",
        params={**PARAMS, "reg.l2.strength": 0.1, "setting": "l2"},
        shown=ALWAYS | {"reg.l2.strength", "setting"},
        off=off,
        files={"config.toml": "epochs = 30"},
    )
    with store.start_run(experiment=experiment, name="study", params={"grid": "x"}, tags={}) as parent:
        ((child_id,),) = store.log_children(parent.run_id, experiment, [child])
    assert _logged(store, child_id).keys() == {*ALWAYS, "reg.l2.strength", "setting", "lr"}
    assert _logged(store, alone)["reg.l2.strength"] == "0"
    assert _logged(store, parent.run_id) == {"grid": "x"}
    assert store.read_artifact(child_id, "config.toml").read_text() == "epochs = 30"


def test_an_experiment_of_an_earlier_version_keeps_its_columns(store):
    old = {"lr": 0.2, "regularizers": "none", "reg.l1.strength": 0, "seed": 0}
    with store.start_run(experiment="old", name="old", params=old, tags={"regplug.data.digest": "x"}):
        pass
    new = _run(store, "old", "new", **{"reg.l2.strength": 0.1, "regularizers": "l2"}, off={"reg.l2.strength": 0})
    assert _logged(store, new).keys() == {*old, "model", "reg.l2.strength"}
    assert _logged(store, new)["reg.l1.strength"] == "0"
    assert ColumnBook(store._client, store.experiment_id("old")).read().keys() >= {*old, "reg.l2.strength"}


def test_processes_that_add_columns_at_once_lose_none(store):
    store.experiment_id("race")
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: _run(store, "race", f"run {n}", **{f"field{n}": n}), range(4)))
    tags = store._client.get_experiment(store.experiment_id("race")).tags
    listed = {column for key, text in tags.items() if key.startswith(COLUMNS_TAG) for column in json.loads(text)}
    assert listed == {*ALWAYS, *(f"field{n}" for n in range(4))}
    assert all(len(_logged(store, run_id)) == 4 for run_id in found)
    view = json.loads(json.loads(tags[f"{VIEW_TAG}regplug"])["state"])
    assert {f"params.`field{n}`" for n in range(4)} <= set(view["selectedColumns"])


def test_parameters_too_long_for_a_tag_are_all_logged(store):
    run_id = _run(store, "long", "long", shown=(), lr=0.1)
    with store.start_run(experiment="long", name="l", params={"a": "x" * 9000}, tags={}, shown=frozenset()) as run:
        pass
    assert _logged(store, run.run_id)["a"].startswith("xxx")
    assert "a" not in _logged(store, run_id)


def test_a_run_of_a_study_that_is_kept_on_disk_keeps_its_columns():
    child = ChildRun(name="c", params={"lr": 0.1}, shown=frozenset({"lr"}), files={"a.txt": "b"}, metrics=[])
    kept = json.loads(json.dumps(entries.keep_children([child], "me")))
    assert entries._child(kept["children"][0]) == child
