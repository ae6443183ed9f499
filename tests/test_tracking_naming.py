"""How runs are called: names, parameters, tags and addresses."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from regplug.errors import RequestError
from regplug.tracking import compare_url, naming, resolve_location, ui_command, ui_environment
from regplug.tracking.limits import MAX_KEY_LENGTH
from regplug.tracking.system import source_tags, system_tags


@pytest.mark.parametrize("name", ["columns", "naming", "limits", "liveness", "ui"])
def test_the_examples_in_the_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(f"regplug.tracking.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_importing_tracking_imports_neither_mlflow_nor_torch():
    code = "import sys, regplug.tracking; print({'mlflow', 'torch', 'sqlalchemy', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_very_long_run_name_is_cut_visibly_and_keeps_its_seed():
    name = naming.run_name("mlp", ["dropout:at=" + "x" * 400], 12)
    assert len(name) == 250
    assert name.endswith("… seed 12")


def test_parameters_are_flat_and_regularizers_are_sorted():
    params = naming.run_params(
        {
            "lr": 0.1,
            "model": "mlp:hidden=[64]",
            "reg": ["l2", "dropout"],
            "optimizer": {"name": "sgd", "momentum": 0.9},
        },
        model=("mlp", {"hidden": [64]}),
        dataset=("digits", {"normalize": "unit"}),
        regularizers=[("l2", {"strength": 0.1}), ("dropout@wide", {"drop_probability": [0.2, 0.5]})],
        others={"activation": ("relu", {})},
    )
    assert params == {
        "model": "mlp",
        "model.hidden": [64],
        "dataset": "digits",
        "dataset.normalize": "unit",
        "activation": "relu",
        "regularizers": "dropout@wide+l2",
        "reg.l2.strength": 0.1,
        "reg.dropout-wide.drop_probability": [0.2, 0.5],
        "lr": 0.1,
        "optimizer.name": "sgd",
        "optimizer.momentum": 0.9,
    }


def test_a_run_without_regularizers_says_none():
    assert naming.run_params({}, model=("linear", {}), dataset=("digits", {}))["regularizers"] == "none"


def test_a_key_is_never_longer_than_mlflow_takes():
    assert len(naming.safe_key("k" * 400)) == MAX_KEY_LENGTH


def test_the_note_ends_with_the_command_that_repeats_the_run():
    words = {"title": "t", "model": "m", "dataset": "d", "regularizers": "l2", "training": "sgd"}
    text = naming.note(**words, command="regplug run --reg l2")["mlflow.note.content"]
    assert text.splitlines()[-1] == "`regplug run --reg l2`"
    assert len(text.splitlines()) == 5


def test_system_tags_name_platform_and_package_versions():
    tags = system_tags()
    assert tags["system/python"] == sys.version.split()[0]
    assert {"system/platform", "system/cpus", "system/torch", "system/mlflow"} <= set(tags)


def _git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_source_tags_tell_commit_and_dirtiness(tmp_path):
    _git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("1")
    _git(tmp_path, "add", "a.txt")
    _git(tmp_path, "commit", "-m", "one")
    tags = source_tags(tmp_path)
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["regplug.git.dirty"] == "false"
    (tmp_path / "a.txt").write_text("2")
    assert source_tags(tmp_path)["regplug.git.dirty"] == "true"


def test_without_git_or_repository_the_commit_is_absent(tmp_path, monkeypatch):
    assert "mlflow.source.git.commit" not in source_tags(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "mlflow.source.git.commit" not in source_tags(Path.cwd())


def test_the_ui_command_shows_the_default_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    location = resolve_location(folder=tmp_path)
    command = ui_command(location, port=5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[command.index("--port") + 1] == "5001"
    environment = ui_environment(
        location, {"MLFLOW_BACKEND_STORE_URI": "sqlite:///other.db", "UVICORN_LOG_LEVEL": "info"}
    )
    assert environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert environment["UVICORN_LOG_LEVEL"] == "info"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_password_of_a_database_stands_in_no_command_line_of_the_ui():
    location = resolve_location("postgresql://me:s3cr3t@host/runs")
    assert not any("s3cr3t" in part for part in ui_command(location))
    assert "s3cr3t" in ui_environment(location)["MLFLOW_BACKEND_STORE_URI"]


def test_the_ui_of_a_server_is_the_server():
    with pytest.raises(RequestError, match="is an MLflow server"):
        ui_command(resolve_location("http://127.0.0.1:5000"))


def test_the_compare_address_carries_runs_and_experiment():
    query = compare_url("http://h:1", "7", ["a", "b"]).partition("?")[2]
    assert {key: json.loads(value[0]) for key, value in parse_qs(query).items() if value[0].startswith("[")} == {
        "runs": ["a", "b"],
        "experiments": ["7"],
    }


def test_the_compare_route_is_the_one_that_the_installed_ui_has():
    import importlib.util

    root = Path(importlib.util.find_spec("mlflow").submodule_search_locations[0])
    bundle = next((root / "server/js/build/static/js").glob("main.*.js")).read_text(encoding="utf-8")
    assert '"/compare-runs"' in bundle
    assert '"workflowType"' in bundle
    assert "?runs=${JSON.stringify(e)}&experiments=${JSON.stringify(t)}" in bundle
