"""What conftest sets for every test and for the processes that tests start."""

from __future__ import annotations

import os

import torch


def test_each_worker_computes_on_one_thread_unless_the_caller_says_otherwise():
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


def test_mlflow_sends_no_telemetry():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
