"""What outputs decide: one class for each row, or each of its labels. numpy only.

Shape letters: B rows, K outputs, D decisions: 1 for a class, K for labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from regplug.bundles.formats import Array


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How outputs become predictions.

    Args:
        kind: `class`: the largest output of a row wins; `labels`: each output is compared with `limit`.
        limit: Output above which a label is 1: 0 for a logit, 0.5 for a probability.
    """

    kind: Literal["class", "labels"]
    limit: float = 0.0

    @property
    def check_name(self) -> str:
        """Name of the check that compares predictions with the model's."""
        return "argmax" if self.kind == "class" else "labels"

    def made(self, outputs_BK: Array) -> Array:
        """The predictions, `(B, D)`."""
        if self.kind == "class":
            return np.asarray(outputs_BK.argmax(1)[:, None])
        return np.asarray(outputs_BK > self.limit)

    def right(self, outputs_BK: Array, targets: Array) -> Array:
        """Booleans `(B, D)`: whether each prediction is the target's, classes `(B,)` or labels `(B, K)`."""
        made_BD = self.made(outputs_BK)
        return np.asarray(made_BD == targets.reshape(made_BD.shape))

    def changed(self, got_BK: Array, want_BK: Array, tolerance: float) -> Array:
        """Booleans `(B,)`: the rows with a prediction that changed although its margin exceeds rounding."""
        if self.kind == "class" and want_BK.shape[1] < 2:
            return np.zeros(len(want_BK), bool)
        is_other_BD = self.made(got_BK) != self.made(want_BK)
        return np.asarray((is_other_BD & (self._margin(want_BK) > 2 * tolerance)).any(axis=1))

    def _margin(self, outputs_BK: Array) -> Array:
        """By how much outputs must differ for another prediction, `(B, D)`."""
        if self.kind == "labels":
            return 2 * np.abs(outputs_BK - self.limit)
        top_BK = np.sort(outputs_BK, axis=1)
        return np.asarray((top_BK[:, -1] - top_BK[:, -2])[:, None])


def decision_of(task: str, output_name: str) -> Decision | None:
    """Returns how the outputs of a task become predictions; `None` for a regression, which decides nothing.

    Args:
        task: The kind of task.
        output_name: `logits`, `probabilities` or `values`.
    """
    if task == "regression":
        return None
    if task == "classification":
        return Decision(kind="class")
    return Decision(kind="labels", limit=0.5 if output_name == "probabilities" else 0.0)
