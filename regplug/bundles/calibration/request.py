"""The request for a calibration, and what cannot be calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from regplug.api import Task
from regplug.bundles.calibration.answers import INTERVALS, SETS
from regplug.bundles.calibration.fitting import rank_of
from regplug.bundles.formats import Array
from regplug.config.calibration import check_calibration
from regplug.errors import RequestError

Kind = Literal["temperature", "conformal"]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a model's answers are calibrated.

    Args:
        kind: `temperature` divides the logits by one number; `conformal` adds prediction sets or intervals.
        coverage: Promised share of rows whose target is in its set or interval; only for `conformal`.
        rows: Raw validation inputs `(N, ...)` and targets; `None` if there are none.
    """

    kind: Kind
    coverage: float = 0.0
    rows: tuple[Array, Array] | None = None

    def output_of(self, task: Task) -> dict[str, Any]:
        """Returns name, shape and dtype of the output that `conformal` adds to the graph."""
        if task.kind == "classification":
            return {"name": SETS, "shape": ["batch", task.num_outputs], "dtype": "bool"}
        return {"name": INTERVALS, "shape": ["batch", task.num_outputs, 2], "dtype": "float32"}

    def validate(self, task: Task, *, stochastic: bool) -> None:
        """Checks that such a model can be calibrated.

        Args:
            task: The task.
            stochastic: Whether dropout stays live in inference.

        Raises:
            RequestError: It cannot.
        """
        if stochastic:
            raise RequestError(
                "A stochastic bundle cannot be calibrated: a calibration is fitted to one output for each row, and "
                "live dropout gives another in every pass.",
                hint="Leave out the calibration, or stochastic. If both are needed, export two bundles: one with the "
                "calibration, one with live dropout.",
            )
        if task.is_multilabel:
            raise RequestError(
                "A multilabel classification cannot be calibrated: its labels have no common probability.",
                hint="Leave out the calibration.",
            )
        if self.kind == "temperature" and task.kind == "regression":
            raise RequestError(
                "A temperature divides logits, and a regression has none.",
                hint="Request intervals instead: --conformal 0.9.",
            )
        if self.rows is None or not len(self.rows[0]):
            raise RequestError(
                "There are no validation rows on which the answers could be calibrated.",
                hint="Give the dataset a validation split, such as `digits:validation=0.2`; or leave the calibration "
                "out. Test rows are never used for it.",
            )
        self._require_enough(len(self.rows[0]))

    def _require_enough(self, rows: int) -> None:
        if self.kind == "conformal" and rank_of(rows, self.coverage) > rows:
            least = math.ceil(self.coverage / (1 - self.coverage) - 1e-9)
            raise RequestError(
                f"{rows} validation rows are too few for a coverage of {self.coverage:g}: it needs at least {least}.",
                hint="Give more validation rows, or ask for less coverage.",
            )


def calibration_of(kind: str, coverage: float, rows: tuple[Array, Array] | None) -> Calibration | None:
    """Returns the calibration that was requested; `None` for none.

    Args:
        kind: `temperature` or `none`.
        coverage: Promised coverage of a conformal calibration; 0 for none.
        rows: Raw validation inputs and targets.

    Raises:
        RequestError: Both are requested, or the coverage is not between 0 and 1.
    """
    check_calibration(kind, coverage)
    if coverage:
        return Calibration(kind="conformal", coverage=coverage, rows=rows)
    return Calibration(kind="temperature", rows=rows) if kind == "temperature" else None
