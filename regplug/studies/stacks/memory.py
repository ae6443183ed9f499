"""Estimates how much memory one run of a stack needs."""

from __future__ import annotations

import math

from torch import Tensor

from regplug.data import Prepared
from regplug.noise import BLOCK_NUMBERS
from regplug.runs.assembly import Assembly

_COPIES = 6
"""Tensors per parameter: parameter, gradient, two optimizer slots and two temporaries."""


def bytes_of_a_run(made: Assembly, *, shares_rows: bool) -> int:
    """Returns the memory that one run of a stack needs.

    Args:
        made: The assembled run.
        shares_rows: Whether all runs take the same rows in the same order, which are then gathered once.
    """
    data, batch_size = made.data, made.config.batch_size
    numbers = sum(param.numel() for param in made.program.params.values()) * _COPIES
    numbers += batch_size * _activations(made, data.train.x[:2]) * 3
    if made.network.regularizer.acting("noise"):
        numbers += BLOCK_NUMBERS
    if not shares_rows:
        numbers += _gathered(batch_size, data)
    return numbers * data.train.x.element_size()


def _gathered(batch_size: int, data: Prepared) -> int:
    """Returns the number of input values that are gathered at once for one run: those of a block of batches."""
    shape = data.train.x.shape
    return min(math.prod(shape), max(batch_size * math.prod(shape[1:]), BLOCK_NUMBERS))


def _activations(made: Assembly, example: Tensor) -> int:
    """Returns the number of activation values that one row needs in a forward pass."""
    from regplug.regularization.finding import find_sites
    from regplug.regularization.structure import evaluating

    model = made.program.model
    with evaluating(made.network.settings, model):  # layers that act in evaluation need their settings
        return sum(math.prod(site.output_shape[1:]) for site in find_sites(model, example))
