"""MLflow's own UI: the command that starts it on a store, and the addresses of its pages."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from regplug.errors import RequestError
from regplug.tracking.location import Location
from regplug.tracking.secrets import without_login
from regplug.tracking.views import EXPERIMENT_VIEW, VIEW_TAG

if TYPE_CHECKING:
    from regplug.tracking.store import Store

# Selects the UI's side for model training; without it the browser decides, at first for the side for chats.
_TRAINING = "workflowType=machine_learning"

UI_ADDRESS = "http://127.0.0.1:5000"
"""Default address of `regplug ui`."""

_ANSWER_TIMEOUT_S = 60.0
_PAGE = 1000

_QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # a log line for each request would hide the address
    "UVICORN_LOG_LEVEL": "warning",
    "PYTHONWARNINGS": "ignore",
}
"""Environment of MLflow's server, unless the user sets these variables."""


def ui_command(store: Store | Location, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """Returns the command line that starts MLflow's UI; run it with `ui_environment(store)`.

    Args:
        store: The store or its location: `resolve_location()` does not import mlflow.
        host: Network interface to listen on.
        port: Port to listen on.

    Raises:
        RequestError: The store is a server, which has its UI already.
    """
    location = _location(store)
    if location.kind == "server":
        raise RequestError(
            f"{location.shown} is an MLflow server.", hint="Open that address: the server has its own UI."
        )
    return [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port), "--workers", "1"]


def ui_environment(store: Store | Location, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the environment for `ui_command`, with the address of the store.

    The address is here because it may contain a password, and every user of the machine can read a command line.
    The server's job runner is off unless the user turns it on: it is used for chats only, and doubles the time until
    the UI responds (24 s instead of 12 s on two busy cores). Telemetry is off as well.

    Args:
        store: The store or its location.
        environment: The existing environment, which takes precedence except for the address of the store.
    """
    location = _location(store)
    place = {"MLFLOW_BACKEND_STORE_URI": location.uri}
    if location.artifacts:
        place["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = location.artifacts
    return {**_QUIET, **environment, **place}


def _location(store: Store | Location) -> Location:
    return store if isinstance(store, Location) else store.location


def address_of(location: Location) -> str:
    """Returns the address of the UI of a store: the server, or the default address of `regplug ui`."""
    return without_login(location.uri) if location.kind == "server" else UI_ADDRESS


def newest_url(base: str) -> str:
    """Returns the address of the runs of the experiment with the newest run, asking a running UI.

    Args:
        base: Address of the UI.
    """
    experiments = _ask(base, "experiments", {"max_results": _PAGE, "order_by": ["last_update_time DESC"]})
    tags = {
        each["experiment_id"]: {tag["key"] for tag in each.get("tags", ())}
        for each in experiments.get("experiments", ())
    }
    wanted = {"experiment_ids": list(tags), "max_results": 1, "order_by": ["attributes.start_time DESC"]}
    runs = _ask(base, "runs", wanted).get("runs", ()) if tags else ()
    if not runs:
        return f"{base.rstrip('/')}/#/experiments?{_TRAINING}"
    newest = runs[0]["info"]["experiment_id"]
    return runs_url(base, newest, EXPERIMENT_VIEW if f"{VIEW_TAG}{EXPERIMENT_VIEW}" in tags[newest] else "")


def _ask(base: str, what: str, wanted: Mapping[str, object]) -> Any:
    request = urllib.request.Request(  # noqa: S310 - the address of a UI that we started
        f"{base.rstrip('/')}/api/2.0/mlflow/{what}/search",
        data=json.dumps(wanted).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S) as answer:  # noqa: S310 - the same
        return json.load(answer)


def runs_url(base: str, experiment_id: str, view: str = "") -> str:
    """Returns the address of the table of an experiment's runs.

    Args:
        base: Address of the UI.
        experiment_id: The experiment.
        view: Key of a view of `regplug.tracking.views`; empty for the columns that the browser remembers.

    >>> runs_url("http://127.0.0.1:5000", "1", "regplug").partition("?")[2]
    'workflowType=machine_learning&viewStateShareKey=regplug'
    """
    key = f"&viewStateShareKey={view}" if view else ""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{_TRAINING}{key}"


def compare_url(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Returns the address of MLflow's compare page.

    Args:
        base: Address of the UI.
        experiment_id: The runs' experiment.
        run_ids: Two or more runs.

    >>> compare_url("http://127.0.0.1:5000/", "1", ["a", "b"]).partition("&workflow")[0]
    'http://127.0.0.1:5000/#/compare-runs?runs=%5B%22a%22%2C%22b%22%5D&experiments=%5B%221%22%5D'
    """
    runs = quote(json.dumps(list(run_ids), separators=(",", ":")), safe="")
    experiments = quote(json.dumps([experiment_id]), safe="")
    return f"{base.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}&{_TRAINING}"


def run_url(base: str, experiment_id: str, run_id: str) -> str:
    """Returns the address of a run's page.

    >>> run_url("http://127.0.0.1:5000", "1", "a").partition("?")[0]
    'http://127.0.0.1:5000/#/experiments/1/runs/a'
    """
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?{_TRAINING}"
