"""What a run that is tracked leaves in the store, and how it is found again."""

from __future__ import annotations

import json
import math
import sys
import time

import pytest
from tracking_stores import copied_store, prepared_database, start

from regplug.errors import RequestError, TrackingError
from regplug.tracking import open_store
from regplug.tracking import run as run_module


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


def test_a_run_that_ends_is_finished_with_all_it_logged(store):
    with start(store, params={"lr": 0.1, "hidden": [64, 32], "nesterov": False}, tags={"why": "test"}) as run:
        for epoch in range(5):
            run.log_metrics({"train/loss": 1 / (epoch + 1)}, step=epoch)
    info = store.find_run(run.run_id)
    assert (info.status, info.experiment, info.name, info.is_stale) == ("FINISHED", "digits/mlp", "mlp seed 0", False)
    assert info.params == {"lr": "0.1", "hidden": "[64,32]", "nesterov": "false"}
    assert info.tags["why"] == "test"
    assert info.ended >= info.started
    history = store.metric_history(run.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(epoch, 1 / (epoch + 1)) for epoch in range(5)]


def test_ctrl_c_ends_a_run_as_killed_and_keeps_what_was_logged(store):
    run = start(store)
    run.log_metrics({"train/loss": 0.5}, step=0)
    with pytest.raises(KeyboardInterrupt), run:
        raise KeyboardInterrupt
    info = store.find_run(run.run_id)
    assert (info.status, info.metrics) == ("KILLED", {"train/loss": 0.5})


def test_an_exception_ends_a_run_as_failed_with_its_message(store):
    run = start(store)
    run.log_metrics({"train/loss": 0.5}, step=0)
    with pytest.raises(ZeroDivisionError), run:
        _ = 1 / 0
    info = store.find_run(run.run_id)
    assert (info.status, info.metrics) == ("FAILED", {"train/loss": 0.5})
    assert info.tags["regplug.error"] == "ZeroDivisionError: division by zero"


def test_metrics_that_are_no_numbers_are_kept_as_the_store_keeps_them(store):
    with start(store) as run:
        run.log_metrics({"a": math.nan, "b": math.inf, "c": -math.inf}, step=0)
    metrics = store.find_run(run.run_id).metrics
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"]) == (sys.float_info.max, -sys.float_info.max)


def test_metrics_wait_for_a_batch_and_not_longer_than_the_limit(store, monkeypatch):
    monkeypatch.setattr(run_module, "FLUSH_EVERY_S", 1e9)
    with start(store) as run:
        run.log_metrics({"x": 1.0}, step=0)
        assert store.metric_history(run.run_id, "x") == []
        monkeypatch.setattr(run_module, "FLUSH_EVERY_S", 0.0)
        run.log_metrics({"x": 2.0}, step=1)
        assert len(store.metric_history(run.run_id, "x")) == 2
        monkeypatch.setattr(run_module, "FLUSH_EVERY_S", 1e9)
        run.log_metrics({f"many/{index}": 0.0 for index in range(2500)}, step=0)
        assert len(store.find_run(run.run_id).metrics) == 2501


def test_a_value_too_long_is_cut_visibly_and_kept_whole(store):
    long, longer = "x" * 7000, "y" * 9000
    with start(store, params={"note": long}, tags={"story": longer}) as run:
        pass
    info = store.find_run(run.run_id)
    assert info.params["note"] == "x" * 5999 + "…"
    assert info.tags["story"] == "y" * 7999 + "…"
    kept = json.loads(store.read_artifact(run.run_id, "config/long_values.json").read_text(encoding="utf-8"))
    assert kept == {"note": long, "story": longer}


def test_more_parameters_and_tags_than_one_call_takes_are_all_kept(store):
    params = {f"p{index}": index for index in range(250)}
    with start(store, params=params, tags={f"t{index}": "x" for index in range(250)}) as run:
        pass
    info = store.find_run(run.run_id)
    assert info.params == {key: str(value) for key, value in params.items()}
    assert {f"t{index}" for index in range(250)} <= set(info.tags)


def test_files_are_found_from_whatever_folder_one_stands_in(store, tmp_path, monkeypatch):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"onnx")
    monkeypatch.chdir(tmp_path)
    with start(store) as run:
        run.log_text("héllo", "notes/a.txt")
        run.log_dict({"lr": 0.1}, "config/run.json")
        run.log_figure_png(b"png", "figures/confusion.png")
        run.log_file(tmp_path / "bundle" / "model.onnx", "files")
        run.log_folder(tmp_path / "bundle", "bundle")
    assert sorted(store.artifact_names(run.run_id)) == ["bundle", "config", "figures", "files", "notes"]
    assert store.read_artifact(run.run_id, "notes/a.txt").read_text(encoding="utf-8") == "héllo"
    assert store.read_artifact(run.run_id, "figures/confusion.png").read_bytes() == b"png"
    assert (store.read_artifact(run.run_id, "bundle") / "model.onnx").read_bytes() == b"onnx"
    assert json.loads(store.read_artifact(run.run_id, "config/run.json").read_text()) == {"lr": 0.1}
    assert not (tmp_path / "mlruns").exists()


