"""ShakeDrop: a dropped residual branch is multiplied with random numbers, another one forward than backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from regplug.noise import Draw, uniform
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug.sites import SiteLayer, Sites
from regplug_regularizers.scaled import Scaled, with_other_gradient


def shake_drop(x: Tensor, uniform_B3: Tensor, keep_probability: Tensor) -> Tensor:
    """Forward `(b + alpha - b * alpha) * x`, backward `(b + beta - b * beta)` times the gradient.

    b is 1 with the keep probability and else 0, alpha uniform on [-1, 1], beta uniform on [0, 1], for each row.

    Args:
        x: What a branch returns, `(B, ...)`.
        uniform_B3: Uniform on [0, 1): for b, alpha and beta.
        keep_probability: Scalar.

    Returns:
        A tensor of the shape of `x`, of mean `keep_probability * x`.

    Source: Yamada et al. 2018, equation 6 and table 2.
    """
    coin, forward, backward = uniform_B3.view(-1, 3, *[1] * (x.ndim - 1)).unbind(1)
    is_kept = coin < keep_probability
    return with_other_gradient(x, torch.where(is_kept, 1.0, 2 * forward - 1), torch.where(is_kept, 1.0, backward))


@final
class ShakeDropLayer(SiteLayer):
    """ShakeDrop behind one branch.

    Args:
        depth: Which share of the branches this one ends, in (0, 1].
    """

    def __init__(self, depth: float) -> None:
        super().__init__()
        self.depth = depth

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """See `shake_drop`."""
        return shake_drop(x, noise, self._keep_probability(step.settings))

    def evaluate(self, settings: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The mean over b and alpha."""
        kept: Tensor = self._keep_probability(settings) * x
        return kept

    def settled(self, settings: Mapping[str, Any]) -> nn.Module:
        """The same factor as a module."""
        return Scaled(self._keep_probability(settings))

    def _keep_probability(self, settings: Mapping[str, Any]) -> Any:
        return 1 - self.depth * settings["drop_probability"]


@final
class ShakeDrop(RegularizerFunctions):
    """Shakes branch l of L residual branches with chance `l / L * drop_probability`; evaluation scales them.

    Source: Yamada et al. 2018.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer behind each branch."""
        branches = sites.chosen(self.params.at, Sites.branches)
        for number, site in enumerate(branches, start=1):
            sites.after(site, ShakeDropLayer(number / len(branches)))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Three numbers for each row."""
        return {place.key: uniform((place.shape[0], 3)) for place in shapes.places}
