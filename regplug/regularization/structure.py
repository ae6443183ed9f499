"""Letting a regularizer restructure a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from regplug.config.ramps import first_value
from regplug.regularization.layers import Pass, current_pass
from regplug.regularization.step import Step
from regplug.regularizer import RegularizerFunctions
from regplug.sites import Place, Sites

NO_CLOCK: Any = None
"""A layer sees no clock in evaluation."""


def restructure(
    functions: RegularizerFunctions, sites: Sites, settings: Mapping[str, Mapping[str, Any]]
) -> tuple[Place, ...]:
    """Calls a regularizer's `restructure` and returns its places; the model is in evaluation mode meanwhile.

    So a weight that another regularizer has parametrized can be read.

    Args:
        functions: The regularizer.
        sites: The model's sites, for this regularizer.
        settings: Regularizer's key -> parameter -> number.
    """
    modes = [(module, module.training) for module in sites.model.modules()]
    sites.model.eval()
    try:
        with evaluating(settings, sites.model):
            functions.restructure(sites.model, sites)
    finally:
        for module, mode in modes:
            module.training = mode
    return tuple(sites.places)


def step_outside(settings: Mapping[str, Mapping[str, Any]], model: torch.nn.Module) -> Step:
    """A step outside of the loop, for layers that read settings in evaluation.

    Args:
        settings: Regularizer's key -> parameter -> number; of a schedule the first counts.
        model: Says number format and device.
    """
    like = next(model.parameters(), torch.empty(()))
    tensors = {
        key: {
            name: torch.as_tensor(first_value(value), dtype=like.dtype, device=like.device)
            for name, value in own.items()
        }
        for key, own in settings.items()
    }
    return Step(tensors, {}, NO_CLOCK)


@contextmanager
def evaluating(settings: Mapping[str, Mapping[str, Any]], model: torch.nn.Module) -> Iterator[None]:
    """A pass in evaluation outside of the loop; see `step_outside`."""
    token = current_pass.set(Pass(step_outside(settings, model), 0))
    try:
        yield
    finally:
        current_pass.reset(token)
