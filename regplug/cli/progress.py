"""Shows a run's progress on stderr: one line with stage, epochs, loss, accuracy and remaining time.

Without a terminal, a long run writes a line at intervals instead, for logs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regplug.cli.output import note, warn
from regplug.runs.results import Observer, RunStarted

if TYPE_CHECKING:
    from regplug.runs.results import RunEpoch, RunFinished

SIGN_EVERY_S = 30.0
"""Seconds between two lines without a terminal."""

TRAINING = "training"
"""The stage with a count of epochs."""

_SHOWN = (
    ("loss", ("valid/loss", "train/loss", "train/running_loss", "train/objective")),
    ("accuracy", ("valid/accuracy", "train/accuracy", "train/running_accuracy")),
)
"""Label -> metrics; the first one that an epoch has is shown."""


def describe_metrics(metrics: Mapping[str, Sequence[float]]) -> str:
    """Returns an epoch's metrics as short text that names the split of each.

    >>> describe_metrics({"train/running_loss": [0.25], "valid/accuracy": [0.9]})
    'train loss 0.2500, valid accuracy 0.9000'
    >>> describe_metrics({"valid/loss": [0.25], "valid/accuracy": [0.9]})
    'valid loss 0.2500, accuracy 0.9000'
    """
    words, last = [], ""
    for label, names in _SHOWN:
        name = next((name for name in names if metrics.get(name)), None)
        if name is not None:
            split = name.partition("/")[0]
            words.append(f"{'' if split == last else f'{split} '}{label} {metrics[name][0]:.4f}")
            last = split
    return ", ".join(words)


class SignOfLife:
    """Writes a line to stderr every half a minute if there is no terminal.

    Args:
        is_quiet: Whether to write nothing.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_on = not is_quiet and not sys.stderr.isatty()
        self._told_at = time.monotonic()

    def tell(self, line: Callable[[], str]) -> None:
        """Writes the line if it is time."""
        if self._is_on and time.monotonic() - self._told_at >= SIGN_EVERY_S:
            self._told_at = time.monotonic()
            note(line())


class Progress(Observer):
    """Shows a run while it trains; a context manager.

    Args:
        is_quiet: Whether to show only warnings.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self.started: RunStarted | None = None
        self._ended: RunFinished | None = None
        self._bar: Any = None if is_quiet or not sys.stderr.isatty() else _new_bar()
        self._task: Any = None
        self._sign = SignOfLife(is_quiet=is_quiet)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None, count="", figures="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is not None and self._ended is not None:
            run = self._ended
            kept = (
                f"what it logged is kept, except {', '.join(run.missing)}" if run.missing else "what it logged is kept"
            )
            if run.store_status != run.status:
                kept = f"its store could not be updated and says {run.store_status}"
            note(f"Run {run.run_id[:8]} ({run.run_name}) ended {run.status}; {kept}.")

    def stage(self, name: str) -> None:
        """Names the stage."""
        if self._bar is not None:
            total = self.started.epochs if self.started and name == TRAINING else None
            self._bar.reset(self._task, total=total, description=name, count="", figures="")

    def run_started(self, info: RunStarted) -> None:
        """Shows warnings and stores the number of epochs."""
        self.started = info
        warn(info.warnings)

    def warned(self, message: str) -> None:
        """Shows it."""
        warn([message])

    def run_finished(self, result: RunFinished) -> None:
        """Stores how it ended."""
        self._ended = result

    def epoch_ended(self, record: RunEpoch) -> None:
        """Updates the bar."""
        if self.started is None:
            return
        count = f"{record.epoch}/{self.started.epochs}"
        if self._bar is not None:
            figures = describe_metrics(record.metrics)
            self._bar.update(self._task, completed=record.epoch, count=count, figures=figures)
        self._sign.tell(lambda: f"epoch {count}: {describe_metrics(record.metrics)}")


def _new_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = [TextColumn(f"{{task.{field}}}") for field in ("description", "fields[count]", "fields[figures]")]
    return Bar(
        SpinnerColumn(),
        columns[0],
        BarColumn(bar_width=16),
        *columns[1:],
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
