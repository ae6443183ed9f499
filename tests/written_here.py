"""Regularizers that a test file writes for itself."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn

from regplug.api import Regularizer, Stackable
from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer, Sites


@dataclasses.dataclass(frozen=True)
class Strength:
    """One number that may differ between the runs of a stack."""

    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.5
    "How much."


def here(functions, name=""):
    """A regularizer of a test file, named as its class."""
    return Regularizer(
        name=name or functions.__name__.lower(),
        target=f"{functions.__module__}:{functions.__name__}",
        summary="",
        **({"params": functions.Params} if hasattr(functions, "Params") else {}),
    )


def by_path(functions, strength):
    """The same with a number, by its file."""
    return f"{inspect.getfile(functions)}:{functions.__name__}:strength={strength}"


FIELDS = {"dtype": "float64", "epochs": 2}
"""What a short run in full precision is given."""


def network():
    """Two hidden layers with an activation each."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))


class Scales(RegularizerFunctions):
    """Multiplies each activation with strength, in training and in evaluation."""

    Params = Strength

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, ScaleLayer())


class ScaleLayer(SiteLayer):
    def act(self, step, noise, x):
        return step.settings["strength"] * x

    def evaluate(self, settings, x):
        return settings["strength"] * x

    def settled(self, settings):
        return Scale(settings["strength"])


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        assert isinstance(factor, float)
        self.factor = factor

    def forward(self, x):
        return self.factor * x
