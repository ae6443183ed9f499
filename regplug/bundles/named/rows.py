"""Rows of several inputs with their targets, for a test or a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regplug.api import Task
from regplug.bundles.formats import Array
from regplug.bundles.named.inputs import fitted_inputs
from regplug.bundles.named.signature import Axis, InputPart, Sizes, pack, sizes_in
from regplug.bundles.request import require_known_targets, targets_fit
from regplug.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class TargetRows:
    """Rows of one size with their targets.

    Args:
        inputs: Packed raw rows `(N, F)`.
        sizes: The sizes of the symbolic axes.
        targets: A target for each row.
    """

    inputs: Array
    sizes: Sizes
    targets: Array

    @classmethod
    def of(
        cls, which: str, arrays: Mapping[str, Array], targets: Array, inputs: Sequence[InputPart], axes: Sequence[Axis]
    ) -> TargetRows:
        """Packs rows.

        Args:
            which: `Test` or `Validation`, for messages.
            arrays: Raw rows `(N, ...)` by input.
            targets: A target for each row.
            inputs: The inputs.
            axes: The symbolic axes.

        Raises:
            BundleError: An input is missing or does not fit.
        """
        fitted = fitted_inputs(f"{which} rows", arrays, inputs, axes)
        rows = {name: one.rows for name, one in fitted.items()}
        return cls(inputs=pack(rows, inputs), sizes=sizes_in(rows, inputs), targets=np.asarray(targets))

    @property
    def pair(self) -> tuple[Array, Array]:
        """The packed rows, and the targets."""
        return self.inputs, self.targets

    def require_fitting(self, which: str, task: Task) -> None:
        """Checks the targets.

        Args:
            which: `Test` or `Validation`, for messages.
            task: The task.

        Raises:
            RequestError: Their shape or values do not fit the task.
        """
        if not targets_fit(self.targets, len(self.inputs), task):
            raise RequestError(
                f"{which} targets have shape {self.targets.shape} for {len(self.inputs)} rows; the first output has "
                f"{task.num_outputs} numbers for each.",
                hint="Give one target for each row: a class, or the labels or values of the first output.",
            )
        require_known_targets(which, self.targets, task)
