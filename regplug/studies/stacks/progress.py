"""The progress of a study's stack: saved while it trains, and restored when the study is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regplug.runs.checkpoints import Checkpoints
from regplug.studies.design.points import Point
from regplug.studies.measuring import Log
from regplug.training.course import EpochRecord
from regplug.training.loop import Trainer


class Progress:
    """Saves the stack that is training, and restores the one that an earlier attempt was training.

    Args:
        checkpoints: Saves; `None` for a training that is not saved.
        saved: The last checkpoint of the earlier attempt, or `None`.
        is_interrupted: Returns whether the study should end after the current epoch.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None = None,
        saved: Mapping[str, Any] | None = None,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._checkpoints, self._saved, self.is_interrupted = checkpoints, saved, is_interrupted

    def restore(self, points: Sequence[Point], trainer: Trainer, log: Log) -> float:
        """Restores a stack if it is the saved one.

        Args:
            points: Its runs.
            trainer: Its trainer.
            log: Its metrics.

        Returns:
            Seconds that the earlier attempt has trained it; 0 for another stack.
        """
        if self._saved is None or self._saved["points"] != [point.key for point in points]:
            return 0.0
        trainer.load_dict(self._saved["training"])
        log.load_dict(self._saved["log"])
        return float(self._saved["seconds"])

    def ends_after(
        self, record: EpochRecord, points: Sequence[Point], trainer: Trainer, log: Log, seconds: float
    ) -> bool:
        """Saves a checkpoint if it is time for one, and returns whether the training of the stack ends here.

        Args:
            record: The epoch.
            points: The runs of the stack.
            trainer: Its trainer.
            log: Its metrics.
            seconds: How long it has trained.
        """
        ends = self.is_interrupted() and record.epoch < points[0].config.epochs

        def progress() -> dict[str, Any]:
            keys = [point.key for point in points]
            return {"points": keys, "training": trainer.to_dict(), "log": log.to_dict(), "seconds": seconds}

        if self._checkpoints is not None:
            self._checkpoints.offer(progress, must=ends)
        return ends
