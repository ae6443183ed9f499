"""A run from its configuration to its end: what it keeps, and how it ends when something goes wrong."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn
from trainings import assert_same_bits, toy

import regplug
from regplug.errors import (
    CompositionError,
    DataError,
    DivergedError,
    ModelError,
    ParameterError,
    RequestError,
    TrackingError,
    UnknownComponentError,
)
from regplug.runs.results import Observer
from regplug.tracking import open_store

FIELDS = {"reg": ["dropout", "l2"], "seed": 3}


def state(result):
    return {name: value.clone() for name, value in result.model.state_dict().items()}


class Raises(Observer):
    """Breaks in at the end of an epoch."""

    def __init__(self, error, epoch=2):
        self.error, self.epoch = error, epoch

    def epoch_ended(self, record):
        if record.epoch == self.epoch:
            raise self.error


class Remembers(Observer):
    """Keeps everything that it is told."""

    def __init__(self):
        self.told = []

    def stage(self, name):
        self.told.append(name)

    def run_started(self, info):
        self.told.append(info)

    def epoch_ended(self, record):
        self.told.append(record)

    def run_finished(self, result):
        self.told.append(result)


# What a run gives.


def test_the_same_seed_gives_the_same_state_and_another_another(place):
    first, second, other = place.run(**FIELDS), place.run(**FIELDS), place.run(**FIELDS | {"seed": 4})
    assert first.state_sha256 == second.state_sha256 != other.state_sha256
    assert first.metrics["test/loss"] == second.metrics["test/loss"]


def test_the_resolved_configuration_run_again_gives_the_same_bits(place):
    fields = {
        "dataset": "digits",
        "epochs": 2,
        "export": False,
        "reg": ["dropout:drop_probability=0.3", "mixup", "swa"],
    }
    first = regplug.run(**fields, seed=5, data_seed=2)
    file = open_store(folder=place.folder).read_artifact(first.run_id, "config.toml")
    second = regplug.run(config=file)
    assert second.config == first.config
    assert second.state_sha256 == first.state_sha256
    assert_same_bits(state(first), state(second))


@pytest.mark.parametrize(
    "more", [{"probe": ()}, {"evaluate_every": 2}, {"observers": [Remembers()]}, {"reg": ["dropout", "l2", "none"]}]
)
def test_looking_and_what_changes_nothing_change_no_bit(place, more):
    assert place.run(**FIELDS).state_sha256 == place.run(**FIELDS | more).state_sha256


def test_a_seed_does_not_leave_or_take_anything_of_the_global_generators(place):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global one is what is meant
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = place.run(**FIELDS)
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002
    torch.manual_seed(2)
    assert place.run(**FIELDS).state_sha256 == first.state_sha256


def test_a_run_is_tracked_with_what_it_was_and_what_it_came_to(place, figures_are_drawn):
    result = place.run(dataset="digits", reg=["l2:strength=0.01"])
    run = place.only_run()
    assert (run.run_id, run.status, run.name) == (result.run_id, "FINISHED", result.run_name)
    assert run.params["reg.l2.strength"] == "0.01"
    assert {"train/objective", "test/accuracy", "test/loss", "gap/loss", "gap/accuracy", "norm/weight"} <= set(
        run.metrics
    )
    assert run.metrics["test/accuracy"] == result.metrics["test/accuracy"]
    assert run.tags["regplug.state_sha256"] == result.state_sha256
    store = open_store(folder=place.folder)
    assert {"config.toml", "config.json", "confusion_matrix.png", "curves.png", "state.pt"} <= set(
        store.artifact_names(result.run_id)
    )
    for figure in ("confusion_matrix.png", "curves.png"):
        assert imread(store.read_artifact(result.run_id, figure)).ndim == 3
    assert len(store.metric_history(result.run_id, "train/objective")) == 2


def test_the_result_is_a_document_that_json_can_hold(place):
    document = json.loads(json.dumps(place.run().document(), allow_nan=False))
    assert document["status"] == "FINISHED"
    assert document["bundle"] is None


def test_metrics_are_those_of_the_model_that_is_returned(place):
    result, data = place.run(reg=["batchnorm", "dropout"]), toy()
    assert not result.model.training
    assert not any(hasattr(module, "owner") for module in result.model.modules())
    with torch.no_grad():
        logits = result.model(torch.from_numpy(data.test.x))
    assert result.metrics["test/accuracy"] == pytest.approx(float((logits.argmax(1).numpy() == data.test.y).mean()))
    assert result.metrics["gap/loss"] == pytest.approx(result.metrics["test/loss"] - result.metrics["train/loss"])


def test_a_regression_has_the_metrics_of_one(place):
    result = place.run(dataset=toy("regression"))
    assert {"test/mae", "test/rmse", "test/r2"} <= set(result.metrics)
    assert "gap/accuracy" not in result.metrics


def test_no_epochs_train_nothing_and_are_tracked(place):
    result = place.run(epochs=0)
    assert place.statuses() == ["FINISHED"]
    assert 0 <= result.metrics["test/accuracy"] <= 1


def test_observers_are_told_in_order(place):
    observer = Remembers()
    result = place.run(observers=[observer])
    kinds = [each if isinstance(each, str) else type(each).__name__ for each in observer.told]
    assert kinds == [
        "loading data", "building", "opening the tracking store", "RunStarted",
        "training", "RunEpoch", "RunEpoch", "evaluating", "RunResult",
    ]  # fmt: skip
    assert observer.told[-1] is result
    assert observer.told[5].metrics["norm/weight"][0] > 0


def test_threads_are_given_back(place):
    before = torch.get_num_threads()
    place.run(threads=before + 1)
    assert torch.get_num_threads() == before
    with pytest.raises(DivergedError):
        place.run(threads=before + 1, lr=1e30)
    assert torch.get_num_threads() == before


# Broken off.


def test_an_interrupt_ends_the_run_as_killed_with_what_was_logged(place):
    with pytest.raises(KeyboardInterrupt):
        place.run(epochs=5, observers=[Raises(KeyboardInterrupt())])
    run = place.only_run()
    assert run.status == "KILLED"
    assert len(open_store(folder=place.folder).metric_history(run.run_id, "train/objective")) == 2


def test_an_exception_ends_the_run_as_failed_with_what_was_logged(place):
    with pytest.raises(RuntimeError, match="mine"):
        place.run(epochs=5, observers=[Raises(RuntimeError("mine"))])
    run = place.only_run()
    assert run.status == "FAILED"
    assert any("mine" in value for value in run.tags.values())
    assert "train/objective" in run.metrics


def test_a_loss_that_becomes_nan_ends_the_run_as_failed_and_names_step_and_part(place):
    with pytest.raises(DivergedError, match=r"(loss|update|gradient|penalty).* at step \d+"):
        place.run(dataset="digits", lr=1e6, epochs=10, reg=["l2:strength=1"])
    run = place.only_run()
    assert run.status == "FAILED"
    assert any("at step" in value for value in run.tags.values())


def test_an_interrupt_while_exporting_leaves_no_bundle(place, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("regplug.exporting.export_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.run(export=True, out="mine")
    assert place.statuses() == ["KILLED"]
    assert place.leftovers() == []


def test_a_model_that_cannot_be_exported_is_refused_before_it_is_trained(place):
    class Branches(nn.Module):
        """Goes another way by its input's values, which no exported graph can."""

        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 3)

        def forward(self, x):
            return self.fc(x) if x.sum() > 0 else -self.fc(x)

    with pytest.raises(ModelError, match="branches on tensor values"):
        place.run(model=Branches(), export=True, out="mine")
    assert place.leftovers() == []


