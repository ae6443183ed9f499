"""Collects the metrics of the runs of a stack, after each epoch and at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regplug.data import Prepared
from regplug.measuring.final_metrics import measure_final
from regplug.measuring.metric_log import MetricLog
from regplug.measuring.probing import Probing
from regplug.runs.assembly import Assembly
from regplug.runs.doubts import doubt_of, guess_tag
from regplug.runs.loading import noisy_inputs
from regplug.statistics import RowValues
from regplug.studies.design.points import Point
from regplug.training.course import EpochRecord
from regplug.training.loop import Trainer

FINISHED, FAILED = "FINISHED", "FAILED"

MOST_PROBED = 20
"""Most epochs with probes in a stack: probing a hundred epochs of a small stack would take half of its time."""


@dataclass(frozen=True, kw_only=True)
class PointResult:
    """The result of one run of a study.

    Args:
        point: The run.
        status: `FINISHED`, or `FAILED` with `error`.
        metrics: The last value of each metric.
        history: Metric -> points (epoch, value); empty for a run that an earlier attempt finished.
        seconds: Its share of the time of its stack.
        epochs: Number of trained epochs.
        error: The error.
        guess: Description of the constant prediction that it does not beat; empty if it does.
        rows: Its metrics on each test row; `None` if they are not kept.
        doubt: The same as a warning, with suggestions; empty for a run that an earlier attempt finished.
        run_id: MLflow's run id, once it is tracked.
    """

    point: Point
    status: str
    metrics: Mapping[str, float]
    history: Mapping[str, Sequence[tuple[int, float]]]
    seconds: float
    epochs: int
    error: str = ""
    guess: str = ""
    doubt: str = ""
    run_id: str = ""
    rows: RowValues | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it finished without an error."""
        return self.status == FINISHED


class Log:
    """Collects the metrics of the runs of a stack.

    Args:
        points: The runs.
        probing: The probes.
        made: The assembled run that the stack trains.
        datas: The data of each run.
        rows_digests: Digest of each run's test rows, if the metrics on each row are kept.
    """

    def __init__(
        self,
        points: Sequence[Point],
        probing: Probing,
        made: Assembly,
        datas: Sequence[Prepared],
        rows_digests: Sequence[str] = (),
    ) -> None:
        self._digests, self._rows = rows_digests, dict[int, RowValues]()
        self._points, self._probing, self._made, self._datas = points, probing, made, datas
        self._logs = [MetricLog() for _ in points]
        self._epochs = [0] * len(points)
        self._doubts = [("", "")] * len(points)
        self._probe_every = max(1, made.course.epochs // MOST_PROBED)

    def add(self, record: EpochRecord, trainer: Trainer) -> None:
        """Adds an epoch."""
        is_evaluated = any(name.startswith(("valid/", "test/")) for name in record.metrics)
        is_probed = is_evaluated and record.epoch % self._probe_every == 0
        for run, is_active in enumerate(record.active):
            if not is_active or trainer.state.diverged[run]:
                continue
            self._epochs[run] = record.epoch
            values = {name: numbers[run] for name, numbers in record.metrics.items()}
            if is_probed:
                values |= self._probing.measure(trainer, run)
            self._logs[run].put(record.epoch, values)

    def to_dict(self) -> dict[str, Any]:
        """Returns a copy of what was collected before the end, for `torch.save`."""
        return {"histories": [log.history_copy() for log in self._logs], "epochs": list(self._epochs)}

    def load_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what `to_dict` returned."""
        self._logs = [MetricLog(history) for history in saved["histories"]]
        self._epochs = list(saved["epochs"])

    def finish(self, trainer: Trainer) -> None:
        """Evaluates the final weights on every split, for runs that did not diverge."""
        judged = "test" if self._points[0].fold is None else "valid"
        noisy = noisy_inputs(self._datas, [point.config for point in self._points])
        finals = measure_final(trainer, self._datas, judged=judged, noisy=noisy, keeps_rows=bool(self._digests))
        for run, final in finals.items():
            values = {**final.metrics, **self._probing.measure_final(trainer, run)}
            self._logs[run].put(self._epochs[run], values)
            doubt = doubt_of(final, self._made, self._datas[run], self._points[run].config.lr)
            self._doubts[run] = guess_tag(final), doubt
            if final.rows:
                self._rows[run] = RowValues(digest=self._digests[run], values=final.rows)

    def result(self, run: int, seconds: float, error: str = "") -> PointResult:
        """Returns the result of one run.

        Args:
            run: Its index in the stack.
            seconds: Its share of the stack's time.
            error: Why it failed; empty if it did not.
        """
        return PointResult(
            point=self._points[run],
            status=FAILED if error else FINISHED,
            metrics=self._logs[run].last,
            history=self._logs[run].history,
            seconds=seconds,
            epochs=self._epochs[run],
            error=error,
            guess=self._doubts[run][0],
            doubt=self._doubts[run][1],
            rows=self._rows.get(run),
        )


def failed(point: Point, error: str, seconds: float) -> PointResult:
    """Returns the result of a run that failed before its first metrics."""
    return PointResult(point=point, status=FAILED, metrics={}, history={}, seconds=seconds, epochs=0, error=error)
