"""What every test gets, and what the summary tells: numbers that tests measured."""

from __future__ import annotations

import gc
import os
import signal

# xdist sets the width of a terminal for its workers; tests see what a pipe gets unless they set one.
os.environ.pop("COLUMNS", None)
# For the tests and for every process that they start; what is set already stays. torch reads it when it is imported.
os.environ.update(
    {
        # Two workers on two cores: more threads than that would fight.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        # MLflow sends no telemetry, and its servers start no processes for jobs that nobody gives them.
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **os.environ,
    }
)

import pytest
import torch

TOLD = "told"
pytest_plugins = [
    "ended_workers",
    "runs",
    "small_disks",
    "tracking_server",
    "browsing",
    "cli_calls",
    "fake_plugins",
    "made_stochastic",
    "shortcuts",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Libraries and tests are a million objects that stay: the garbage collector searches only what comes later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path, config):
    """`-m slow` and `-m full` import only files that have such tests: the others take a quarter of a minute."""
    mark = config.option.markexpr
    if mark in ("slow", "full") and collection_path.match("test_*.py"):
        text = collection_path.read_text(encoding="utf-8")
        return None if mark in text or "marked" in text else True  # `catalogue.marked` gives marks
    return None


@pytest.fixture(autouse=True)
def _seeded():
    """A test that fails once fails again: layers that it makes itself have the same weights each time."""
    torch.manual_seed(0)


@pytest.fixture
def heeded():
    """Ctrl-C raises `KeyboardInterrupt`, also where the tests run in a background job, whose SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    is_restored = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)
    assert is_restored


@pytest.fixture
def tell(record_property):
    """Puts a line into the summary at the end: `tell("91 pairs trained")`."""
    return lambda line: record_property(TOLD, line)


def pytest_terminal_summary(terminalreporter):
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    lines = [value for report in reports for name, value in getattr(report, "user_properties", ()) if name == TOLD]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