# Refused before anything is started.


class OneClassFewer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(x)


REFUSED = {
    "unknown component": ({"reg": ["dropuot"]}, UnknownComponentError, "dropuot"),
    "parameter out of bounds": ({"reg": ["dropout:drop_probability=2"]}, ParameterError, "drop_probability"),
    "unknown parameter": ({"reg": ["l2:strenght=1"]}, ParameterError, "strenght"),
    "contradiction": ({"reg": ["swa", "early_stopping"]}, CompositionError, "early_stopping with swa"),
    "one twice": ({"reg": ["l2", "l2:strength=1"]}, CompositionError, "l2"),
    "batch larger than the data": ({"batch_size": 105}, DataError, "larger than the 104 training rows"),
    "output that does not fit": ({"model": OneClassFewer()}, ModelError, r"returns \(2, 2\) .* needs \(2, 3\)"),
    "input that does not fit": ({"model": nn.Linear(9, 3)}, ModelError, "cannot take inputs of shape"),
    "a loss for another task": ({"loss": "mse"}, ParameterError, "loss=mse is for a regression"),
    "cnn on rows": ({"model": "cnn"}, ModelError, "needs images"),
    "no model": ({"model": 3}, RequestError, "model=3"),
    "unknown field": ({"overrides": ["epoch=3"]}, RequestError, "epoch"),
    "unknown optimizer": ({"optimizer": "sdg"}, RequestError, "sdg"),
    "unknown schedule": ({"schedule": "cosinus"}, RequestError, "cosinus"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_a_run_is_started(place, case):
    fields, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as caught:
        place.run(**fields)
    assert caught.value.exit_code == 2
    assert place.statuses() == []
    assert place.leftovers() == []


@pytest.mark.parametrize("make", ["file", "below a file", "full folder"])
def test_a_place_where_no_bundle_can_be_is_refused_before_training(place, make):
    (place.folder / "taken").write_text("mine")
    (place.folder / "full").mkdir()
    (place.folder / "full" / "mine").write_text("mine")
    out = {"file": "taken", "below a file": "taken/bundle", "full folder": "full"}[make]
    with pytest.raises(RequestError):
        place.run(export=True, out=out, observers=[Raises(AssertionError("it trained"), epoch=1)])
    assert place.statuses() == []
    assert (place.folder / "full" / "mine").read_text() == (place.folder / "taken").read_text() == "mine"


def test_a_server_that_cannot_be_reached_is_refused_before_training(place, monkeypatch):
    observer = Raises(AssertionError("it trained"), epoch=1)
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        place.run(tracking_uri="http://127.0.0.1:9", observers=[observer])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        place.run(observers=[observer])


# To the proven files.


@pytest.mark.slow
def test_a_run_ends_with_a_proven_bundle_of_the_trained_model(place):
    result = place.run(dataset="digits", reg=["dropout", "batchnorm"], epochs=3, export=True, out="mine")
    bundle = place.folder / "mine"
    assert result.bundle_path.resolve() == bundle.resolve()
    assert result.verification.passed
    assert place.leftovers() == ["mine"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["run_id"] == result.run_id
    assert manifest["config"] == result.config.to_dict()
    assert regplug.verify(bundle).passed
    sums = dict(reversed(line.split()) for line in (bundle / "SHA256SUMS").read_text().splitlines())
    assert sums["model.onnx"] == hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    samples = np.load(bundle / "sample_input.npz")
    predicted = regplug.predict(bundle, bundle / "sample_input.npz")
    assert len(predicted.rows) == len(samples[samples.files[0]])
    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-1] + b"\0")
    assert not regplug.verify(bundle).passed
