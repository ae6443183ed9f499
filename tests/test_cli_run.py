"""The command line end to end: one run and what can be done with it."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_calls import environment, terminal_in
from torch import nn

from regplug.cli.summary import next_commands
from regplug.config import RunConfig
from regplug.runs.results import RunResult

REGPLUG = (sys.executable, "-m", "regplug")
TOOLS = ("torch", "mlflow")


@pytest.fixture(scope="module")
def tried(tmp_path_factory, request):
    """A folder in which `regplug run` was typed once, and what it said."""
    folder = tmp_path_factory.mktemp("tried")
    command = (*REGPLUG, "run", "--reg", "dropout", "--model", "mlp:hidden=[16]", "--epochs", "2", "--data-seed", "1")
    said = subprocess.run(
        command, cwd=folder, env=environment(COLUMNS="80"), capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return folder, said


@pytest.fixture
def terminal(capsys, monkeypatch, tried):
    return terminal_in(tried[0], capsys, monkeypatch)


@pytest.fixture
def bundle(tried):
    (path,) = (tried[0] / "bundles").iterdir()
    return path.relative_to(tried[0])


def test_a_run_ends_with_a_table_and_leaves_stderr_clean(tried, bundle):
    _, said = tried
    # A run that takes long on a busy machine writes a sign of life now and then.
    assert [line for line in said.stderr.splitlines() if not line.startswith("epoch ")] == []
    rows = dict(re.findall(r"^(\w[\w ]*?)  +(.+)$", said.stdout, re.MULTILINE))
    assert rows["run"].startswith("mlp")
    assert re.fullmatch(r"0\.\d{4} \(95 % interval 0\.\d{4} to 0\.\d{4}\)", rows["test accuracy"])
    assert float(rows["test loss"]) > 0
    assert rows["bundle"] == str(bundle)
    passed, total = re.match(r"(\d+) of (\d+) passed", rows["checks"]).groups()
    assert passed == total


def test_the_next_three_commands_can_be_typed(tried, terminal):
    _, said = tried
    lines = said.stdout[said.stdout.index("next") :].splitlines()
    commands = [line[line.index("regplug") :] for line in lines]
    assert [command.split()[1] for command in commands] == ["verify", "predict", "ui"]
    for command in commands[:2]:
        assert terminal(*shlex.split(command)[1:]).code == 0


def test_run_as_json_is_one_document_with_what_the_contract_names(terminal):
    said = terminal("run", "--epochs", "1", "--json", "--lr", "0.1", "--no-export")
    document = said.document
    assert {
        "run_id", "experiment", "tracking_uri", "status", "config", "state_sha256", "metrics", "bundle", "verification",
    } <= set(document)  # fmt: skip
    assert {"test/accuracy", "test/loss", "norm/weight"} <= set(document["metrics"])
    assert document["bundle"] is None
    assert document["verification"] is None
    assert document["config"]["lr"] == 0.1
    assert said.err == ""


def test_flags_beat_the_file_and_the_file_beats_the_defaults(terminal, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('lr = 0.25\nepochs = 7\nreg = ["l2:strength=0.5"]\nexport = false\n')
    args = ("plan", "--config", file, "--epochs", "3", "--set", "momentum=0.5", "--json")
    config = terminal(*args).document["config"]
    assert (config["lr"], config["epochs"], config["export"]) == (0.25, 3, False)
    assert config["optimizer"] == "sgd:momentum=0.5,nesterov=false"
    assert config["reg"][0].startswith("l2:strength=0.5")
    assert terminal(*args, "--export", "--reg", "none").document["config"]["export"] is True


def test_plan_tells_the_order_with_reasons_and_touches_nothing(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = terminal("plan", "--reg", "dropout", "--reg", "batchnorm", "--reg", "l2")
    assert said.code == 0
    places = [said.out.index(f"structure  {name}") for name in ("batchnorm", "dropout")]
    assert places == sorted(places)
    assert "warning: " in said.err
    document = terminal("plan", "--reg", "dropout", "--reg", "l2", "--json").document
    assert {"config", "order", "warnings", "stacked"} <= set(document)
    assert {"phase", "name", "why"} <= set(document["order"][0])
    assert list(tmp_path.iterdir()) == []


def test_verify_proves_a_good_bundle(terminal, bundle):
    said = terminal("verify", bundle)
    assert said.code == 0
    passed, total = re.search(r"(\d+) of (\d+) passed", said.out).groups()
    document = terminal("verify", bundle, "--json").document
    assert document["passed"] is True
    assert passed == total == str(len(document["checks"]))


def test_verify_tells_each_failed_check_with_figure_limit_and_reason(terminal, bundle, tmp_path):
    bad = tmp_path / "bad"
    shutil.copytree(bundle, bad)
    with (bad / "model.onnx").open("ab") as file:
        file.write(b"x")
    said = terminal("verify", bad)
    assert said.code == 1
    assert "FAILED  bundle.checksums  1  (limit 0)" in said.out
    assert "model.onnx" in said.out
    document = terminal("verify", bad, "--json").document
    assert document["passed"] is False
    assert document["error"]["type"] == "VerificationError"
    assert terminal("predict", bad, bad / "sample_input.npz").code == 1


def test_predict_tells_labels_and_probabilities(terminal, bundle):
    sample = bundle / "sample_input.npz"
    document = terminal("predict", bundle, sample, "--top", "2", "--json").document
    assert document["task"] == "classification"
    first = document["predictions"][0]
    assert first["label"] == first["top"][0]["label"]
    assert len(first["top"]) == 2
    said = terminal("predict", bundle, sample)
    assert said.out.splitlines()[2].split()[1:3] == ["0", first["label"]]


def test_predict_writes_a_csv_file_with_a_row_for_each_answer(terminal, bundle, tmp_path):
    sample, out = bundle / "sample_input.npz", tmp_path / "answers.csv"
    assert terminal("predict", bundle, sample, "--out", out).code == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(sample) as arrays:
        assert len(rows) == len(arrays["input"])
    assert list(rows[0]) == [
        "input", "row", "label", "probability", "label_2", "probability_2", "label_3", "probability_3",
    ]  # fmt: skip
    assert float(rows[0]["probability"]) >= float(rows[0]["probability_2"])


@pytest.mark.parametrize("out", ["nowhere/answers.csv", "."])
def test_predict_says_where_it_cannot_write(terminal, bundle, out):
    said = terminal("predict", bundle, bundle / "sample_input.npz", "--out", out)
    assert said.code == 2
    assert "cannot be written" in said.err


def test_predict_refuses_what_does_not_fit(terminal, bundle, tmp_path):
    np.save(tmp_path / "wrong.npy", np.zeros((2, 3), dtype=np.uint8))
    said = terminal("predict", bundle, tmp_path / "wrong.npy")
    assert said.code == 2
    assert "(2, 3)" in said.err


def test_predict_and_inspect_import_neither_torch_nor_mlflow(tried, bundle):
    program = (
        "import json, sys\nfrom regplug.cli.app import invoke\n"
        f"codes = [invoke(['inspect', {str(bundle)!r}]), "
        f"invoke(['predict', {str(bundle)!r}, {str(bundle / 'sample_input.npz')!r}])]\n"
        f"print(json.dumps([codes, [name for name in {TOOLS!r} + ('pydantic', 'rich') if name in sys.modules]]))"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=tried[0], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout.splitlines()[-1]) == [[0, 0], []]


def test_inspect_tells_task_input_and_files(terminal, bundle):
    said = terminal("inspect", bundle)
    assert "classification, 10 classes" in said.out
    assert "model.onnx" in said.out
    document = terminal("inspect", bundle, "--json").document
    assert document["manifest"]["task"] == "classification"


def test_runs_list_and_show_tell_what_was_tracked(terminal, bundle):
    listed = terminal("runs", "list", "--json").document["runs"]
    first = listed[-1]
    assert first["run_id"].startswith(bundle.name)
    assert first["status"] == "FINISHED"
    said = terminal("runs", "list", "--limit", "50")
    assert first["run_id"][:8] in said.out
    shown = terminal("runs", "show", bundle.name)
    assert "dropout" in shown.out
    assert "test/accuracy" in shown.out
    assert "confusion_matrix.png" in shown.out
    document = terminal("runs", "show", bundle.name, "--json").document
    assert document["params"]["model"] == "mlp"
    assert "config.toml" in document["artifacts"]


def test_runs_of_an_unknown_experiment_or_name_are_refused(terminal):
    assert terminal("runs", "list", "--experiment", "nowhere").code == 2
    assert terminal("runs", "show", "nobody").code == 2


def test_an_empty_store_says_how_to_begin(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = terminal("runs", "list")
    assert said.code == 0
    assert "regplug run" in said.out
    said = terminal("ui", "--tracking-uri", "sqlite:///not_there.db")
    assert said.code == 2
    assert "not_there.db" in said.err


def test_a_diverged_run_ends_failed_with_exit_code_one(terminal):
    said = terminal("run", "--lr", "1e30", "--epochs", "1", "--name", "too fast")
    assert said.code == 1
    assert "error: The run diverged" in said.err
    assert "ended FAILED" in said.err
    assert terminal("runs", "show", "too fast", "--json").document["status"] == "FAILED"


def test_a_regression_ends_with_its_own_figures(terminal):
    said = terminal(
        "run",
        "--model",
        "linear",
        "--dataset",
        "linear_regression",
        "--epochs",
        "1",
        "--batch-size",
        "5",
        "--no-export",
    )
    assert said.code == 0
    assert "test RMSE" in said.out
    assert "test accuracy" not in said.out
    assert "regplug runs show" in said.out


def test_paths_and_stores_are_quoted_in_commands():
    result = RunResult(
        run_id="0123456789abcdef", run_name="mlp", experiment="e", tracking_uri="sqlite:///x", status="FINISHED",
        config=RunConfig(), metrics={}, state_sha256="", model=nn.Identity(), bundle_path=Path("a folder"), seconds={},
    )  # fmt: skip
    assert next_commands(result, "--tracking-uri x") == [
        "regplug verify 'a folder'",
        "regplug predict 'a folder' 'a folder/sample_input.npz'",
        "regplug ui --tracking-uri x",
    ]
    assert result.document()["bundle"] == {"path": "a folder", "files": []}


def test_the_ui_refuses_a_port_that_is_taken(terminal):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        said = terminal("ui", "--port", holder.getsockname()[1])
    assert said.code == 2
    assert "--port" in said.err
