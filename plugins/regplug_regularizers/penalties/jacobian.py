"""A penalty on the Jacobian of the outputs, estimated with random projections."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from regplug.noise import Draw, normal
from regplug.regularizer import Outputs, RegularizerFunctions, Shapes, Step, Tensors


def squared_jacobian(step: Step, x: Tensor, directions_BPK: Tensor) -> Tensor:
    """Returns an unbiased estimate of the mean over rows of `||J||_F^2`, J the derivative of the outputs by the inputs.

    `K / P * sum_p |J^T v_p|^2` with P random unit vectors v has the mean `||J||_F^2`.

    Args:
        step: Runs the model.
        x: Inputs `(B, ...)`.
        directions_BPK: Standard normal numbers; each row of the last axis is scaled to norm 1.

    Source: Hoffman, Roberts and Yaida 2019, algorithm 1.
    """
    units_BPK = F.normalize(directions_BPK, dim=2)
    rows, projections, outputs = units_BPK.shape

    def projected(x: Tensor, v_BK: Tensor) -> Tensor:
        return (step.run(x=x).logits * v_BK).sum()

    squares = [step.gradient(partial(projected, v_BK=v_BK), x).square().sum() for v_BK in units_BPK.unbind(1)]
    return outputs / (projections * rows) * torch.stack(squares).sum()


@final
class Jacobian(RegularizerFunctions):
    """Adds `strength / 2` times `squared_jacobian` to the loss."""

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """The directions of each row."""
        rows, outputs = shapes.outputs
        return {"directions": normal((rows, self.params.projections, outputs))}

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        strength: Tensor = step.settings["strength"]
        return strength / 2 * squared_jacobian(step, step.require_batch().x, step.noise["directions"])
