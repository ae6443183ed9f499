"""Deliberate bugs for the test of the kit: what a planted bug is, and the parts that many of them share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Lt

from regplug.api import KINDS, Component, Search, Stackable
from regplug.noise import bits, keep_mask
from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer, Sites


@dataclass(frozen=True)
class Planted:
    """One bug: a component that is wrong in one way, and the check that was made for it."""

    descriptor: Component
    check: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self):
        return self.descriptor.name


PLANTED: list[Planted] = []


def bug(check, kind="regularizer", **fields):
    """Plants the class or function below as a component with this descriptor."""

    def plant(target):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", target.__name__).lower()
        options = {
            "name": words,
            "target": f"{target.__module__}:{target.__qualname__}",
            "summary": (target.__doc__ or "A planted bug.").splitlines()[0],
            **fields,
        }
        PLANTED.append(Planted(KINDS[kind](**options), check))
        return target

    return plant


@dataclass(frozen=True)
class Rate:
    rate: Annotated[float, Ge(0), Lt(1), Stackable(off=0), Search(low=0.1, high=0.8)] = 0.5
    "Share of entries that are dropped."


@dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable(off=0), Search(low=1e-3, high=1.0, log=True)] = 0.1
    "What it is multiplied with."


DROPPING = {"tags": ("stochastic", "keeps-mean"), "params": Rate}
PENALTY = {"params": Strength}


class Layers(RegularizerFunctions):
    """Puts a layer behind each activation."""

    Layer: type[Any]

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, self.Layer())


class Dropping(Layers):
    """Dropout as it should be: bugs change one thing of it."""

    def noise(self, shapes, settings):
        return {place.key: bits(place.shape) for place in shapes.places}


class RightLayer(SiteLayer):
    def act(self, step, noise, x):
        mask, scale = keep_mask(noise, step.settings["rate"])
        return x * (mask * scale.to(x.dtype))
