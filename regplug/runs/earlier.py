"""What an interrupted run left, and what a resumed run must not write a second time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regplug.tracking.naming import safe_key

CHECKPOINT_TAG = "regplug.checkpoint"
"""Names the file with the checkpoint of a run that is not finished."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What an interrupted run left.

    Args:
        run_id: The run.
        checkpoint: Its last checkpoint; `None` if it has none and trains from its beginning.
        digests: The digests of its datasets, by name.
        points: Metric -> step -> values that the store has.
    """

    run_id: str
    checkpoint: Mapping[str, Any] | None
    digests: Mapping[str, str]
    points: Mapping[str, Mapping[int, Sequence[float]]]

    def new_points(self, values: Mapping[str, float], step: int, *, is_final: bool) -> dict[str, float]:
        """Returns the values that the store does not have yet, so that no step gets a second point.

        Args:
            values: Metrics at a step.
            step: The step.
            is_final: Whether these are the metrics of the final weights, which may differ from those of the last epoch.
        """
        return {name: value for name, value in values.items() if not self._has(name, step, value, is_final=is_final)}

    def _has(self, name: str, step: int, value: float, *, is_final: bool) -> bool:
        known = self.points.get(safe_key(name), {}).get(step, ())
        if not is_final:
            return bool(known)
        return any(value == each or (math.isnan(value) and math.isnan(each)) for each in known)
