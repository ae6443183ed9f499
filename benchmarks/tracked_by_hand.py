"""A typical script: a hand-written loop for each run, tracked with MLflow's fluent API."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import mlflow

from benchmarks.run_small import by_hand
from regplug.data import Prepared

POINTS_EVERY = 3
"""Epochs between two logged epochs: gives about 150 points, as many as a study stores for such a run."""


def train_tracked(
    data: Prepared, strengths: Sequence[float], params: Mapping[str, str], tags: Mapping[str, str]
) -> None:
    """Trains a child run for each strength under a parent run, in the store that MLflow is set to.

    Args:
        data: Data in memory.
        strengths: Strength of the penalty for each run.
        params: Parameters of each child run.
        tags: Tags of each child run.
    """
    with mlflow.start_run(run_name="by hand"):
        for number, strength in enumerate(strengths):
            with mlflow.start_run(run_name=f"run {number}", nested=True, tags=dict(tags)):
                mlflow.log_params(dict(params))
                began = time.perf_counter()
                for epoch, record in enumerate(by_hand(data, strength=strength)()(), start=1):
                    if epoch % POINTS_EVERY == 1:
                        mlflow.log_metrics(record, step=epoch)
                mlflow.log_metric("time/run_s", time.perf_counter() - began)
