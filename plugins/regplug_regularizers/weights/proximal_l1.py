"""L1 by its proximal step: weights become exactly zero."""

from __future__ import annotations

from typing import final

from torch import Tensor

from regplug.regularizer import RegularizerFunctions, Step, Tensors


def soft_threshold(weight: Tensor, threshold: Tensor) -> Tensor:
    """`sign(w) * max(|w| - threshold, 0)`: the proximal map of `threshold * |w|`.

    Args:
        weight: Any shape.
        threshold: Scalar, 0 or more.

    Returns:
        A tensor of the shape of `weight`.

    Source: Daubechies et al. 2004; Parikh and Boyd 2014, Proximal Algorithms, section 6.5.2.
    """
    return weight.sign() * (weight.abs() - threshold).clamp(min=0)


@final
class ProximalL1(RegularizerFunctions):
    """After each update shrinks the weights by `rate * strength`, at most to zero (ISTA).

    With SGD this minimises `loss + strength * sum |w|`. With other optimizers the shrinkage follows the
    learning rate too, whatever they divide the gradient by. Biases and normalization parameters stay.
    Source: Beck and Teboulle 2009, A Fast Iterative Shrinkage-Thresholding Algorithm, equation 1.4.
    """

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """Shrinks."""
        threshold = step.rate * step.settings["strength"]
        shrunk = {name: soft_threshold(weight, threshold) for name, weight in step.select(params).items()}
        return {**params, **shrunk}, step.state
