"""MLflow's own server answers with the numbers that were proven."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from waiting import LONGEST_S, end_group, free_port, wait_for_answer

import regplug


@contextlib.contextmanager
def served(uri, tracking_uri, folder):
    """The address of a server of a model, which is ended with its workers."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "-p", str(port), "-h", "127.0.0.1"]
    # The server looks for uvicorn on the path; this interpreter's stands beside it.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--env-manager", "local"], env=environment, stdout=log, stderr=log, start_new_session=True
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
def test_a_registered_model_is_served_and_answers_with_the_proven_numbers(place, tell):
    run = place.run(dataset="digits", model="mlp:hidden=[16]", reg=["batchnorm"], epochs=2)
    exported = regplug.export(run.run_id, formats=["onnx"], out="b", register="digits", alias="champion")
    with np.load("b/sample_input.npz") as inputs, np.load("b/sample_output.npz") as outputs:
        rows, known, tolerance = inputs["input"][:9], outputs["logits"][:9], float(outputs["tolerance"])
    began = time.monotonic()
    with served("models:/digits@champion", run.tracking_uri, place.folder) as address:
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
    assert exported.registered.uri == "models:/digits/1"
