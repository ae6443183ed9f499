"""System metrics on request: logged with the run, and no thread outlives it."""

from __future__ import annotations

import importlib.util
import math
import threading

import pytest
from study_runs import Place
from tracking_stores import copied_store, start

from regplug.errors import RequestError
from regplug.runs import request

PROCESSOR = "system/cpu_utilization_percentage"
needs_psutil = pytest.mark.skipif(
    importlib.util.find_spec("psutil") is None, reason="needs psutil: pip install 'regplug[system]'"
)


@pytest.fixture(autouse=True)
def _short_interval(monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.02")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("system"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return copied_store(tmp_path_factory.mktemp("measured"))


def measured(store, **fields):
    run = start(store, **fields)
    run.measure_system()
    return run


def steps(store, run_id):
    return [point.step for point in store.metric_history(run_id, PROCESSOR)]


def is_measuring():
    return any(thread.name == "SystemMetricsMonitor" for thread in threading.enumerate())


@pytest.mark.parametrize("asked", ["run", "sweep", "cv"])
def test_without_psutil_system_metrics_are_refused_before_anything_starts(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(request, "find_spec", lambda name: None)
    fields = {"sweep": {"grid": ["lr=0.1,0.2"]}, "cv": {"grid": ["lr=0.1,0.2"], "folds": 2}}.get(asked, {})
    there = Place(tmp_path)
    with pytest.raises(RequestError) as caught:
        getattr(there, asked)(**fields, system_metrics=True)
    assert str(caught.value) == (
        'system_metrics needs the library psutil, which is not installed.\npip install "regplug[system]"'
    )
    assert there.store.runs(limit=None) == []


@needs_psutil
def test_a_run_logs_the_load_of_the_machine_at_intervals_and_then_stops(store):
    with measured(store) as run:
        assert is_measuring()
        threading.Event().wait(0.1)
    assert not is_measuring()
    found = steps(store, run.run_id)
    assert found == list(range(len(found)))
    assert len(found) >= 2
    metrics = store.find_run(run.run_id).metrics
    assert {"system/system_memory_usage_megabytes", "system/disk_available_megabytes"} <= set(metrics)
    assert all(math.isfinite(value) for value in metrics.values())


@needs_psutil
def test_a_run_shorter_than_the_interval_has_one_point(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "600")
    with measured(store) as run:
        run.log_metrics({"train/loss": 1.0}, step=0)
    assert steps(store, run.run_id) == [0]
    assert store.find_run(run.run_id).status == "FINISHED"


@needs_psutil
@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_measuring_ends_with_a_run_that_fails_or_is_interrupted(error, status, store):
    run = measured(store)
    with pytest.raises(error), run:
        raise error
    assert not is_measuring()
    assert store.find_run(run.run_id).status == status
    assert steps(store, run.run_id)


@needs_psutil
def test_the_steps_of_a_resumed_run_continue(store):
    with measured(store) as run:
        run.ends_as = "KILLED"
    before = steps(store, run.run_id)
    again = store.resume_run(run.run_id)
    again.measure_system()
    with again:
        pass
    assert steps(store, run.run_id) == list(range(len(before) + 1))


@needs_psutil
def test_a_measurement_that_fails_is_reported_and_the_run_goes_on(store, monkeypatch):
    def broken():
        raise PermissionError("/proc is not readable")

    monkeypatch.setattr("psutil.virtual_memory", broken)
    told = []
    run = measured(store)
    run.on_trouble(told.append)
    with run:
        run.log_metrics({"train/loss": 1.0}, step=0)
    assert store.find_run(run.run_id).status == "FINISHED"
    assert told == ["The load of the machine is no longer measured: PermissionError: /proc is not readable"]


@needs_psutil
@pytest.mark.slow
def test_a_study_measures_once_and_its_runs_do_not(place):
    study = place.sweep(grid=["lr=0.1,0.2"], system_metrics=True)
    run = place.run(system_metrics=True)
    assert PROCESSOR in place.store.find_run(run.run_id).metrics
    assert PROCESSOR in place.store.find_run(study.study_id).metrics
    for child in place.children(study.study_id):
        assert not [name for name in child.metrics if name.startswith("system/")]
        assert "system_metrics" not in child.params
    assert not is_measuring()
