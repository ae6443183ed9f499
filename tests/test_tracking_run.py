"""What a run that is tracked leaves in the store, and how it is found again."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from tracking_stores import copied_store, start, wait_until

from regplug.errors import RequestError, TrackingError, TrackingLostError
from regplug.tracking import delivery, open_store
from regplug.tracking.watch import LOOK_EVERY_S

pytest_plugins = ["tracking_folder"]
pytestmark = pytest.mark.usefixtures("no_tracking_variables")


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
    monkeypatch.setattr(delivery, "FLUSH_EVERY_S", 1e9)
    with start(store) as run:
        run.log_metrics({"x": 1.0}, step=0)
        time.sleep(2 * LOOK_EVERY_S)
        assert store.metric_history(run.run_id, "x") == []
        monkeypatch.setattr(delivery, "FLUSH_EVERY_S", 0.0)
        wait_until(lambda: len(store.metric_history(run.run_id, "x")) == 1)
        monkeypatch.setattr(delivery, "FLUSH_EVERY_S", 1e9)
        run.log_metrics({f"many/{index}": 0.0 for index in range(2500)}, step=0)
        wait_until(lambda: len(store.find_run(run.run_id).metrics) == 2501)


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


def test_what_the_store_refuses_when_a_run_has_started_is_told_and_no_run_is_left_running(store):
    with pytest.raises(TrackingLostError, match="could not be logged"):
        start(store, experiment="refused", params={"bad\nkey" + "/../x": 1})
    assert [info.status for info in store.runs("refused")] == ["FAILED"]


@pytest.fixture
def without_room(tmp_path):
    """A store of its own, and a run in it, that finds no more room from some moment on."""
    import sqlalchemy

    engine = copied_store(tmp_path)._sql_store.engine

    def leave_no_room(connection):
        connection.exec_driver_sql("PRAGMA max_page_count = 1")

    class Room:
        store = open_store(folder=tmp_path)

        def take(self):
            sqlalchemy.event.listen(self.store._sql_store.engine, "begin", leave_no_room)

        def give(self):
            sqlalchemy.event.remove(self.store._sql_store.engine, "begin", leave_no_room)
            self.store._sql_store.engine.dispose()  # the connections remember it

    yield Room()
    engine.dispose()


def log_much(run, steps=3000):
    for step in range(steps):
        run.log_metrics({"train/loss": 1.0, "valid/loss": 2.0}, step=step)


def test_a_store_without_room_is_told_at_once_and_makes_the_run_failed_at_its_end(without_room):
    run, told = start(without_room.store), []
    run.log_metrics({"train/loss": 0.5}, step=0)
    run.flush()
    run.on_trouble(told.append)

    def train():
        with run:
            without_room.take()
            log_much(run)
            wait_until(lambda: told)
            log_much(run)

    with pytest.raises(TrackingLostError, match=r"full.*12000 metric values") as caught:
        train()
    assert caught.value.exit_code == 1
    assert "Free some space" in caught.value.hint
    assert "cannot be written" in told[0]
    assert "once more" in told[1]
    assert len(told) == 2
    without_room.give()
    info = without_room.store.find_run(run.run_id)
    assert info.status == run.status
    assert without_room.store.metric_history(run.run_id, "train/loss")[0].value == 0.5


def test_what_a_store_did_not_take_is_sent_again_as_soon_as_it_takes_it(without_room, monkeypatch):
    monkeypatch.setattr(delivery, "_FIRST_PAUSE_S", 0.1)
    run, told = start(without_room.store), []
    run.on_trouble(told.append)
    with run:
        without_room.take()
        log_much(run)
        wait_until(lambda: told)
        without_room.give()
        wait_until(lambda: len(told) == 2)
    assert "can be written again" in told[1]
    assert without_room.store.find_run(run.run_id).status == run.status == "FINISHED"
    assert len(without_room.store.metric_history(run.run_id, "valid/loss")) == 3000


def test_a_file_that_finds_no_room_is_kept_until_it_does_and_holds_nothing_else_up(store, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "_FIRST_PAUSE_S", 0.1)
    client_of, is_full = store._client.log_artifact, [True]

    def log_artifact(run_id, path, folder=None):
        if is_full[0]:
            raise OSError(28, "No space left on device")
        client_of(run_id, path, folder)

    monkeypatch.setattr(store._client, "log_artifact", log_artifact)
    with start(store) as run:
        (tmp_path / "state.pt").write_bytes(b"weights")
        run.log_file(tmp_path / "state.pt")
        (tmp_path / "state.pt").unlink()
        run.log_metrics({"x": 1.0}, step=0)
        wait_until(lambda: store.metric_history(run.run_id, "x"))
        assert run.is_lost
        is_full[0] = False
        wait_until(lambda: not run.is_lost)
    assert store.read_artifact(run.run_id, "state.pt").read_bytes() == b"weights"
    assert store.find_run(run.run_id).status == "FINISHED"


def test_half_a_file_is_no_file(store, tmp_path, monkeypatch):
    def half(run_id, path, folder=None):
        place = Path(unquote(run.artifact_uri.removeprefix("file://")))
        place.mkdir(parents=True, exist_ok=True)
        (place / "state.pt").write_bytes(b"wei")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store._client, "log_artifact", half)
    (tmp_path / "state.pt").write_bytes(b"weights")
    run = start(store)
    with pytest.raises(TrackingLostError, match=r"does not have: state\.pt\. There the run is FAILED"), run:
        run.log_file(tmp_path / "state.pt")
    assert store.artifact_names(run.run_id) == []
    assert store.find_run(run.run_id).tags["regplug.error"].startswith("state.pt could not be kept: [Errno 28]")


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
