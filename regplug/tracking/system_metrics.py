"""The load of the machine while a run is written, measured by MLflow's monitors. Imported only on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from regplug.tracking.patience import WHILE_TRAINING, bounded

Log = Callable[[Mapping[str, float], int], None]
Tell = Callable[[str], None]


class SystemMetrics(SystemMetricsMonitor):
    """MLflow's monitor, which hands its metrics to the run instead of writing them itself.

    MLflow's settings apply: `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` (10 s),
    `MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING` and `MLFLOW_SYSTEM_METRICS_NODE_ID`. A run shorter than the interval
    gets one point, at its end. The steps of a resumed run continue.

    Args:
        run_id: The run.
        uri: Its tracking store.
        log: Logs metrics at a step, from this thread, without waiting for the store.
        tell: Is called if measuring fails; the run continues.
    """

    def __init__(self, run_id: str, uri: str, log: Log, tell: Tell) -> None:
        super().__init__(run_id, resume_logging=True, tracking_uri=uri)  # type: ignore[no-untyped-call]
        self._log, self._tell = log, tell

    def monitor(self) -> None:
        """Measures until `finish`.

        MLflow's own loop asks the store for the run's status after each sample, and waits minutes for a lost store.
        """
        try:
            self._measure()
        except Exception as error:
            self._tell(f"The load of the machine is no longer measured: {type(error).__name__}: {error}")

    def _measure(self) -> None:
        # The load of the processor is measured since the last call; the first value is always 0.
        self.collect_metrics()  # type: ignore[no-untyped-call]
        for monitor in self.monitors:
            monitor.clear_metrics()  # type: ignore[no-untyped-call]
        is_over = False
        while not is_over:
            for _ in range(self.samples_before_logging):
                is_over = self._shutdown_event.wait(self.sampling_interval)
                self.collect_metrics()  # type: ignore[no-untyped-call]
                if is_over:
                    break
            self.publish_metrics(self.aggregate_metrics())  # type: ignore[no-untyped-call]

    def publish_metrics(self, metrics: Mapping[str, float]) -> None:
        """Hands metrics to the run, under MLflow's names."""
        prefix = f"{self._metrics_prefix}{self.node_id}/" if self.node_id else self._metrics_prefix
        self._log({prefix + name: value for name, value in metrics.items()}, self._logging_step)
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Ends the thread, which logs what was measured since its last point."""
        thread, self._process = self._process, None
        self._shutdown_event.set()
        if thread is not None:
            thread.join()


def start_measuring(run_id: str, uri: str, log: Log, tell: Tell) -> SystemMetrics | None:
    """Starts measuring; returns `None` after calling `tell` if that is not possible.

    Args:
        run_id: As for `SystemMetrics`, like all others.
        uri: Its tracking store.
        log: Logs metrics at a step.
        tell: Is called if measuring fails.
    """
    try:
        with bounded(WHILE_TRAINING):
            system = SystemMetrics(run_id, uri, log, tell)
    except Exception as error:
        tell(f"The load of the machine cannot be measured: {type(error).__name__}: {error}")
        return None
    system.start()  # type: ignore[no-untyped-call]
    return system
