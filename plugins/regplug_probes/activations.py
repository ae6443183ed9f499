"""Statistics of activations, and dead units.

Shape letters: S rows of the sample, U units, L positions of a unit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regplug.api import NoParams
from regplug.probes import Histogram, Probe, ProbeView
from regplug_probes.layers import finite, histogram, outputs_of_functions


def units_of(output: Tensor) -> Tensor:
    """Returns outputs as `(S, U, L)`.

    A unit is an entry of `(S, U)`, a channel of images `(S, U, height, width)`, and a feature of sequences
    `(S, tokens, U)`.
    """
    if output.ndim == 3:
        output = output.movedim(-1, 1)
    return output.reshape(len(output), output.shape[1] if output.ndim > 1 else 1, -1)


def dead_units(output_SUL: Tensor) -> Tensor:
    """Returns for each unit `(U,)` whether it is exactly zero on every row and at every position.

    >>> dead_units(torch.tensor([[[0.0], [0.0]], [[0.0], [2.0]]]))
    tensor([ True, False])

    Source: Lu et al. 2019, Dying ReLU and Initialization: a unit that is constant zero on the whole input.
    """
    return (output_SUL == 0).all(2).all(0)


class DeadUnits(Probe):
    """`dead/unit_fraction` and `dead/zero_fraction`: of all activations together, and of each (`.../LAYER`).

    The first is the fraction of units that are exactly zero on the whole sample; the second is the fraction of exact
    zeros among all outputs. Both lie in [0, 1]. A ReLU that is off on half of the rows has many zeros and is not dead.
    A unit that is zero on the sample, 256 rows, may answer to other rows.
    """

    def __init__(self, params: NoParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns both fractions of all activations and of each."""
        outputs = {name: units_of(output) for name, output in outputs_of_functions(view, "dead_units")}
        dead = {name: dead_units(output).float() for name, output in outputs.items()}
        zero = {name: (output == 0).sum() for name, output in outputs.items()}
        found: dict[str, float | Tensor] = {
            "dead/unit_fraction": torch.cat(list(dead.values())).mean(),
            "dead/zero_fraction": sum(map(int, zero.values())) / sum(each.numel() for each in outputs.values()),
        }
        found |= {f"dead/unit_fraction/{name}": each.mean() for name, each in dead.items()}
        found |= {f"dead/zero_fraction/{name}": each / outputs[name].numel() for name, each in zero.items()}
        return finite(found)


class ActivationStatistics(Probe):
    """`activation/mean`, `std`, `mean_square` and `variance_ratio` of each activation's outputs (`.../LAYER`).

    The variance is taken over rows and units together, and divides by n. The ratio is that of an activation's variance
    over the previous one's, and over the inputs' for the first. `activation/variance_ratio` is the last activation's
    variance over the first one's. All are of the pass in evaluation mode.
    """

    def __init__(self, params: NoParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the ratio of last over first, and the numbers of each activation."""
        found: dict[str, float | Tensor] = {}
        before = view.sample.x.double().var(correction=0)
        variances = []
        for name, output in outputs_of_functions(view, "activation_statistics"):
            variance, mean = torch.var_mean(output.double(), correction=0)
            found[f"activation/mean/{name}"] = mean
            found[f"activation/std/{name}"] = variance.sqrt()
            found[f"activation/mean_square/{name}"] = variance + mean.square()
            found[f"activation/variance_ratio/{name}"] = variance / before
            before = variance
            variances.append(variance)
        return finite({"activation/variance_ratio": variances[-1] / variances[0], **found})

    def histograms(self, view: ProbeView) -> dict[str, Histogram]:
        """Returns that of each activation's outputs."""
        named = outputs_of_functions(view, "activation_statistics")
        return {f"activations/{name}": histogram(output) for name, output in named}
