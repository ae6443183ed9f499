"""The runs of a study, written many at once."""

from __future__ import annotations

import math
import time

import pytest
from tracking_stores import copied_store, start

from regplug.tracking import ChildRun


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("my data é")


@pytest.fixture(scope="module")
def store(folder):
    return copied_store(folder)


POINTS = [(f"train/m{index % 4}", index / 7, index // 4, 1_000 + index) for index in range(200)]


def _children(count):
    return [
        ChildRun(
            name=f"child {index}",
            params={"lr": 0.1 * index, "text": "z" * 7000},
            tags={"why": "test"},
            metrics=[*POINTS, POINTS[0], ("train/nan", math.nan, 0, 5), ("train/inf", math.inf, 0, 5)],
            status="FAILED" if index == 1 else "FINISHED",
        )
        for index in range(count)
    ]


def _comparable(info):
    tags = {key: value for key, value in info.tags.items() if key != "mlflow.parentRunId"}
    return info.name, info.status, info.started, info.ended, info.params, repr(sorted(info.metrics.items())), tags


def test_children_written_in_bulk_are_those_that_mlflow_itself_would_write(store):
    with start(store, experiment="bulk", name="study") as parent:
        ids = store.log_children(parent.run_id, "bulk", _children(3))
        sql_store, store._sql_store = store._sql_store, None
        try:
            slow_ids = store.log_children(parent.run_id, "bulk", _children(3))
        finally:
            store._sql_store = sql_store
    for fast, slow in zip(ids, slow_ids, strict=True):
        assert _comparable(store.find_run(fast)) == _comparable(store.find_run(slow))
        assert store.find_run(fast).parent_id == parent.run_id
        for key in ("train/m0", "train/m3", "train/inf"):
            assert store.metric_history(fast, key) == store.metric_history(slow, key)
        pattern = store._client.get_run(slow).info.artifact_uri.replace(slow, fast)
        assert store._client.get_run(fast).info.artifact_uri == pattern
    assert len(store.runs(parent=parent.run_id, limit=None)) == 6


def test_a_child_written_in_bulk_takes_files_and_more_metrics(store):
    with start(store, experiment="bulk", name="study") as parent:
        child = store.log_children(parent.run_id, "bulk", _children(1))[0]
    with store.resume_run(child) as run:
        run.log_text("curve", "curves.csv")
        run.log_metrics({"train/m0": 99.0}, step=1000)
    assert store.read_artifact(child, "curves.csv").read_text() == "curve"
    assert store.find_run(child).metrics["train/m0"] == 99.0


def test_128_children_of_200_points_take_less_than_eight_seconds(store):
    children = [ChildRun(name=f"c{index}", params={"lr": index}, metrics=POINTS) for index in range(128)]
    with start(store, experiment="many", name="study") as parent:
        began = time.process_time()  # whatever else the machine does
        ids = store.log_children(parent.run_id, "many", children)
        assert time.process_time() - began < 8
    assert len(set(ids)) == 128
    assert len(store.metric_history(ids[-1], "train/m2")) == 50


def test_children_are_written_beside_a_run_that_another_thread_writes(store):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread, start(store, experiment="beside", name="study") as parent:
        written = [thread.submit(store.log_children, parent.run_id, "beside", _children(8)) for _ in range(5)]
        for step in range(300):
            parent.log_metrics({"train/loss": step / 3}, step=step)
            if step % 20 == 0:
                parent.flush()
        ids = [run_id for each in written for run_id in each.result()]
    assert len(store.runs(parent=parent.run_id, limit=None)) == len(set(ids)) == 40
    assert len(store.metric_history(parent.run_id, "train/loss")) == 300
