"""Shows a study's leading settings and the remaining time on stderr while it runs.

Without a terminal, a long study writes a line at intervals instead.
"""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regplug.cli.output import note, warn
from regplug.cli.progress import SignOfLife

if TYPE_CHECKING:
    from regplug.studies.design.points import Point
    from regplug.studies.measuring import PointResult
    from regplug.studies.results import StudyEnded, StudyStarted
    from regplug.training.course import EpochRecord

_MOST_ROWS = 10
_REFRESH_S = 0.25


class Standing:
    """The intermediate results of a study.

    Args:
        started: The study.
    """

    def __init__(self, started: StudyStarted) -> None:
        self._metric = started.metric or started.compared
        self._values: dict[str, dict[str, float]] = defaultdict(dict)
        self._epochs: dict[str, int] = {}
        self._left = {point.key: point.config.epochs for point in started.points}
        self._done: set[str] = set()
        self.runs, self.failed = len(started.points), 0
        self._began = time.monotonic()
        self.finish(started.finished)
        self._earlier = self._epochs_left()

    def see(self, record: EpochRecord, points: Sequence[Point]) -> None:
        """Records an epoch of a stack."""
        numbers = record.metrics.get(self._metric)
        for run, point in enumerate(points):
            self._left[point.key] = point.config.epochs - record.epoch
            if numbers is not None and record.active[run] and math.isfinite(numbers[run]):
                self._values[point.setting.label][point.key] = numbers[run]

    def finish(self, results: Sequence[PointResult]) -> None:
        """Records finished runs."""
        for result in results:
            label, key = result.point.setting.label, result.point.key
            self._left[key] = 0
            self._done.add(key)
            self.failed += not result.is_finished
            value = result.metrics.get(self._metric, math.nan)
            if result.is_finished and math.isfinite(value):
                self._values[label][key] = value
            else:
                self._values[label].pop(key, None)

    @property
    def done(self) -> int:
        """Number of finished runs."""
        return len(self._done)

    def leading(self, is_lower_better: bool) -> list[tuple[str, float, int]]:
        """Returns the settings that have a value, the best first: label, mean so far, runs."""
        means = [(label, sum(by.values()) / len(by), len(by)) for label, by in self._values.items() if by]
        return sorted(means, key=lambda row: row[1] if is_lower_better else -row[1])[:_MOST_ROWS]

    def seconds_left(self) -> float | None:
        """Returns the remaining time at the current speed; `None` before the first epoch."""
        left = self._epochs_left()
        trained = self._earlier - left
        return (time.monotonic() - self._began) / trained * left if trained else None

    def _epochs_left(self) -> int:
        return sum(self._left.values())


class LiveStudy:
    """Shows a study while it runs; a context manager and an observer of the study.

    Args:
        is_quiet: Whether to show only warnings.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_live = not is_quiet and sys.stderr.isatty()
        self._live: Any = None
        self._stage = "starting"
        self._standing: Standing | None = None
        self._started: StudyStarted | None = None
        self._ended: StudyEnded | None = None
        self._shown_at = 0.0
        self._sign = SignOfLife(is_quiet=is_quiet)

    def __enter__(self) -> LiveStudy:
        if self._is_live:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self._render(), console=Console(stderr=True), transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if kind is not None and self._started is not None and self._ended is not None:
            ended = self._ended
            untold = f" Its store could not be updated and says {ended.store_status}."
            note(
                f"Study {self._started.study_id[:8]} ({self._started.name}) ended {ended.status}; {ended.kept} of "
                f"{ended.runs} runs are kept.{'' if ended.store_status == ended.status else untold} "
                f"`regplug runs resume {self._started.study_id[:8]}` continues it."
            )

    def stage(self, name: str) -> None:
        """Names the stage."""
        self._stage = name
        self._show(is_due=True)

    def study_started(self, info: StudyStarted) -> None:
        """Shows warnings and starts counting."""
        self._started, self._standing = info, Standing(info)
        for message in info.warnings:
            self.warned(message)
        self.stage("training")

    def warned(self, message: str) -> None:
        """Shows it."""
        warn([message])

    def group_started(self, group: Any, chunks: Any) -> None:
        """Does nothing: groups are not shown."""

    def epoch_ended(self, record: EpochRecord, points: Sequence[Point]) -> None:
        """Updates the table."""
        if self._standing is not None:
            standing = self._standing
            standing.see(record, points)
            self._show(is_due=False)
            self._sign.tell(lambda: self._headline(standing))

    def runs_finished(self, results: Sequence[PointResult]) -> None:
        """Updates the table."""
        if self._standing is not None:
            self._standing.finish(results)
            self._show(is_due=True)

    def study_ended(self, ended: StudyEnded) -> None:
        """Stores how it ended."""
        self._ended = ended

    def _show(self, *, is_due: bool) -> None:
        if self._live is not None and (is_due or time.monotonic() - self._shown_at >= _REFRESH_S):
            self._shown_at = time.monotonic()
            self._live.update(self._render(), refresh=True)

    def _render(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        if self._standing is None or self._started is None:
            return Text(f"{self._stage} ...")
        from regplug.statistics import number

        metric = self._started.metric or self._started.compared
        table = Table(box=None, pad_edge=False)
        table.add_column("setting", overflow="ellipsis", no_wrap=True)
        table.add_column(metric, justify="right")
        table.add_column("runs", justify="right")
        for label, mean, runs in self._standing.leading(_is_lower_better(metric)):
            table.add_row(Text(label), number(mean), str(runs))
        return Group(Text(self._headline(self._standing)), table)

    def _headline(self, standing: Standing) -> str:
        left = standing.seconds_left()
        failed = f", {standing.failed} failed" if standing.failed else ""
        when = "" if left is None or self._stage != "training" else f", about {_duration(left)} left"
        return f"{self._stage}: {standing.done} of {standing.runs} runs done{failed}{when}"


def _is_lower_better(metric: str) -> bool:
    from regplug.statistics import is_lower_better

    return is_lower_better(metric)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
