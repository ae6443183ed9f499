"""`--stochastic` from the command line and from Python: of a run, of a module, with or without dropout, into MLflow."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
import torch
from cli_calls import Terminal
from onnx import numpy_helper
from runs import Place, standing_in
from torch import nn

import regplug
from regplug.bundles.layout import read_manifest, write_checksums
from regplug.tracking import open_store

pytestmark = pytest.mark.slow  # each test exports, or starts processes

DIGITS = {"dataset": "digits", "epochs": 1, "export": False}


class WithDropoutOfItsOwn(nn.Module):
    """Takes images; its last dropout stands before a layer with weights, which then lies one deeper."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Dropout(0.1))
        self.head = nn.Linear(288, 10)

    def forward(self, x):
        return self.head(self.body(x))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with three runs: with dropout, with a model's own, without any."""
    with standing_in(tmp_path_factory.mktemp("made")) as folder:
        place = Place(folder)
        rates = "dropout:drop_probability=[0.3,0.2]"
        runs = {
            "live": place.run(**DIGITS, model="mlp:hidden=[24,16]", reg=[rates, "batchnorm"], format=["onnx"]),
            "own": place.run(**DIGITS, model=WithDropoutOfItsOwn(), reg=["dropout:drop_probability=0.4"]),
            "none": place.run(**DIGITS, model="mlp:hidden=[16]"),
        }
        return folder, runs


@pytest.fixture
def runs(made, monkeypatch):
    monkeypatch.chdir(made[0])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return made[1]


@pytest.fixture
def terminal(runs, capsys):
    return Terminal(capsys)


@pytest.mark.slow
def test_a_run_with_dropout_is_exported_stochastic_registered_and_served_with_other_answers_each_time(
    runs, terminal, monkeypatch
):
    run = runs["live"]
    said = terminal("export", run.run_id[:8], "--stochastic", "--register", "mc", "--json").document
    assert said["bundle"]["path"] == f"bundles/{run.run_id[:8]}-stochastic"
    manifest = read_manifest(Path(said["bundle"]["path"]))
    assert manifest["state_sha256"] == run.state_sha256
    assert [(layer["rate"], layer["mask"]) for layer in manifest["stochastic"]["layers"]] == [
        (0.3, ["batch", 24]),
        (0.2, ["batch", 16]),
    ]
    assert "bundle_stochastic/model.onnx" in open_store().artifact_names(run.run_id, "bundle_stochastic")
    assert "bundle" not in open_store().artifact_names(run.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/mc/1")
    with np.load(f"{said['bundle']['path']}/sample_input.npz") as inputs:
        rows = inputs["input"][:5]
    first, second = (next(iter(model.predict(rows).values())) for _ in range(2))
    assert first.shape == second.shape == (5, 10)
    assert not np.array_equal(first, second)


def test_what_was_changed_ends_verify_with_1_and_the_reason(runs, terminal, tmp_path):
    bundle = tmp_path / "b"
    terminal("export", runs["live"].run_id, "--stochastic", "--format", "onnx", "--out", bundle)
    assert terminal("verify", bundle).code == 0
    model = onnx.load(bundle / "model.onnx")
    for item in model.graph.initializer:
        if list(item.dims) == [] and np.isclose(numpy_helper.to_array(item), 0.3):
            item.CopyFrom(numpy_helper.from_array(np.float32(0.31).reshape(()), item.name))
    onnx.save(model, bundle / "model.onnx")
    write_checksums(bundle)
    said = terminal("verify", bundle)
    assert said.code == 1
    assert "onnx.rates.all" in said.out


def test_a_models_own_dropout_and_that_of_a_regularizer_are_live_with_their_own_rates(runs, tmp_path):
    model = WithDropoutOfItsOwn()
    exported = regplug.export(runs["own"].run_id, out=tmp_path / "b", formats=["onnx"], stochastic=True, model=model)
    layers = read_manifest(exported.path)["stochastic"]["layers"]
    assert [(layer["kind"], layer["rate"]) for layer in layers] == [
        ("Dropout", 0.4),
        ("Dropout2d", 0.2),
        ("Dropout", 0.1),
    ]
    answers = regplug.predict(exported.path, exported.path / "sample_input.npz", passes=5)
    assert answers.passes == 5


def test_a_run_without_dropout_is_a_wrong_request(runs, terminal, tmp_path):
    said = terminal("export", runs["none"].run_id, "--stochastic", "--out", tmp_path / "b", "--json")
    assert said.code == 2
    error = said.document["error"]
    assert "no dropout" in error["message"]
    assert "--reg dropout" in error["hint"]
    assert not list(tmp_path.iterdir())


def test_small_formats_are_refused_with_stochastic(runs, terminal, tmp_path):
    said = terminal("export", runs["live"].run_id, "--stochastic", "--format", "onnx-int8", "--out", tmp_path / "b")
    assert said.code == 2
    assert "onnx_int8 does not support live dropout" in said.err


def test_predict_tells_the_spread_as_a_table_as_json_and_as_csv(runs, terminal, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    bundle = regplug.export(net, x, tmp_path / "b", class_names=["a", "b", "c"], formats=["onnx"], stochastic=True).path
    inputs = bundle / "sample_input.npz"
    said = terminal("predict", bundle, inputs, "--passes", "8")
    assert "spread" in said.out.splitlines()[0]
    assert "over 8 passes" in said.err
    document = terminal("predict", bundle, inputs, "--json").document
    assert document["passes"] == 20
    assert set(document["predictions"][0]["top"][0]) == {"label", "probability", "spread"}
    terminal("predict", bundle, inputs, "--out", tmp_path / "p.csv", "--top", "2")
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == (
        "input,row,label,probability,spread,label_2,probability_2,spread_2"
    )
    assert terminal("predict", bundle, inputs, "--passes", "1").code == 2
    assert terminal("inspect", bundle).out.count("MC dropout") == 1
