"""Requests per second of `regplug serve` and of `mlflow models serve` on the same registered model, over the loopback.

Both servers run in processes of their own with one worker; the clients are in this process, one connection each, and
send the next request when the last was answered. The servers take turns, so that they meet the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import regplug
from benchmarks.measure import Claim, Timing
from benchmarks.report import Report

CLIENTS, REQUESTS = 64, 16
LEAST_RATIO = 3.0
_START_S = 180.0


@contextlib.contextmanager
def started(command: list[str], folder: Path, port: int, path: str) -> Iterator[int]:
    """Runs a server that answers a path when it is ready; yields its process group."""
    here = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((here, os.environ["PATH"])),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + _START_S
        while server.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}"):
                break
            time.sleep(0.2)
        else:
            raise RuntimeError((folder / "server.log").read_text())
        yield server.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


async def _client(port: int, path: str, body: bytes, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(requests):
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        found = re.search(r"content-length: (\d+)", answer)
        if not answer.startswith("http/1.1 200") or found is None:
            raise RuntimeError(answer)
        await reader.readexactly(int(found[1]))
    writer.close()
    await writer.wait_closed()


def seconds_of(port: int, path: str, body: bytes, requests: int = REQUESTS) -> float:
    """Returns the time in which all clients got all their answers."""

    async def all_of_them() -> None:
        await asyncio.gather(*(_client(port, path, body, requests) for _ in range(CLIENTS)))

    began = time.perf_counter()
    asyncio.run(all_of_them())
    return time.perf_counter() - began


def cpu_s(group: int) -> float:
    """Returns the CPU seconds of all processes of a group."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == group else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bench(repeats: int) -> Report:
    """Times both servers in turns."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        run = regplug.run(dataset="digits", model="mlp:hidden=[64]", epochs=1, format=["onnx"])
        regplug.export(run.run_id, out="bundle", register="digits", alias="champion")
        row = np.load("bundle/sample_input.npz")["input"][:1].tolist()
        body = json.dumps({"inputs": row}).encode()
        ours, theirs = _free_port(), _free_port()
        python = [sys.executable, "-m"]
        serve = [*python, "regplug", "serve", "bundle", "--port", str(ours)]
        mlflow = [*python, "mlflow", "models", "serve", "-m", "models:/digits@champion", "--env-manager", "local"]
        mlflow += ["-p", str(theirs), "-h", "127.0.0.1"]
        os.environ["MLFLOW_TRACKING_URI"] = run.tracking_uri
        timings = {name: Timing(name=name, note="") for name in ("regplug serve", "mlflow models serve")}
        with (
            started(serve, Path(place), ours, "/health") as our_group,
            started(mlflow, Path(place), theirs, "/ping") as their_group,
        ):
            asked = {
                "regplug serve": (our_group, ours, "/predict"),
                "mlflow models serve": (their_group, theirs, "/invocations"),
            }
            for _, port, path in asked.values():
                seconds_of(port, path, body, 2)
            for _ in range(repeats):
                for name, (group, port, path) in asked.items():
                    before = cpu_s(group)
                    timings[name].wall_s.append(seconds_of(port, path, body))
                    timings[name].cpu_s.append(cpu_s(group) - before)
    return _report(timings)


def _report(timings: dict[str, Timing]) -> Report:
    count = CLIENTS * REQUESTS
    told = {
        name: replace(timing, note=f"{count / float(np.median(timing.wall_s)):,.0f} requests/s")
        for name, timing in timings.items()
    }
    claim = Claim(case="mlflow models serve", over="regplug serve", limit=LEAST_RATIO, side="at least")
    facts = [f"{CLIENTS} clients, {count} requests of one row each; the CPU time is that of the server alone"]
    return Report(name="serving", timings=told, claims=[claim], facts=facts)
