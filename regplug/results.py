"""What a run tells while it goes and when it is done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.config import RunConfig

if TYPE_CHECKING:
    from torch import nn

    from regplug.bundles.report import Report
    from regplug.training.loop import EpochRecord


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """What is known when training starts.

    Args:
        run_id: MLflow's.
        name: The run's name.
        experiment: The experiment it belongs to.
        tracking_uri: Where it is tracked.
        epochs: Epochs to come.
        steps_per_epoch: Steps in each.
        warnings: What is legal and doubtful.
    """

    run_id: str
    name: str
    experiment: str
    tracking_uri: str
    epochs: int
    steps_per_epoch: int
    warnings: tuple[str, ...]


class Observer:
    """Looks at a run; every method does nothing until overridden."""

    def stage(self, name: str) -> None:
        """Called when a stage begins, such as `training`."""

    def run_started(self, info: RunStarted) -> None:
        """Called once the run is tracked and before the first step."""

    def epoch_ended(self, record: EpochRecord) -> None:
        """Called after each epoch."""

    def warned(self, message: str) -> None:
        """Called when something went wrong that does not end the run, such as an observer of a plugin that raised."""

    def run_finished(self, result: RunResult) -> None:
        """Called when everything is done."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run came to.

    Args:
        run_id: MLflow's.
        run_name: The run's name.
        experiment: The experiment it belongs to.
        tracking_uri: Where it is tracked.
        status: `FINISHED`.
        config: The configuration with every parameter spelled out.
        metrics: The last value of each metric.
        state_sha256: Hash of the trained state.
        model: The trained model: an ordinary module in evaluation mode, on the CPU.
        warnings: What was legal and doubtful.
        bundle_path: Folder of the exported files, where there are any.
        bundle_files: Their names.
        verification: What was checked.
        seconds: Duration of each stage.
    """

    run_id: str
    run_name: str
    experiment: str
    tracking_uri: str
    status: str
    config: RunConfig
    metrics: Mapping[str, float]
    state_sha256: str
    model: nn.Module
    warnings: tuple[str, ...] = ()
    bundle_path: Path | None = None
    bundle_files: tuple[str, ...] = ()
    verification: Report | None = None
    seconds: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """The run as JSON knows it; a metric that is not finite is `null`."""
        bundle = self.bundle_path and {"path": str(self.bundle_path), "files": list(self.bundle_files)}
        return {
            "run_id": self.run_id,
            "run_name": self.run_name,
            "experiment": self.experiment,
            "tracking_uri": self.tracking_uri,
            "status": self.status,
            "config": self.config.to_dict(),
            "state_sha256": self.state_sha256,
            "metrics": {name: value if math.isfinite(value) else None for name, value in self.metrics.items()},
            "warnings": list(self.warnings),
            "bundle": bundle,
            "verification": self.verification and self.verification.as_json(),
            "seconds": dict(self.seconds),
        }
