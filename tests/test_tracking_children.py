"""The runs of a study, written many at once."""

from __future__ import annotations

import math
import re
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from tracking_stores import start

from regplug.errors import TrackingError
from regplug.tracking import ChildRun, UsedDataset, tables

pytest_plugins = ["tracking_folder"]
pytestmark = pytest.mark.usefixtures("no_tracking_variables")


POINTS = [(f"train/m{index % 4}", index / 7, index // 4, 1_000 + index) for index in range(200)]


def _children(count):
    return [
        ChildRun(
            name=f"child {index}",
            params={"lr": 0.1 * index, "text": "z" * 7000},
            tags={"why": "test"},
            metrics=[*POINTS, POINTS[0], ("train/nan", math.nan, 0, 5), ("train/inf", math.inf, 0, 5)],
            status="FAILED" if index == 1 else "FINISHED",
            dataset=UsedDataset(
                name="digits", digest=f"{index % 2}" * 64, source="here", profile={"rows": {"train": 3}}
            ),
        )
        for index in range(count)
    ]


def _comparable(info):
    left_out = ("mlflow.parentRunId", "regplug.heartbeat", "regplug.process")
    tags = {key: value for key, value in info.tags.items() if key not in left_out}
    return info.name, info.status, info.started, info.ended, info.params, repr(sorted(info.metrics.items())), tags


def _datasets(store, run_id):
    """Dataset, digest, source, profile and tags of each dataset that a run used."""
    used = store._client.get_run(run_id).inputs.dataset_inputs
    return [(vars(one.dataset), [(tag.key, tag.value) for tag in one.tags]) for one in used]


def written(store, parent, experiment, children):
    """Writes children; returns their ids."""
    return [run_id for run_ids in store.log_children(parent.run_id, experiment, children) for run_id in run_ids]


@pytest.mark.slow
def test_children_written_in_bulk_are_those_that_mlflow_itself_would_write(store, monkeypatch):
    with start(store, experiment="bulk", name="study") as parent:
        ids = written(store, parent, "bulk", _children(3))
        with monkeypatch.context() as patch:
            patch.setattr(tables, "KNOWN_VERSIONS", ())
            patch.setattr(tables, "write_children", None)
            slow_ids = written(store, parent, "bulk", _children(3))
    for fast, slow in zip(ids, slow_ids, strict=True):
        assert _comparable(store.find_run(fast)) == _comparable(store.find_run(slow))
        assert store.find_run(fast).parent_id == parent.run_id
        for key in ("train/m0", "train/m3", "train/inf"):
            assert store.metric_history(fast, key) == store.metric_history(slow, key)
        assert _datasets(store, fast) == _datasets(store, slow) != []
        pattern = store._client.get_run(slow).info.artifact_uri.replace(slow, fast)
        assert store._client.get_run(fast).info.artifact_uri == pattern
    assert len(store.runs(parent=parent.run_id, limit=None)) == 6


def test_the_tables_of_the_installed_mlflow_are_known():
    assert tables.are_known(), f"compare its tables with what tables.py writes, and enter {version('mlflow')} there"


@pytest.mark.parametrize("installed", ["3.16.0", "3.18.0", "4.0.0rc1"])
def test_of_another_mlflow_the_tables_are_not_known(monkeypatch, installed):
    monkeypatch.setattr(tables, "version", lambda _: installed)
    assert not tables.are_known()


def test_only_one_module_writes_tables_of_mlflow_and_one_reads_them():
    touching = re.compile(r"\bdbmodels\b|\b(INSERT INTO|UPDATE|DELETE FROM) (runs|tags|params|metrics|experiments)\b")
    writing = re.compile(r"\b(add|add_all|bulk_insert_mappings|insert|update|delete|merge)\(|INSERT|UPDATE|DELETE")
    package = Path(tables.__file__).parents[1]
    touched = {file.name: file.read_text() for file in package.rglob("*.py") if touching.search(file.read_text())}
    assert sorted(touched) == ["ranking.py", "tables.py"]
    assert [name for name, text in touched.items() if writing.search(text)] == ["tables.py"]


def test_children_go_on_with_what_was_begun_when_the_store_was_lost(store, monkeypatch):
    monkeypatch.setattr(tables, "KNOWN_VERSIONS", ())
    children, calls = _children(3), []
    log_batch = store._client.log_batch

    def fail_once(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise ConnectionError("Connection refused")
        log_batch(*args, **kwargs)

    monkeypatch.setattr(store._client, "log_batch", fail_once)
    first = []
    with start(store, experiment="lost", name="study") as parent:
        calls.clear()
        with pytest.raises(TrackingError, match="refused"):
            first.extend(run_id for ids in store.log_children(parent.run_id, "lost", children) for run_id in ids)
        rest = written(store, parent, "lost", children[len(first) :])
    assert (len(first), len(rest)) == (1, 2)
    found = store.runs(parent=parent.run_id, limit=None)
    assert {run.run_id for run in found} == {*first, *rest}
    assert sorted(run.status for run in found) == ["FAILED", "FINISHED", "FINISHED"]


def test_a_child_written_in_bulk_takes_files_and_more_metrics(store):
    with start(store, experiment="bulk", name="study") as parent:
        child = written(store, parent, "bulk", _children(1))[0]
    with store.resume_run(child) as run:
        run.log_text("curve", "curves.csv")
        run.log_metrics({"train/m0": 99.0}, step=1000)
    assert store.read_artifact(child, "curves.csv").read_text() == "curve"
    assert store.find_run(child).metrics["train/m0"] == 99.0


def test_128_children_of_200_points_take_less_than_eight_seconds(store):
    children = [ChildRun(name=f"c{index}", params={"lr": index}, metrics=POINTS) for index in range(128)]
    with start(store, experiment="many", name="study") as parent:
        began = time.process_time()  # whatever else the machine does
        ids = written(store, parent, "many", children)
        assert time.process_time() - began < 8
    assert len(set(ids)) == 128
    assert len(store.metric_history(ids[-1], "train/m2")) == 50


def test_children_are_written_beside_a_run_that_another_thread_writes(store):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread, start(store, experiment="beside", name="study") as parent:
        beside = [thread.submit(written, store, parent, "beside", _children(8)) for _ in range(5)]
        for step in range(300):
            parent.log_metrics({"train/loss": step / 3}, step=step)
            if step % 20 == 0:
                parent.flush()
        ids = [run_id for each in beside for run_id in each.result()]
    assert len(store.runs(parent=parent.run_id, limit=None)) == len(set(ids)) == 40
    assert len(store.metric_history(parent.run_id, "train/loss")) == 300
