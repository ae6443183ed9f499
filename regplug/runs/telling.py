"""Reports the events of a run to its observers, and keeps its warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from regplug.config import RunConfig
from regplug.runs.observers import PluginObservers
from regplug.runs.results import Observer, RunEpoch, RunFinished, RunResult, RunStarted
from regplug.runs.stages import Stages
from regplug.tracking import TrackedRun


class RunEvents:
    """Reports the events of one run to the observers of its caller and to those of plugins.

    Args:
        observers: Those of the caller.
        plugged: Those of plugins.
    """

    def __init__(self, observers: Sequence[Observer], plugged: PluginObservers) -> None:
        self._of_caller, self._of_plugins = tuple(observers), plugged
        self._all = (*observers, plugged)
        self._started: RunStarted | None = None
        self._troubles: list[str] = []
        self.stages = Stages(self._all)
        """Reports each stage and times it."""
        self.doubts: tuple[str, ...] = ()
        """What is allowed but doubtful about the run."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubts, followed by what went wrong without ending the run."""
        return (*self.doubts, *self._troubles)

    def warn(self, message: str) -> None:
        """Reports something that went wrong without ending the run."""
        self._troubles.append(message)
        self._tell_warning(message)

    def doubt(self, message: str) -> None:
        """Reports that the run is doubtful."""
        self.doubts = (*self.doubts, message)
        self._tell_warning(message)

    def run_started(self, info: RunStarted) -> None:
        """Reports that the training starts."""
        self._started = info
        for observer in self._all:
            observer.run_started(info)

    def epoch_ended(self, record: RunEpoch) -> None:
        """Reports the metrics of an epoch."""
        for observer in self._all:
            observer.epoch_ended(record)

    def run_broken_off(
        self, error: BaseException, tracked: TrackedRun, config: RunConfig, metrics: Mapping[str, float]
    ) -> None:
        """Reports that an exception ended the run; nothing if it had not started.

        Args:
            error: The exception.
            tracked: The run in the store.
            config: Its configuration.
            metrics: The last value of each metric.
        """
        if self._started is None:
            return
        ended = RunFinished.broken_off(
            self._started,
            error,
            config=config,
            metrics=metrics,
            seconds=self.stages.seconds,
            store_status=tracked.status,
            missing=tracked.missing,
        )
        for observer in (self._of_plugins, *self._of_caller):
            observer.run_finished(ended)

    def run_finished(self, result: RunResult) -> RunResult:
        """Reports the result, and returns it as the caller's observers receive it: with the plugins' warnings."""
        self._of_plugins.run_finished(result)
        result = replace(result, warnings=(*result.warnings, *self._of_plugins.warnings))
        for observer in self._of_caller:
            observer.run_finished(result)
        return result

    def _tell_warning(self, message: str) -> None:
        for observer in self._all:
            observer.warned(message)
