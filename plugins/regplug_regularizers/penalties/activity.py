"""Penalties on activations."""

from __future__ import annotations

import functools
from typing import final

import torch
from torch import Tensor, nn

from regplug.errors import CompositionError
from regplug.regularizer import Outputs, RegularizerFunctions, Step, Tensors
from regplug.sites import Sites, Tap
from regplug_regularizers.penalties.places import total


def activity_l1(h: Tensor) -> Tensor:
    """Returns `sum |h| / B`, a scalar, of activations `(B, ...)`. Source: Glorot et al. 2011, section 3.2."""
    return h.abs().sum() / len(h)


def activity_l2(h: Tensor) -> Tensor:
    """Returns `sum h^2 / B`, a scalar, of activations `(B, ...)`. Source: Merity et al. 2017, section 3 (AR)."""
    return h.square().sum() / len(h)


def kl_sparsity(h: Tensor, target: Tensor) -> Tensor:
    """Returns the sum over units of `r log(r / q) + (1 - r) log((1 - r) / (1 - q))`, a scalar; q is a unit's mean.

    Args:
        h: Activations in [0, 1], `(B, ...)`; q is their mean over the batch, kept away from 0 and 1 by 1e-7.
        target: The wanted mean r, a scalar in (0, 1).

    Source: Ng 2011, CS294A lecture notes, section 3.
    """
    q = h.mean(dim=0).clamp(1e-7, 1 - 1e-7)
    return (target * (target / q).log() + (1 - target) * ((1 - target) / (1 - q)).log()).sum()


class ActivityPenalty(RegularizerFunctions):
    """Adds `strength * term(h)` for each activation h, or where `at` says. Abstract: a subclass has the term."""

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Taps the places."""
        chosen = sites.chosen(self.params.at, Sites.activations)
        strength = self.params.strength
        if isinstance(strength, tuple) and len(strength) != len(chosen):
            raise CompositionError(
                f"{sites.owner}: strength has {len(strength)} numbers for {len(chosen)} places "
                f"({', '.join(site.key for site in chosen)}).",
                hint="Give one number for all places, or one for each.",
            )
        for site in chosen:
            sites.after(site, Tap())

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        return total(step.settings["strength"], tapped(step, outputs), functools.partial(self.term, step))

    def term(self, step: Step, h: Tensor) -> Tensor:
        """What one activation costs at strength 1."""
        raise NotImplementedError


def tapped(step: Step, outputs: Outputs) -> list[Tensor]:
    """What passed the component's own taps, in the order of the forward pass."""
    return [value for key, value in outputs.taps.items() if key.startswith(f"{step.owner}/")]


@final
class ActivityL1(ActivityPenalty):
    """Adds `strength` times `activity_l1` of each activation."""

    def term(self, step: Step, h: Tensor) -> Tensor:
        """See `activity_l1`."""
        return activity_l1(h)


@final
class ActivityL2(ActivityPenalty):
    """Adds `strength` times `activity_l2` of each activation."""

    def term(self, step: Step, h: Tensor) -> Tensor:
        """See `activity_l2`."""
        return activity_l2(h)


@final
class KLSparsity(ActivityPenalty):
    """Adds `strength` times `kl_sparsity` of each activation; they must lie between 0 and 1."""

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Taps the places."""
        points = torch.linspace(-20, 20, 81)
        for site in sites.chosen(self.params.at, Sites.activations):
            values = site.module(points.to(next(model.parameters())))
            if values.min() < 0 or values.max() > 1:
                raise CompositionError(
                    f"{sites.owner}: the activation {site.name} ({type(site.module).__name__}) takes values outside of "
                    "0 and 1, and a mean activation must be a probability.",
                    hint="Use --activation sigmoid, or name with at= the activations between 0 and 1.",
                )
        super().restructure(model, sites)

    def term(self, step: Step, h: Tensor) -> Tensor:
        """See `kl_sparsity`."""
        return kl_sparsity(h, step.settings["target"])