def test_a_file_that_a_run_has_not_is_told_with_near_names(store):
    with start(store) as run:
        run.log_text("a", "config/run.json")
    with pytest.raises(RequestError, match=r"no file config/rum\.json") as caught:
        store.read_artifact(run.run_id, "config/rum.json")
    assert "config/run.json" in caught.value.hint


def test_a_dataset_is_logged_as_input_with_its_digest(store):
    with start(store) as run:
        run.log_dataset("digits", "abc123", "regplug:digits", profile={"rows": 1797}, context="train")
    inputs = store._client.get_run(run.run_id).inputs.dataset_inputs
    assert [(each.dataset.name, each.dataset.digest) for each in inputs] == [("digits", "abc123")]
    assert json.loads(inputs[0].dataset.profile) == {"rows": 1797}
    assert [(tag.key, tag.value) for tag in inputs[0].tags] == [("mlflow.data.context", "train")]


def test_the_experiment_of_the_environment_wins(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "our question")
    with start(store) as run:
        pass
    assert run.experiment == "our question"
    assert store.find_run(run.run_id).experiment == "our question"


def test_an_experiment_opens_in_the_ui_among_trained_models(store):
    experiment = store._client.get_experiment(store.experiment_id("digits/mlp"))
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_an_experiment_that_was_deleted_is_told(folder):
    store = open_store(folder=folder)
    store._client.delete_experiment(store.experiment_id("gone"))
    with pytest.raises(TrackingError, match="was deleted"):
        start(open_store(folder=folder), experiment="gone")


def test_what_the_store_refuses_is_a_tracking_error_and_no_run_is_left_running(store):
    with pytest.raises(TrackingError, match="could not be logged"):
        start(store, experiment="refused", params={"bad\nkey" + "/../x": 1})
    assert [info.status for info in store.runs("refused")] == ["FAILED"]


def test_a_full_disk_is_a_tracking_error_and_what_was_logged_before_is_kept(tmp_path, folder, store):
    place = tmp_path / "mlruns"
    place.mkdir()
    (place / "mlflow.db").write_bytes(prepared_database())
    full = open_store(folder=tmp_path)
    run = start(full)
    run.log_metrics({"train/loss": 0.5}, step=0)
    run.flush()
    import sqlalchemy

    @sqlalchemy.event.listens_for(full._sql_store.engine, "begin")
    def leave_no_room(connection):
        connection.exec_driver_sql("PRAGMA max_page_count = 1")

    def log_much():
        with run:
            for step in range(5000):
                run.log_metrics({"train/loss": 1.0, "valid/loss": 2.0}, step=step)

    with pytest.raises(TrackingError, match="full") as caught:
        log_much()
    assert "Free some space" in caught.value.hint
    sqlalchemy.event.remove(full._sql_store.engine, "begin", leave_no_room)
    assert full.metric_history(run.run_id, "train/loss")[0].value == 0.5


def test_a_run_is_found_by_id_by_the_beginning_of_it_and_by_name(store):
    name = "the only one's name"
    with start(store, name=name) as run:
        pass
    assert store.find_run(run.run_id).run_id == run.run_id
    assert store.find_run(run.run_id[:12]).run_id == run.run_id
    assert store.find_run(name).run_id == run.run_id
    with start(store, name='both "kinds" of one\'s quotes') as odd:
        pass
    assert store.find_run(odd.name).run_id == odd.run_id


def test_an_unknown_run_is_told_with_near_names(store):
    with start(store, name="cnn + dropblock seed 7"):
        pass
    with pytest.raises(RequestError, match="There is no run cnn") as caught:
        store.find_run("cnn + dropblok seed 7")
    assert "cnn + dropblock seed 7" in caught.value.hint


def test_a_name_that_several_runs_bear_is_told_with_their_ids(store):
    ids = []
    for _ in range(2):
        with start(store, name="twice") as run:
            ids.append(run.run_id)
    with pytest.raises(RequestError, match="several runs") as caught:
        store.find_run("twice")
    assert all(run_id in caught.value.message for run_id in ids)


def test_an_unknown_experiment_is_told_with_near_names(store):
    store.experiment_id("digits/mlp")
    with pytest.raises(RequestError) as caught:
        store.runs("digits/mpl")
    assert "digits/mlp" in caught.value.hint


def test_runs_come_newest_first_and_no_more_than_asked_for(store):
    for index in range(3):
        with start(store, experiment="ordered", name=f"n{index}"):
            time.sleep(0.002)
    assert [info.name for info in store.runs("ordered", limit=2)] == ["n2", "n1"]
