"""The events of a run while it trains, and its result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.config import RunConfig
from regplug.errors import RegplugError
from regplug.tables.frames import frame_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from regplug.bundles.report import Report

_HEADLINES = ("test/accuracy", "test/rmse", "test/loss")
"""Metrics that a run's short text names."""


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """What is known when training starts.

    Args:
        run_id: MLflow's run id; empty for a run of a study, which is tracked when it is done.
        name: The run's name, unique within a study.
        experiment: The experiment it belongs to.
        tracking_uri: Where it is tracked.
        epochs: Number of epochs of the run.
        steps_per_epoch: Number of steps in each epoch.
        warnings: What is allowed but doubtful about it.
        study_id: MLflow's id of its study; empty for a run on its own.
    """

    run_id: str
    name: str
    experiment: str
    tracking_uri: str
    epochs: int
    steps_per_epoch: int
    warnings: tuple[str, ...]
    study_id: str = ""


@dataclass(frozen=True, kw_only=True)
class RunEpoch:
    """The metrics of one epoch of one run.

    Args:
        run: The run; the runs of a stack are trained side by side.
        epoch: Number of epochs done, including this one.
        metrics: Name -> a list with one number.
        seconds: Duration of the epoch including evaluation; in a stack, the run's share of it.
    """

    run: RunStarted
    epoch: int
    metrics: Mapping[str, list[float]]
    seconds: float


class Observer:
    """Receives the events of a run; every method does nothing unless overridden."""

    def stage(self, name: str) -> None:
        """Called when a stage begins, such as `training`."""

    def run_started(self, info: RunStarted) -> None:
        """Called once the run is tracked and before the first step."""

    def epoch_ended(self, record: RunEpoch) -> None:
        """Called after each epoch."""

    def warned(self, message: str) -> None:
        """Called when something went wrong that does not end the run: a plugin's observer raised, or the store is lost.

        The loss of the store is reported from another thread.
        """

    def run_finished(self, result: RunFinished) -> None:
        """Called when everything is done, or when the run has failed."""


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """How a run ended.

    Args:
        run_id: MLflow's run id; empty for a run of a study, which is a child of the study with its name as the tag
            `regplug.study.point`.
        run_name: The run's name.
        experiment: The experiment it belongs to.
        tracking_uri: Where it is tracked.
        status: `FINISHED`, `FAILED`, or `KILLED` if it was interrupted.
        config: The configuration with every parameter spelled out.
        metrics: The last value of each metric.
        seconds: Duration of each stage.
        error: The error; empty if there was none.
        study_id: MLflow's id of its study; empty for a run on its own.
        store_status: Its status in the store: still `RUNNING` if the end could not be written. Empty for a run of a
            study.
        missing: Descriptions of logged records that are missing from the store.
    """

    run_id: str
    run_name: str
    experiment: str
    tracking_uri: str
    status: str
    config: RunConfig
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    error: str = ""
    study_id: str = ""
    store_status: str = ""
    missing: tuple[str, ...] = ()

    @staticmethod
    def broken_off(
        run: RunStarted,
        error: BaseException,
        *,
        config: RunConfig,
        metrics: Mapping[str, float],
        seconds: Mapping[str, float],
        store_status: str = "",
        missing: tuple[str, ...] = (),
    ) -> RunFinished:
        """Returns the end of a run that was stopped by an exception."""
        said = error.message if isinstance(error, RegplugError) else str(error)
        return RunFinished(
            run_id=run.run_id,
            run_name=run.name,
            experiment=run.experiment,
            tracking_uri=run.tracking_uri,
            status=status_after(error),
            config=config,
            metrics=dict(metrics),
            seconds=dict(seconds),
            error=f"{type(error).__name__}: {said}".removesuffix(": "),
            study_id=run.study_id,
            store_status=store_status,
            missing=missing,
        )


def status_after(error: BaseException | None) -> str:
    """Returns the final status of a run or study that ends with this exception.

    >>> status_after(None), status_after(KeyboardInterrupt())
    ('FINISHED', 'KILLED')
    """
    if error is None:
        return "FINISHED"
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult(RunFinished):
    """The result of a single run.

    One that is returned ended `FINISHED`, or `KILLED` if Ctrl-C ended its training early. One that failed after its
    training is the `result` of the error.

    Args:
        state_sha256: Hash of the trained state.
        model: The trained model: an ordinary module in evaluation mode, on the CPU.
        warnings: What was doubtful, and what went wrong without ending the run.
        kept: How the inputs were stored during training, in words.
        guess: Metrics of a constant prediction that the model does not beat; empty if it does.
        bundle_path: Folder of the exported files, if there are any.
        bundle_files: Their names.
        verification: What was checked.
        history: Learning curves: points (epoch, value) by metric.
        probe_seconds: Time that each probe took.
        runs_url: The runs of its experiment in MLflow's UI, at the address of the server or of `regplug ui`.
    """

    state_sha256: str
    model: nn.Module
    warnings: tuple[str, ...] = ()
    kept: str = ""
    guess: str = ""
    bundle_path: Path | None = None
    bundle_files: tuple[str, ...] = ()
    verification: Report | None = None
    history: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    probe_seconds: Mapping[str, float] = field(default_factory=dict)
    runs_url: str = ""

    def to_pandas(self) -> pd.DataFrame:
        """Returns the learning curves as a data frame: a row for each epoch, a column for each metric."""
        rows: dict[float, dict[str, float]] = {}
        for name, points in self.history.items():
            for epoch, value in points:
                rows.setdefault(epoch, {"epoch": epoch})[name] = value
        return frame_of([rows[epoch] for epoch in sorted(rows)], "epoch")

    def plot(self) -> Figure:
        """Returns the learning curves as a matplotlib figure."""
        from regplug.reports.plots import curves_figure

        return curves_figure(self.history)

    def __repr__(self) -> str:
        told = [f"{name} {self.metrics[name]:.4g}" for name in _HEADLINES if name in self.metrics]
        return f"RunResult({self.run_name!r}: {', '.join([self.status, *told])}, run {self.run_id[:8]})"

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        rows = {"status": self.status, **{name: f"{value:.4g}" for name, value in sorted(self.metrics.items())}}
        rows |= {"run": self.run_id, "bundle": str(self.bundle_path or "none")}
        line = Markup('<tr><th style="text-align:left">{}</th><td style="text-align:left">{}</td></tr>')
        lines = Markup("").join(line.format(name, text) for name, text in rows.items())
        return str(Markup("<p><b>{}</b></p><table>{}</table>").format(self.run_name, lines))

    def document(self) -> dict[str, Any]:
        """Returns the run as JSON types; a metric that is not finite becomes `null`."""
        bundle = self.bundle_path and {"path": str(self.bundle_path), "files": list(self.bundle_files)}
        return {
            "run_id": self.run_id,
            "run_name": self.run_name,
            "experiment": self.experiment,
            "tracking_uri": self.tracking_uri,
            "runs_url": self.runs_url,
            "status": self.status,
            "store_status": self.store_status,
            "config": self.config.to_dict(),
            "state_sha256": self.state_sha256,
            "metrics": {name: value if math.isfinite(value) else None for name, value in self.metrics.items()},
            "warnings": list(self.warnings),
            "inputs": self.kept,
            "bundle": bundle,
            "verification": self.verification and self.verification.as_json(),
            "seconds": dict(self.seconds),
            "probe_seconds": dict(self.probe_seconds),
        }
