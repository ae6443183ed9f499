"""MLflow's own server answers with the numbers that were proven."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from cli_calls import Terminal
from waiting import LONGEST_S, end_group, free_port, wait_for_answer

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@contextlib.contextmanager
def served(command, folder):
    """The address of a server of a model, which is ended with its workers."""
    port = free_port()
    environment = {"PATH": SYSTEM_PATH, "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            ["bash", "-c", f"{command} -p {port} -h 127.0.0.1"],
            env=environment,
            cwd="/",
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for_answer(f"http://127.0.0.1:{port}/ping", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        end_group(server)  # its workers too: they are in its session, which nobody else is in


def post(address, body):
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(asked, timeout=LONGEST_S) as answer:  # noqa: S310 - loopback
        return json.loads(answer.read())["predictions"]


@pytest.mark.slow
def test_the_command_that_export_prints_serves_a_registered_model_by_its_alias(place, tell, capsys, monkeypatch):
    run = place.run(dataset="digits", model="mlp:hidden=[16]", reg=["batchnorm"], epochs=2)
    # As for whoever calls .venv/bin/regplug without activating the environment.
    monkeypatch.setenv("PATH", SYSTEM_PATH)
    words = ("--format", "onnx", "--out", "b", "--register", "digits", "--alias", "champion")
    said = Terminal(capsys)("export", run.run_id, *words)
    assert "models:/digits/1, alias champion" in said.out
    (command,) = (line.removeprefix("serve").strip() for line in said.out.splitlines() if line.startswith("serve"))
    with np.load("b/sample_input.npz") as inputs, np.load("b/sample_output.npz") as outputs:
        rows, known, tolerance = inputs["input"][:9], outputs["logits"][:9], float(outputs["tolerance"])
    began = time.monotonic()
    with served(command, place.folder) as address:
        seconds = time.monotonic() - began
        got = post(address, {"inputs": rows.tolist()})
        answers = np.array(got["logits"] if isinstance(got, dict) else got, np.float32)
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(address, {"inputs": rows[:, :, :4].tolist()})
    error = float(np.abs(answers - known).max())
    tell(f"mlflow models serve: started in {seconds:.1f} s, worst error {error:.2g} (tolerance {tolerance:.2g})")
    assert error <= tolerance
    assert refused.value.code == 400
    refused.value.close()
