"""A figure of activations: the functions and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from regplug.errors import ModelError
from regplug.registry.faults import is_fault, told
from regplug.reports import plots

HALF_WIDTH = 5.0
"""The functions are drawn from minus this to this."""

_POINTS = 2001
_STEEP = 0.05
"""A derivative that changes by more between two points has a jump there, and the line a gap."""


def activations_png(modules: Mapping[str, nn.Module]) -> bytes:
    """Returns a PNG with two panels over [-5, 5]: each function, and its derivative by autograd with gaps at jumps.

    Args:
        modules: By the name that the legend shows.

    Raises:
        ModelError: One of them cannot be applied to numbers, or is not differentiable by autograd.
    """
    # Moved a little, so that no point is on a kink, where autograd takes one side.
    x = torch.linspace(-HALF_WIDTH, HALF_WIDTH, _POINTS, dtype=torch.float64) + 1e-9
    values, slopes = {}, {}
    for name, module in modules.items():
        y, slope = _applied(name, module, x)
        values[name] = y.tolist()
        jumps = np.abs(np.diff(slope.numpy(), append=slope[-1])) > _STEEP
        slopes[name] = np.where(jumps, np.nan, slope.numpy()).tolist()
    return plots.png(plots.lines_figure({"f(x)": values, "f'(x)": slopes}, x.tolist()))


def _applied(name: str, module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    inputs = x.clone().requires_grad_()
    try:
        y = module.to(x.dtype)(inputs)
        (slope,) = torch.autograd.grad(y.sum(), inputs)
    except BaseException as error:
        if not is_fault(error):
            raise
        raise ModelError(f"The activation {name} {told(error)}", hint="It must map a tensor entry by entry.") from error
    return y.detach(), slope
