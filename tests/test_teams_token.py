"""A server behind a proxy that asks for a token: it is used and shown nowhere, and a study survives its loss."""

from __future__ import annotations

import json

import pytest
from cli_calls import Terminal
from token_proxy import TOKEN, TokenProxy
from tracking_server import Server
from trainings import toy

import regplug
from regplug.errors import TrackingLostError
from regplug.studies.results import StudyObserver
from regplug.tracking import open_store
from regplug.tracking.secrets import masked

pytestmark = pytest.mark.slow

SMALL = ("--model", "linear", "--epochs", "1")
WRONG = "a-wr0ng-t0ken"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("team"))
    yield made
    made.kill()


@pytest.fixture(scope="module")
def proxy(server):
    made = TokenProxy(server.port)
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def here(proxy, monkeypatch, tmp_path):
    """An empty folder in which MLflow's variables name the proxy and a token."""
    proxy.start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    return tmp_path


def files_with(folder, secret):
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_the_token_is_sent_and_is_in_no_message_no_file_and_no_record(here, server, capsys, monkeypatch):
    terminal = Terminal(capsys)
    said = [
        terminal("--debug", "run", *SMALL, "--format", "onnx", "--json"),
        terminal("sweep", *SMALL, "--grid", "lr=0.1,0.2", "--no-export"),
        terminal("runs", "list"),
    ]
    assert [each.code for each in said] == [0, 0, 0], [each.err for each in said]
    assert not any(TOKEN in each.out + each.err for each in said)
    run = open_store().find_run(json.loads(said[0].out)["run_id"])
    assert TOKEN not in repr(run)
    assert files_with(here, TOKEN) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    assert files_with(open_store().read_artifact(run.run_id, "bundle"), TOKEN) == []
    assert files_with(server._folder, TOKEN) == []


@pytest.mark.parametrize("flags", [(), ("--debug",)])
def test_a_wrong_token_is_one_error_with_exit_code_2_that_does_not_show_it(capsys, monkeypatch, flags):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", WRONG)
    said = Terminal(capsys)(*flags, "run", *SMALL, "--no-export")
    assert said.code == 2
    assert said.err.count("error: ") == 1
    assert "401" in said.err
    assert "MLFLOW_TRACKING_TOKEN" in said.err
    assert WRONG not in said.out + said.err


class Loses(StudyObserver):
    """Loses the proxy when the study begins, or when its first runs are finished."""

    def __init__(self, proxy, moment):
        self._proxy, self._moment, self.told = proxy, moment, []

    def study_started(self, info):
        if self._moment == "start":
            self._proxy.kill()

    def runs_finished(self, results):
        if self._moment == "middle":
            self._proxy.kill()

    def warned(self, message):
        self.told.append(message)


@pytest.mark.parametrize("moment", ["start", "middle"])
def test_a_study_whose_server_is_killed_is_finished_and_delivered_later(proxy, here, capsys, moment):
    observer = Loses(proxy, moment)
    fields = {"dataset": toy(), "model": "linear", "epochs": 4, "grid": ["batch_size=16,32"], "seeds": 2}
    with pytest.raises(TrackingLostError, match="regplug runs sync") as caught:
        regplug.sweep(**fields, name=moment, export=False, observers=[observer])
    assert "cannot be written" in observer.told[0]
    assert list(here.glob("mlruns/undelivered/*"))
    assert files_with(here, TOKEN) == []
    assert TOKEN not in "".join([str(caught.value), *observer.told])
    proxy.start()
    said = Terminal(capsys)("runs", "sync", "--json")
    assert said.code == 0, said.err
    store = open_store()
    info = store.find_run(caught.value.result.study_id)
    children = store.runs(info.experiment, parent=info.run_id)
    assert [child.status for child in (info, *children)] == ["FINISHED"] * 5
    assert len({child.tags["regplug.study.point"] for child in children}) == 4
    for child in children:
        assert [point.step for point in store.metric_history(child.run_id, "train/objective")] == [1, 2, 3, 4]
    assert list(here.glob("mlruns/undelivered/*")) == []


def test_a_study_whose_server_is_gone_before_it_begins_is_refused_within_ten_seconds(proxy, here, capsys):
    proxy.kill()
    said = Terminal(capsys)("sweep", *SMALL, "--grid", "lr=0.1,0.2", "--no-export")
    assert said.code == 2
    assert said.err.count("error: ") == 1
    assert masked(said.err) == said.err
    assert list(here.iterdir()) == []
