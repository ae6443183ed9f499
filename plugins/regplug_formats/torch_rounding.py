"""A torch program run so that the result of every operator is moved by its last bits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from regplug.bundles.formats import Array, Run
from regplug.bundles.perturbing import LastBits


def perturbed_run(run: Callable[[Tensor], Tensor], seed: int) -> Run:
    """Raw rows to the outputs of a program whose operators round otherwise.

    Args:
        run: Raw rows to outputs.
        seed: Of the last bits.
    """

    def perturbed(rows: Array) -> Array:
        with torch.no_grad(), LastBits(seed):
            outputs: Array = run(torch.from_numpy(rows)).numpy()
        return outputs

    return perturbed
