"""What an interrupted run left, and what a resumed run must not write a second time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regplug.runs.checkpoints import read_checkpoint
from regplug.runs.interrupted import checkpoint_file
from regplug.tracking import RunInfo, Store
from regplug.tracking.kinds import CHECKPOINT_TAG
from regplug.tracking.naming import safe_key


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What an interrupted run left.

    Args:
        info: The run, before its checkpoint was read.
        checkpoint: Its last checkpoint; `None` if it has none and trains from its beginning.
        digests: The digests of its datasets, by name.
        points: Metric -> step -> values that the store has.
    """

    info: RunInfo
    checkpoint: Mapping[str, Any] | None
    digests: Mapping[str, str]
    points: Mapping[str, Mapping[int, Sequence[float]]]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.info.run_id

    def new_points(self, values: Mapping[str, float], step: int, *, is_final: bool) -> dict[str, float]:
        """Returns the values that the store does not have yet, so that no step gets a second point.

        Args:
            values: Metrics at a step.
            step: The step.
            is_final: Whether these are the metrics of the final weights, which may differ from those of the last epoch.
        """
        return {name: value for name, value in values.items() if not self._has(name, step, value, is_final=is_final)}

    def lost_points(self) -> dict[int, dict[str, float]]:
        """Returns the values by step that are in the checkpoint but did not reach the store before the end."""
        found: dict[int, dict[str, float]] = {}
        history = self.checkpoint["history"] if self.checkpoint is not None else {}
        for name, points in history.items():
            for step, value in points:
                if not self._has(name, step, value, is_final=False):
                    found.setdefault(step, {})[name] = value
        return found

    def _has(self, name: str, step: int, value: float, *, is_final: bool) -> bool:
        known = self.points.get(safe_key(name), {}).get(step, ())
        if not is_final:
            return bool(known)
        return any(value == each or (math.isnan(value) and math.isnan(each)) for each in known)


def earlier_of(store: Store, info: RunInfo) -> Earlier:
    """Reads what an interrupted run left.

    Raises:
        RequestError: Its checkpoint cannot be read.
    """
    file = Path(info.tags[CHECKPOINT_TAG]) if CHECKPOINT_TAG in info.tags else checkpoint_file(store, info.run_id)
    return Earlier(
        info=info,
        checkpoint=read_checkpoint(file),
        digests=store.dataset_digests(info.run_id),
        points=_points(store, info),
    )


def _points(store: Store, info: RunInfo) -> dict[str, dict[int, list[float]]]:
    found: dict[str, dict[int, list[float]]] = {}
    for name in info.metrics:
        steps = found.setdefault(name, {})
        for point in store.metric_history(info.run_id, name):
            steps.setdefault(point.step, []).append(point.value)
    return found
