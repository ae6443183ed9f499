"""A team's server: MLflow on PostgreSQL, with artifacts through the server and with users."""

from __future__ import annotations

import json

import pytest
from cli_calls import Terminal
from postgres import PASSWORD, postgres  # noqa: F401 - the fixture
from tracking_server import ADMIN, ADMIN_PASSWORD, Server

from regplug.tracking import open_store

pytestmark = pytest.mark.slow

SMALL = ("--model", "linear", "--epochs", "2")


@pytest.fixture(scope="module")
def team(postgres, tmp_path_factory):  # noqa: F811
    made = Server(tmp_path_factory.mktemp("team"), postgres.uri, has_users=True)
    yield made
    made.kill()


@pytest.fixture
def here(team, monkeypatch, tmp_path):
    """An empty folder in which MLflow's variables name the server and a user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.address)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN_PASSWORD)
    return tmp_path


def test_a_team_runs_sweeps_exports_compares_and_lists(here, capsys):
    terminal = Terminal(capsys)
    said = [
        terminal("run", *SMALL, "--format", "onnx", "--json"),
        terminal("sweep", *SMALL, "--grid", "lr=0.1,0.2", "--seeds", "2", "--no-export", "--json"),
        terminal("compare", "digits/linear", "--metric", "test/accuracy"),
        terminal("runs", "list"),
    ]
    assert [each.code for each in said] == [0, 0, 0, 0], [each.err for each in said]
    run_id = json.loads(said[0].out)["run_id"]
    exported = terminal("export", run_id, "--format", "onnx", "--out", "again")
    assert exported.code == 0, exported.err
    assert run_id[:8] in said[3].out
    assert (here / "again" / "manifest.json").exists()
    store = open_store()
    assert store.find_run(run_id).artifact_uri.startswith("mlflow-artifacts:")
    assert not (here / "mlruns" / "artifacts").exists()
    text = "".join(each.out + each.err for each in (*said, exported))
    files = [path for path in here.rglob("*") if path.is_file()]
    for secret in (ADMIN_PASSWORD, PASSWORD):
        assert secret not in text
        assert not any(secret.encode() in path.read_bytes() for path in files)


def test_a_wrong_password_is_one_error_with_exit_code_2(here, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-wr0ng-0ne")
    said = Terminal(capsys)("run", *SMALL, "--no-export")
    assert said.code == 2
    assert said.err.count("error: ") == 1
    assert "401" in said.err
    assert "MLFLOW_TRACKING_PASSWORD" in said.err
    assert "a-wr0ng-0ne" not in said.out + said.err


def test_a_folders_own_store_is_copied_to_the_server_once(here, capsys):
    terminal, own = Terminal(capsys), "sqlite:///mlruns/mlflow.db"
    made = terminal(
        "sweep", *SMALL, "--grid", "lr=0.1,0.2", "--experiment", "moved", "--no-export", "--tracking-uri", own
    )
    assert made.code == 0, made.err
    said = terminal("runs", "sync", "--from", own, "--json")
    assert said.code == 0, said.err
    assert terminal("runs", "sync", "--from", own).out.startswith("0 runs were copied; ")
    local, team = open_store(own), open_store()
    copied = {each["run_id"]: each["new_id"] for each in said.document["copied"]}
    old = {run.run_id: run for run in local.runs("moved", limit=None)}
    assert copied.keys() == old.keys()
    assert len(team.runs("moved", limit=None)) == len(old)
    for run_id, run in old.items():
        new = team.find_run(copied[run_id])
        assert (new.name, new.status, new.started, new.ended) == (run.name, run.status, run.started, run.ended)
        assert (new.params, new.metrics) == (run.params, run.metrics)
        assert new.parent_id == copied.get(run.parent_id)
        assert team.artifact_names(new.run_id) == local.artifact_names(run_id)
        assert team.dataset_digests(new.run_id) == local.dataset_digests(run_id)
        for name in run.metrics:
            assert team.metric_history(new.run_id, name) == local.metric_history(run_id, name)
    again = terminal("runs", "sync", "--from", team.location.uri)
    assert again.code == 2
    assert "already" in again.err
